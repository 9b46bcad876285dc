"""What is told, to whom, and what a fault is called: against a real HTTP receiver and a real mail server."""

import email
import email.policy
import json
import re
import socket
import ssl
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from config.alerting import AppriseSettings, EmailSettings, WebhookSettings
from config.sections import DeliverySettings
from daemon.alerting.message import message_of, trial_message
from daemon.alerting.messenger import Messenger
from daemon.alerting.notifier import Announcement
from daemon.alerting.notifiers import open_notifier
from daemon.alerting.tls import verified
from daemon.cli.check import check
from daemon.cli.main import app
from daemon.decisions import CannotWork
from daemon.runtime.clock import now
from daemon.wiring import read_settings
from dicom_io.network.tls import TlsFiles
from storage.notices import Notice, Notification, Raised
from storage.store import open_store
from tests.conftest import ROOT, require
from tests.support.authority import Authority
from tests.support.peers import free_port
from tests.support.receivers import SECRET, MailServer, WebhookReceiver, is_signed
from tests.support.studies import at, image, outcome, take_up

FOUND = [
    {"finding": "Pneumothorax", "call": "above", "score": 88, "probability": 0.91},
    {"finding": "Effusion", "call": "near", "score": 45, "probability": 0.31},
]
CONTENT = {
    "alerts": ["urgent"],
    "findings": FOUND,
    "calling_ae_titles": ["CR1"],
    "model": {"name": "hilum-cxr", "version": "2", "digest": "sha256:0"},
}
DUE = Notification(7, "0b0e5a9c", 3, "1.2.3", "ZZPATIENT", "ZZACCESSION", at(0), CONTENT, 0, at(90))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    require("openssl")
    return Authority(tmp_path_factory.mktemp("tls") / "ours").issue("receiver")


def webhook(url: str, **more: Any) -> WebhookSettings:
    return WebhookSettings(
        **{"type": "webhook", "name": "hook", "url": url, "secret": SECRET, "timeout_seconds": 2, **more}
    )


def mail_to(server: MailServer, **more: Any) -> EmailSettings:
    settings = {
        "type": "email", "name": "mail", "host": "127.0.0.1", "port": server.port, "tls": "none", "timeout_seconds": 5,
        "sender": "hilum@clinic.example", "recipients": ["on.call@clinic.example"],
    }  # fmt: skip
    return EmailSettings(**{**settings, **more})


def told(notification: Notification = DUE, **more: Any) -> Announcement:
    return message_of(notification, webhook("https://x/", **more), "HILUM 1")


def send(settings: Any, message: Announcement | None = None) -> tuple[str, str]:
    sent = open_notifier(settings).send(message or told(), now())
    return str(sent.outcome), sent.comment


# --- what is told ------------------------------------------------------------------------------------------------


def test_the_subject_says_what_and_when_and_not_who() -> None:
    """The first line is what a pager shows. A study of another day has its date."""
    received = at(0).astimezone()
    assert told().subject == (
        f"hilum: Pneumothorax above threshold (score 88) and 1 more, study received {received:%H:%M}"
    )
    assert (
        f"study received {received:%Y-%m-%d %H:%M}"
        in told(Notification(7, "0b", 3, "1.2.3", "", "", at(0), CONTENT, 0, at(200_000))).subject
    )


@pytest.mark.parametrize(
    ("identifiers", "shown", "hidden"),
    [
        ("none", (), ("1.2.3", "ZZ")),
        ("study", ("1.2.3",), ("ZZ",)),
        ("patient", ("1.2.3", "ZZPATIENT", "ZZACCESSION"), ()),
    ],
)
def test_who_it_is_of_only_where_switched_on(identifiers: str, shown: tuple[str, ...], hidden: tuple[str, ...]) -> None:
    """By default the Study Instance UID, by which a program finds the study, and nothing of the patient."""
    message = told(identifiers=identifiers)
    for form in (message.text, json.dumps(message.event)):
        assert all(word in form for word in shown), form
        assert not any(word in form for word in hidden), form
    assert "ZZ" not in message.subject


def test_the_event_is_a_cloudevent() -> None:
    """CloudEvents 1.0: the attributes that it requires, and ours; the text opens the study where a link is given."""
    message = told(link="https://viewer/?StudyInstanceUIDs={study_instance_uid}")
    event = message.event
    assert {k: event[k] for k in ("specversion", "id", "source", "type")} == {
        "specversion": "1.0",
        "id": "0b0e5a9c",
        "source": "/hilum/HILUM%201",
        "type": "org.hilum.alert",
    }
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", event["time"])  # RFC 3339
    assert event["data"]["findings"] == FOUND
    assert event["data"]["link"] == "https://viewer/?StudyInstanceUIDs=1.2.3"
    assert "Open it:            https://viewer/?StudyInstanceUIDs=1.2.3\n" in message.text
    page = (ROOT / "docs" / "operations.md").read_text()
    documented = json.loads('{"specversion"' + page.split('{"specversion"')[1].split("```")[0])
    assert list(documented) == list(event)
    assert set(documented["data"]) == set(told().event["data"])
    assert [set(f) for f in documented["data"]["findings"]] == [set(FOUND[0])]
    assert told().event == told().event  # sent again, it is the same


