"""Sends the audit trail to a syslog server, at least once and in order. The database keeps how much has been sent."""

import os
import socket
import time
from functools import partial

from config.settings import Settings
from daemon import retries
from daemon.decisions import CannotWork
from daemon.runtime import log
from daemon.runtime.certificates import syslog_tls
from daemon.syslog.messages import Interpreter, Message
from daemon.syslog.transport import NOTICE, WARNING, SyslogServer, SyslogUnreachable, send, syslog_message
from storage.errors import DatabaseUnavailable
from storage.outbox import Outbox

READER = "syslog"
BATCH = 200


def server(settings: Settings) -> SyslogServer:
    """Return the syslog server of the settings; nothing is connected yet."""
    audit = settings.audit
    tls = partial(syslog_tls, settings) if audit.transport == "tls" else None
    return SyslogServer(audit.syslog, audit.port, audit.transport, tls)


def check_reachable(settings: Settings) -> None:
    """Connect and disconnect. Raises SyslogUnreachable, or CannotWork if the TLS files cannot be used."""
    send(server(settings), [])


class Shipper:
    """Sends the rows in the outbox to the server. Call `ship` repeatedly, from one thread.

    Raises CannotWork if the TLS files cannot be used.
    """

    def __init__(self, settings: Settings, outbox: Outbox):
        self._outbox, self._server = outbox, server(settings)
        self._host, self._application = socket.gethostname(), settings.audit.source_id
        self._interpreter = Interpreter(settings, self._host, outbox.uri())
        self._failures, self._not_before = 0, 0.0
        if self._server.tls:
            self._server.tls()  # unusable files end the daemon now, rather than when the certificate is first needed

    def ship(self) -> None:
        """Send all waiting rows.

        A failure is logged; calls then do nothing for a pause that doubles with each failure.
        """
        if time.monotonic() < self._not_before:
            return
        try:
            while self._ship_batch():
                pass
        except (SyslogUnreachable, DatabaseUnavailable, CannotWork) as trouble:
            self._failures += 1
            pause = retries.doubled(retries.FIRST_SYSLOG_SECONDS, self._failures - 1, retries.LONGEST_SYSLOG_SECONDS)
            self._not_before = time.monotonic() + pause
            log.get().warning("audit trail not sent", fault=str(trouble), again_in_seconds=pause)
            return
        if self._failures:
            log.get().info("audit trail sending resumed")
            self._failures = 0

    def finish(self) -> None:
        """Try once more at the end of the process, even during a pause."""
        self._not_before = 0.0
        self.ship()

    def _ship_batch(self) -> bool:
        """Send the next rows and record that they arrived; return whether there may be more."""
        entries = self._outbox.pending(READER, BATCH)
        if not entries:
            return False
        messages = [self._framed(message) for message in self._interpreter.messages(entries)]
        if messages:
            send(self._server, messages)
        self._outbox.confirm(READER, entries[-1].id)
        return len(entries) == BATCH

    def _framed(self, message: Message) -> bytes:
        severity = WARNING if message.outcome else NOTICE
        return syslog_message(message.at, severity, self._host, self._application, str(os.getpid()), message.xml)
