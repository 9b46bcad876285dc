"""E-mail: one message to all recipients of a notifier, by SMTP with STARTTLS or TLS (RFC 5321, RFC 3207, RFC 8314)."""

import smtplib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime

from config.alerting import EmailSettings
from daemon.alerting.notifier import Announcement, Notifier, refused_for_now, secret_text, unreachable
from daemon.alerting.tls import fault_of, verified
from daemon.decisions import CannotWork
from daemon.runtime.visible import visible
from storage.records import Sending, Sent

# What the server says of one message; all else concerns the way there, and so every message.
ANSWERS = (smtplib.SMTPRecipientsRefused, smtplib.SMTPSenderRefused, smtplib.SMTPDataError)


class Email(Notifier):
    """People behind addresses. Raises CannotWork if the password file or the `ca` cannot be used."""

    def __init__(self, settings: EmailSettings):
        self._settings = settings
        self._password()
        verified(settings.ca)

    def send(self, message: Announcement, now: datetime) -> Sent:
        """Send the message. If some of the recipients are refused, it is not sent again: the others have it."""
        settings = self._settings
        try:
            with self._connected() as smtp:
                refused = smtp.send_message(_mail(message, settings))
        except CannotWork as fault:
            return unreachable(str(fault))
        except (smtplib.SMTPException, OSError, ValueError) as error:
            return (refused_for_now if isinstance(error, ANSWERS) else unreachable)(self._fault(error))
        if refused:
            code, said = next(iter(refused.values()))
            words = f"refused for {len(refused)} of {len(settings.recipients)} recipients: {code} {_words(said)}"
            return Sent(Sending.WARNING, None, words)
        return Sent(Sending.ACCEPTED)

    def test(self) -> str:
        """Connect and log in, and send nothing."""
        try:
            with self._connected() as smtp:
                smtp.noop()
        except CannotWork as fault:
            return str(fault)
        except (smtplib.SMTPException, OSError, ValueError) as error:
            return self._fault(error)
        return ""

    @contextmanager
    def _connected(self) -> Iterator[smtplib.SMTP]:
        """A connection to the mail server, encrypted and logged in as configured, that ends when its time is over."""
        settings, context = self._settings, verified(self._settings.ca)
        us, seconds = socket.gethostname(), settings.timeout_seconds
        if settings.tls == "tls":
            smtp: smtplib.SMTP = smtplib.SMTP_SSL(local_hostname=us, timeout=seconds, context=context)
        else:
            smtp = smtplib.SMTP(local_hostname=us, timeout=seconds)
        smtp._host = settings.host  # type: ignore[attr-defined]  # the name that the certificate has to contain
        with _ended_after(smtp, seconds), _left(smtp):
            smtp.connect(settings.host, settings.port)
            if settings.tls == "starttls":
                smtp.starttls(context=context)
            if settings.user:
                smtp.login(settings.user, self._password())
            yield smtp

    def _password(self) -> str:
        return secret_text(self._settings.password_file, "password_file") if self._settings.user else ""

    def _fault(self, error: Exception) -> str:
        """Say what failed. What the server said of the message itself is left out: it may quote it."""
        host, port = self._settings.host, self._settings.port
        match error:
            case smtplib.SMTPAuthenticationError():
                return f"{host} refused user or password: {error.smtp_code} {_words(error.smtp_error)}"
            case smtplib.SMTPRecipientsRefused():
                code, said = next(iter(error.recipients.values()))
                return f"{host} refused every recipient: {code} {_words(said)}"
            case smtplib.SMTPSenderRefused():
                return f"{host} refused the sender: {error.smtp_code} {_words(error.smtp_error)}"
            case smtplib.SMTPNotSupportedError():
                return f"{host}:{port} does not offer what tls or user asks for: {error}"
            case smtplib.SMTPResponseException():
                return f"{host} refused the message: {error.smtp_code}"
            case _:
                return fault_of(error, host, port)


def _words(said: bytes | str) -> str:
    return visible(said.decode("utf-8", "replace") if isinstance(said, bytes) else said)


def _mail(message: Announcement, settings: EmailSettings) -> EmailMessage:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = settings.sender, ", ".join(settings.recipients), message.subject
    mail["Date"] = format_datetime(message.at)
    mail["Message-ID"] = f"<{message.id}@{settings.sender.partition('@')[2]}>"  # the same in each attempt
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's holiday notice answers it
    mail["Importance"] = "high"
    mail.set_content(message.text)
    return mail


@contextmanager
def _left(smtp: smtplib.SMTP) -> Iterator[None]:
    """Say goodbye at the end, and close the connection in any case; a fault of the goodbye changes nothing."""
    try:
        yield
        with suppress(smtplib.SMTPException, OSError):
            smtp.quit()
    finally:
        smtp.close()


@contextmanager
def _ended_after(smtp: smtplib.SMTP, seconds: float) -> Iterator[None]:
    """End the connection of the block after `seconds`: each step has its time limit, and a slow server many steps."""

    def end() -> None:
        if smtp.sock is not None:
            with suppress(OSError):
                socket.socket.shutdown(smtp.sock, socket.SHUT_RDWR)  # of the socket itself: TLS would wait

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