# --- webhook -----------------------------------------------------------------------------------------------------


def test_a_webhook_is_signed(files: TlsFiles) -> None:
    """The receiver can tell from the headers who sends, that nobody changed the body, and that it is not old."""
    with WebhookReceiver(tls=files) as receiver:
        assert send(webhook(receiver.url, ca=str(files.ca))) == ("ACCEPTED", "HTTP 204")
        ((headers, body),) = receiver.taken
    assert headers["content-type"] == "application/cloudevents+json"
    assert headers["webhook-id"] == json.loads(body)["id"] == "0b0e5a9c"
    assert is_signed(headers, body)
    assert not is_signed(headers, body.replace(b"88", b"12"))
    assert not is_signed({**headers, "webhook-timestamp": "1700000000"}, body)


def test_a_secret_is_replaced_without_a_restart(tmp_path: Path) -> None:
    """With two lines in the file both signatures are sent; the file is read for each attempt."""
    file, other = tmp_path / "secret", "whsec_" + "QUJD" * 10
    file.write_text(f"{other}\n")
    with WebhookReceiver() as receiver:
        notifier = open_notifier(webhook(receiver.url, secret="", secret_file=str(file)))
        for secrets in (other, f"{SECRET}\n{other}\n", SECRET):
            file.write_text(secrets)
            assert notifier.send(told(), now()).outcome == "ACCEPTED"
        file.unlink()
        assert notifier.send(told(), now()).comment == f"secret_file {file}: No such file or directory"
    assert [(is_signed(*taken, other), is_signed(*taken)) for taken in receiver.taken] == [
        (True, False),
        (True, True),
        (False, True),
    ]


@pytest.mark.parametrize(
    ("mood", "outcome", "said"),
    [
        (200, "ACCEPTED", "HTTP 200"),
        (500, "FAILED", "HTTP 500 Internal Server Error"),
        (404, "FAILED", "HTTP 404 Not Found"),
        (302, "FAILED", "HTTP 302 Found: redirects are not followed; give the final address in url"),
        (410, "REFUSED", "HTTP 410 Gone: the receiver wants no more notifications"),
        ("hang", "UNREACHABLE", "no answer from 127.0.0.1:PORT in time"),
        ("drip", "UNREACHABLE", "no answer from 127.0.0.1:PORT in time"),
        ("drop", "UNREACHABLE", "127.0.0.1:PORT broke off the connection (RemoteProtocolError)"),
    ],
)
def test_what_a_receiver_answers(mood: int | str, outcome: str, said: str) -> None:
    """A failure is said in words, and one attempt ends in time however slowly the receiver answers."""
    began = time.monotonic()
    with WebhookReceiver(lambda number: mood) as receiver:
        assert send(webhook(receiver.url)) == (outcome, said.replace("PORT", str(receiver.port)))
        assert time.monotonic() - began < 8
        assert receiver.tried == [mood]


def test_faults_of_the_way_there(files: TlsFiles, tmp_path: Path) -> None:
    """Who reads the log learns what to do: start the receiver, correct the name, give the authority."""
    port = free_port()
    assert send(webhook(f"http://127.0.0.1:{port}/"))[1].startswith(f"connection to 127.0.0.1:{port} refused")
    assert "host name no.such.host.invalid not resolved" in send(webhook("https://no.such.host.invalid/"))[1]
    other = Authority(tmp_path / "other", "Other CA")
    with WebhookReceiver(tls=files) as receiver:
        said = send(webhook(receiver.url))[1]
        assert said.startswith("the certificate of 127.0.0.1 is not trusted: ")
        assert said.endswith("give the certificate of its authority in ca")
        assert "is not trusted" in send(webhook(receiver.url, ca=str(other.ca)))[1]
        local = receiver.url.replace("127.0.0.1", "localhost")
        assert "the certificate is not one of localhost" in send(webhook(local, ca=str(files.ca)))[1]
        assert receiver.tried == []
    with WebhookReceiver(tls=other.issue("late", days=-1)) as receiver:
        assert "certificate has expired" in send(webhook(receiver.url, ca=str(other.ca)))[1]
    with WebhookReceiver() as receiver:
        assert "does it speak TLS there?" in send(webhook(receiver.url.replace("http:", "https:")))[1]


@pytest.mark.parametrize("secret", ["hunter2", "whsec_short", "whsec_" + "A" * 10, "whsec_!!" + "A" * 40])
def test_a_weak_secret_is_refused(secret: str) -> None:
    """At start, with the command that makes a good one, and without the secret."""
    with pytest.raises(CannotWork) as refused:
        open_notifier(webhook("https://x/", secret=secret))
    assert "openssl rand" in str(refused.value)
    assert secret not in str(refused.value)


def test_one_that_is_always_refused_holds_back_no_other(tmp_path: Path) -> None:
    """The receiver answers the first study's notification with a failure; those after it arrive in the same round."""
    journal = open_store("", tmp_path).journal
    for number in (1, 2, 3):
        journal.received(image(f"1.2.{number}"), at(0))
    for study in take_up(journal):
        raised = Raised(("urgent",), (Notice("hook", CONTENT),))
        journal.analysed(study, replace(outcome(study), raised=raised), at(61))
    with WebhookReceiver() as receiver:
        first: list[str] = []

        def picky(body: bytes) -> int:
            study = json.loads(body)["data"]["study_instance_uid"]
            first[:] = first or [study]
            return 422 if study == first[0] else 200

        receiver.judge = picky
        messenger = Messenger(
            webhook(receiver.url, give_up_after_seconds=1e9), DeliverySettings(), "HILUM", journal, threading.Event()
        )
        assert messenger.send_due() == 3
        assert sorted(e["data"]["study_instance_uid"] for e in receiver.events) == ["1.2.2", "1.2.3"]
    assert journal.notification_counts() == {("hook", "ACCEPTED"): 2, ("hook", "PENDING"): 1}


# --- e-mail ------------------------------------------------------------------------------------------------------


def test_an_email_as_people_read_it() -> None:
    """Subject, text, and the headers by which mail programs file it; sent again it has the same Message-ID."""
    with MailServer() as server:
        assert send(mail_to(server, recipients=["a@clinic.example", "b@clinic.example"])) == ("ACCEPTED", "")
    (envelope,) = server.mails
    assert envelope.rcpt_tos == ["a@clinic.example", "b@clinic.example"]
    content = envelope.content
    assert isinstance(content, bytes)
    mail = email.message_from_bytes(content, policy=email.policy.default)
    assert mail["Subject"] == told().subject
    assert mail["Message-ID"] == "<0b0e5a9c@clinic.example>"
    assert (mail["Auto-Submitted"], mail["Importance"]) == ("auto-generated", "high")
    text = mail.get_content().replace("\r\n", "\n")
    assert "  Pneumothorax  above threshold  score 88\n  Effusion      near threshold  score 45\n" in text
    assert "What is not named here is not excluded." in text
    assert "ZZ" not in content.decode()


@pytest.mark.parametrize("how", ["starttls", "tls"])
def test_a_login_over_tls(files: TlsFiles, tmp_path: Path, how: str) -> None:
    """The password comes from a file, and goes only to a server whose certificate is right."""
    password = tmp_path / "password"
    password.write_text("right\n")
    with MailServer(files, {"hilum": "right"}, implicit=how == "tls") as server:
        more = {"tls": how, "user": "hilum", "password_file": str(password), "ca": str(files.ca)}
        assert send(mail_to(server, **more)) == ("ACCEPTED", "")
        assert len(server.mails) == 1
        assert open_notifier(mail_to(server, **more)).test() == ""
        assert "is not trusted" in send(mail_to(server, **{**more, "ca": ""}))[1]
        password.write_text("wrong\n")
        assert "127.0.0.1 refused user or password: 535" in send(mail_to(server, **more))[1]
        password.write_text("")
        with pytest.raises(CannotWork, match="found an empty file"):
            open_notifier(mail_to(server, **more))
    assert len(server.mails) == 1


def test_what_a_mail_server_refuses() -> None:
    """No recipient: tried again. Some of them: the others have it. The message: tried again, without its words."""
    with MailServer() as server:
        server.rcpt["b@clinic.example"] = "550 no such user"
        alone = mail_to(server, recipients=["b@clinic.example"])
        assert send(alone) == ("FAILED", "127.0.0.1 refused every recipient: 550 no such user")
        both = mail_to(server, recipients=["a@clinic.example", "b@clinic.example"])
        assert send(both) == ("WARNING", "refused for 1 of 2 recipients: 550 no such user")
        server.data = ["451 try again, Pneumothorax looks like spam"]
        assert send(mail_to(server)) == ("FAILED", "127.0.0.1 refused the message: 451")
        assert send(mail_to(server)) == ("ACCEPTED", "")
        assert "does not offer what tls or user asks for" in send(mail_to(server, tls="starttls"))[1]
    assert send(mail_to(server))[1].startswith(f"connection to 127.0.0.1:{server.port} refused")


def test_a_mail_server_that_drips_is_left_in_time() -> None:
    """A server that says one more line again and again holds an attempt no longer than its time limit."""
    listener = socket.create_server(("127.0.0.1", 0))

    def drip() -> None:
        connection, _ = listener.accept()
        try:
            while True:
                connection.sendall(b"220-wait\r\n")
                time.sleep(0.2)
        except OSError:
            return

    threading.Thread(target=drip, daemon=True).start()
    began = time.monotonic()
    settings = EmailSettings(type="email", name="m", host="127.0.0.1", port=listener.getsockname()[1], tls="none",
                             sender="a@b", recipients=("c@d",), timeout_seconds=1)  # fmt: skip
    assert send(settings)[0] == "UNREACHABLE"
    assert time.monotonic() - began < 4
    listener.close()


# --- apprise -----------------------------------------------------------------------------------------------------


def test_without_apprise_its_notifiers_say_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library is an optional extra: who does not use it does not need it."""
    monkeypatch.setitem(sys.modules, "apprise", None)  # as where it is not installed
    with pytest.raises(CannotWork, match=r'notifier chat: .* pip install "hilum\[apprise\]"'):
        open_notifier(AppriseSettings(type="apprise", name="chat", urls_file=str(tmp_path / "urls")))


def test_apprise_reaches_a_service(tmp_path: Path) -> None:
    """A service that takes the message, one that does not, and a URL that is none; the URLs stay secret."""
    pytest.importorskip("apprise", reason="the optional library is not installed: pip install hilum[apprise]")
    urls = tmp_path / "urls"
    moods = iter([200, 500])
    with WebhookReceiver(lambda number: next(moods)) as receiver:
        urls.write_text(f"# a receiver of JSON\njson://127.0.0.1:{receiver.port}/\n")
        settings = AppriseSettings(type="apprise", name="chat", urls_file=str(urls))
        assert send(settings) == ("ACCEPTED", "")
        assert receiver.events[0]["title"] == told().subject
        assert send(settings)[0] == "FAILED"
    urls.write_text("nonsense-secret\n")
    with pytest.raises(CannotWork, match="line 1 is no URL that Apprise knows") as refused:
        open_notifier(settings)
    assert "secret" not in str(refused.value)


# --- the commands ------------------------------------------------------------------------------------------------


@pytest.fixture
def configured(tmp_path: Path) -> Iterator[tuple[WebhookReceiver, dict[str, str]]]:
    with WebhookReceiver() as receiver:
        notifiers = [{"type": "webhook", "name": "hook", "url": receiver.url, "secret": SECRET}]
        yield receiver, {"HILUM__NOTIFIER": json.dumps(notifiers), "HILUM__STORAGE__DIRECTORY": str(tmp_path)}


def test_a_notifier_is_tried_by_a_command(
    configured: tuple[WebhookReceiver, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`hilum alerts test` sends a message that says that it is a test, and the trail says who tried it."""
    receiver, environ = configured
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    done = CliRunner().invoke(app, ["alerts", "test", "hook"])
    assert (done.exit_code, done.output) == (0, "hook: sent: HTTP 204\n")
    (event,) = receiver.events
    assert (event["type"], event["data"]) == ("org.hilum.test", {})
    receiver.script = lambda number: 500
    done = CliRunner().invoke(app, ["alerts", "test", "hook"])
    assert (done.exit_code, done.output) == (1, "hook: not sent: HTTP 500 Internal Server Error\n")
    done = CliRunner().invoke(app, ["alerts", "test", "pager"])
    assert (done.exit_code, done.output) == (2, "there is no notifier pager; the configuration has hook\n")
    trail = open_store("", Path(environ["HILUM__STORAGE__DIRECTORY"])).queries.events(event="NOTIFICATION")
    assert [(row["detail"]["outcome"], row["detail"]["test"]) for row in trail] == [
        ("ACCEPTED", True),
        ("FAILED", True),
    ]
    assert all(row["actor"].startswith("operator ") for row in trail)


def test_check_tests_the_way_to_each_notifier(
    configured: tuple[WebhookReceiver, dict[str, str]], untrained: dict[str, str]
) -> None:
    """Nothing is sent, and any answer counts: the receiver is there."""
    receiver, environ = configured
    settings = read_settings(None, {**environ, **untrained})
    assert dict(check(settings))["connection of notifier hook"] == ""
    assert receiver.tried == []
    receiver.__exit__()
    assert "refused" in dict(check(settings))["connection of notifier hook"]
    receiver.__enter__()


def test_a_test_message_is_one() -> None:
    """Nobody takes it for a patient."""
    message = trial_message(now(), "HILUM")
    assert message.subject == "hilum: test of notifications, no study"
    assert "nothing is to be done" in message.text


def test_tls_is_at_least_1_2() -> None:
    """Older versions are not offered."""
    context = verified("")
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname
