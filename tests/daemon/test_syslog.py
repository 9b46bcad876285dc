"""The audit trail reaches a real rsyslog, whole and in order, whoever was away meanwhile."""

import json
import signal
import socket
import threading
import urllib.request
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element

import pytest

from config.settings import ConfigurationError, Settings
from daemon.cli.check import check
from daemon.runtime import log
from daemon.runtime.clock import now
from daemon.syslog.messages import Interpreter
from daemon.syslog.shipper import READER, Shipper, check_reachable
from daemon.syslog.transport import SyslogServer, SyslogUnreachable, send, syslog_message
from daemon.wiring import read_settings
from dicom_io.network.tls import TlsFiles, client_context, server_context
from storage.store import Store, open_store
from tests.conftest import require, wait_for
from tests.dicom_io.test_tls import Authority
from tests.support.harness import Daemon, sink
from tests.support.peers import dx_file, free_port, run, storescp
from tests.support.rsyslog import Rsyslog, event_ids
from tests.support.studies import at, image

STRANGE = "Ünïcode 山田^太郎"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    require("openssl")
    return Authority(tmp_path_factory.mktemp("syslog-tls") / "ours")


@pytest.fixture(scope="module")
def files(authority: Authority) -> TlsFiles:
    """Ours, towards the server."""
    return authority.issue("hilum")


@pytest.fixture(params=["tls", "tcp", "udp"])
def rsyslog(request: pytest.FixtureRequest, tmp_path: Path, authority: Authority) -> Iterator[Rsyslog]:
    """A server for each transport; the one over TLS wants certificates of our authority."""
    server = Rsyslog(tmp_path / "rsyslog", request.param, authority.issue("server"))
    yield server
    server.stop(signal.SIGKILL)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store("", tmp_path)


def settings_for(server: Rsyslog, files: TlsFiles, **more: str) -> dict[str, str]:
    """The settings that send the trail there, as the environment has them."""
    own = {"CERTIFICATE": str(files.certificate), "KEY": str(files.key), "CA": str(files.ca)}
    audit = {"SYSLOG": "127.0.0.1", "PORT": str(server.port), "TRANSPORT": server.transport, **own, **more}
    return {f"HILUM__AUDIT__{key}": value for key, value in audit.items()}


def shipper(server: Rsyslog, files: TlsFiles, store: Store) -> Shipper:
    log.configure("error", "test")
    return Shipper(read_settings(None, settings_for(server, files)), store.outbox)


def note(store: Store, *numbers: int) -> None:
    """A row for each number, with characters that are not ASCII."""
    for number in numbers:
        detail = {"command": f"{STRANGE} {number}"}
        store.journal.record("AUDIT_READ", at(number), actor=f"operator {STRANGE}", detail=detail)


def details(message: Element) -> dict[str, str]:
    """The details of a message's objects, decoded."""
    found = message.iter("ParticipantObjectDetail")
    return {str(d.get("type")): b64decode(str(d.get("value"))).decode() for d in found}


def numbers(server: Rsyslog) -> list[int]:
    """What `note` counted, as it arrived."""
    return [int(details(message)["Command"].split()[-1]) for message in server.messages()]


def once(values: list[int]) -> list[int]:
    return list(dict.fromkeys(values))


def test_messages_arrive_whole_and_in_order(rsyslog: Rsyslog, files: TlsFiles, store: Store) -> None:
    """RFC 5424 with PS3.15's PRI and MSGID, a byte order mark, and the XML with all its characters."""
    note(store, *range(250))  # more than a batch
    with rsyslog:
        shipper(rsyslog, files, store).ship()
        wait_for(lambda: len(rsyslog.lines()) >= 250, 20, "the messages")
        assert numbers(rsyslog) == list(range(250))
    first = rsyslog.lines()[0]
    assert first.startswith(b"<85>1 2026-03-01T12:00:00.000000Z ")
    assert b" hilum " in first
    assert b" DICOM+RFC3881 - \xef\xbb\xbf<?xml version=" in first
    (reader,) = rsyslog.messages()[0].findall("ActiveParticipant")
    assert reader.get("UserName") == STRANGE
    assert store.outbox.waiting(READER) == 0


@pytest.mark.parametrize("rsyslog", ["tls", "tcp"], indirect=True)
def test_a_server_that_comes_and_goes_misses_nothing(rsyslog: Rsyslog, files: TlsFiles, store: Store) -> None:
    """The server is absent, stopped and killed in between: every row arrives, in order, and none before its time."""
    ours = shipper(rsyslog, files, store)
    note(store, 0, 1)
    ours.finish()
    assert store.outbox.waiting(READER) == 2
    for start, how in ((2, signal.SIGTERM), (5, signal.SIGKILL), (8, signal.SIGTERM)):
        rsyslog.start()
        note(store, start, start + 1)
        ours.finish()
        assert store.outbox.waiting(READER) == 0
        wait_for(lambda last=start + 1: last in numbers(rsyslog), 20, "the messages")
        rsyslog.stop(how)
        note(store, start + 2)
        ours.finish()
        assert store.outbox.waiting(READER) == 1
    rsyslog.start()
    shipper(rsyslog, files, store).ship()  # ours, started again
    wait_for(lambda: once(numbers(rsyslog)) == list(range(11)), 20, "the last message")


@pytest.mark.parametrize("rsyslog", ["tcp"], indirect=True)
def test_a_server_that_dies_with_messages_unread_gets_them_again(
    rsyslog: Rsyslog, files: TlsFiles, store: Store
) -> None:
    """What the server's machine took and the server never read is not confirmed: it is sent again."""
    with rsyslog:
        assert rsyslog.process
        rsyslog.process.send_signal(signal.SIGSTOP)  # the kernel goes on to accept and acknowledge
        with pytest.raises(SyslogUnreachable):
            send(SyslogServer("127.0.0.1", rsyslog.port, "tcp", timeout_seconds=0.5), [b"lost"])
    note(store, 1)
    ours = shipper(rsyslog, files, store)
    with rsyslog:
        ours.ship()
        wait_for(lambda: numbers(rsyslog) == [1], 20, "the message")


def test_a_tls_server_that_dies_with_messages_unread_is_noticed(authority: Authority, files: TlsFiles) -> None:
    """The same over TLS: the server shakes hands, its machine takes our messages, and it ends without reading them."""

    def serve(listening: socket.socket) -> None:
        connection = server_context(authority.issue("dying")).wrap_socket(listening.accept()[0], server_side=True)
        with socket.socket(fileno=connection.detach()) as plain:
            plain.recv(1, socket.MSG_PEEK)  # until something is there

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, args=[listening])
        thread.start()
        port = listening.getsockname()[1]
        with pytest.raises(SyslogUnreachable):
            send(SyslogServer("127.0.0.1", port, "tls", lambda: client_context(files)), [b"lost"])
        thread.join()


@pytest.mark.parametrize("rsyslog", ["tls"], indirect=True)
def test_only_who_shows_a_certificate_is_heard_and_we_notice(
    rsyslog: Rsyslog, tmp_path: Path, authority: Authority, files: TlsFiles, store: Store
) -> None:
    """A certificate of another authority, ours or the server's, is not taken for success, with or without messages."""
    note(store, 1)
    stranger = Authority(tmp_path / "theirs").issue("stranger")
    not_known = TlsFiles(stranger.certificate, stranger.key, files.ca)
    trusts_others = TlsFiles(files.certificate, files.key, stranger.ca)
    with rsyslog:
        for wrong in (not_known, trusts_others):
            shipper(rsyslog, wrong, store).ship()
            assert store.outbox.waiting(READER) == 1
            with pytest.raises(SyslogUnreachable):
                check_reachable(read_settings(None, settings_for(rsyslog, wrong)))
        assert rsyslog.lines() == []
        shipper(rsyslog, files, store).ship()
        wait_for(lambda: numbers(rsyslog) == [1], 20, "the message")


def test_a_server_that_is_away_is_not_asked_all_the_time(files: TlsFiles, store: Store, tmp_path: Path) -> None:
    """After a failure there is a pause; the end of the daemon does not heed it."""
    server = Rsyslog(tmp_path / "rsyslog", "tcp")
    ours = shipper(server, files, store)
    note(store, 1)
    ours.ship()
    with server:
        ours.ship()
        assert store.outbox.waiting(READER) == 1
        ours.finish()
        assert store.outbox.waiting(READER) == 0


def test_check_tries_the_server(files: TlsFiles, tmp_path: Path, authority: Authority) -> None:
    """`hilum check` says whether the server is there."""
    server = Rsyslog(tmp_path / "rsyslog", "tls", authority.issue("server"))
    quick = {"HILUM__STORAGE__DIRECTORY": str(tmp_path), "HILUM__MODEL__BUNDLE": str(tmp_path / "none")}
    settings = read_settings(None, settings_for(server, files) | quick)
    said = dict(check(settings))
    assert "Connection refused" in said["syslog"]
    assert said["certificates"] == ""
    with server:
        assert dict(check(settings))["syslog"] == ""


def test_strange_names_stay_out_of_the_header() -> None:
    """RFC 5424 6: header fields are printable ASCII without spaces, and never empty."""
    message = syslog_message(now(), 5, "hôst name", "", "1", b"<a/>")
    assert message.split(b" ")[2:6] == [b"h?st?name", b"-", b"1", b"DICOM+RFC3881"]


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"HILUM__AUDIT__SYSLOG": "x"}, "audit.transport is tls, which needs"),
        ({"HILUM__AUDIT__CERTIFICATE": "x"}, "needed together"),
        ({"HILUM__AUDIT__SOURCE_ID": "two words"}, "audit.source_id"),
    ],
)
def test_settings_that_cannot_work_are_refused(environ: dict[str, str], said: str) -> None:
    """TLS needs files, and the source a name that fits into a syslog header."""
    with pytest.raises(ConfigurationError, match=said):
        read_settings(None, environ)


# --- through the daemon ----------------------------------------------------------------------------------------------


def alerts(messages: list[Element]) -> list[str]:
    return [details(m).get("Alert Description", "") for m in messages if event_ids([m]) == ["Security Alert"]]


def test_the_daemon_reports_what_it_does(
    tmp_path: Path, untrained: dict[str, str], authority: Authority, files: TlsFiles
) -> None:
    """One study in and its report out, a refused peer, a kill of the daemon before the server is there, a query, the
    end: all of it arrives, each with number and digest of its row, which `hilum audit verify` takes as anchors."""
    require("storescp", "dcmsend")
    server = Rsyslog(tmp_path / "rsyslog", "tls", authority.issue("server"))
    port = free_port()
    peers = json.dumps([{"ae_title": "MODALITY1", "host": "127.0.0.1"}])
    environ = {
        **untrained, **settings_for(server, files), "HILUM__PEER": peers, "HILUM__DICOM__ACCEPT_ANY_PEER": "false",
        "HILUM__HTTP__ENABLED": "true", "HILUM__HTTP__PORT": str(port),
    }  # fmt: skip
    radiograph = dx_file(tmp_path / "a.dcm", BodyPartExamined="CHEST", ViewPosition="PA", PatientID="PÄT1",
                         SpecificCharacterSet="ISO_IR 192")  # fmt: skip
    with (
        storescp(tmp_path / "pacs") as pacs,
        Daemon(tmp_path / "hilum", [sink("pacs", pacs.port)], **environ) as daemon,
    ):
        send_as(daemon, "MODALITY1", radiograph)
        wait_for(lambda: len(pacs.files()) == 1, 60, "the report")
        send_as(daemon, "STRANGER", radiograph)  # while nobody listens at the server
        wait_for(lambda: waiting(port) >= 6, 10, "the backlog in the metrics")
        daemon.kill()
        server.start()
        daemon.start()
        daemon.hilum("audit", "studies", "--patient", "PÄT1")
        wait_for(lambda: "Audit Log Used" in event_ids(server.messages()), 30, "the query's message")
        assert daemon.stop() == 0
        messages = wait_for(lambda: len(found := server.messages()) >= 8 and found, 10, "the stop's message")
        assert event_ids(messages) == [
            "Application Activity", "DICOM Instances Transferred", "Begin Transferring DICOM Instances",
            "DICOM Instances Transferred", "Security Alert", "Application Activity", "Audit Log Used",
            "Application Activity",
        ]  # fmt: skip
        types = [m.find("EventIdentification/EventTypeCode") for m in messages if event_ids([m])[0].startswith("Appl")]
        assert [t.get("originalText") for t in types] == ["Application Start", "Application Start", "Application Stop"]
        _, came_in, begun, went_out, alert, _, used, _ = messages
        assert [p.get("UserID") for p in came_in.findall("ActiveParticipant")] == ["MODALITY1", "HILUM"]
        assert came_in.findall("ParticipantObjectIdentification")[1].get("ParticipantObjectID") == "PÄT1"
        for message in (begun, went_out):
            assert [p.get("UserID") for p in message.findall("ActiveParticipant")] == ["HILUM", "PACS"]
        assert alerts([alert]) == ["peer-not-listed"]
        assert "--patient=PÄT1" in details(used)["Command"]
        anchors = [details(message)["Audit Row"] for message in messages]
        said = daemon.hilum("audit", "verify", *(word for anchor in anchors for word in ("--anchor", anchor)))
        assert "as it was written" in said
    server.stop()


def waiting(port: int) -> float:
    """The backlog by /metrics."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as page:
        lines = page.read().decode().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("hilum_audit_pending "))


def send_as(daemon: Daemon, calling: str, file: Path) -> None:
    run("dcmsend", "-aet", calling, "-aec", "HILUM", "127.0.0.1", str(daemon.port), file)


# --- what rows mean --------------------------------------------------------------------------------------------------


def test_rows_that_are_one_transfer_are_one_message(store: Store, tmp_path: Path) -> None:
    """Objects of one study that came one after the other are one message, at most 20 objects each; another peer's or
    another study's are not in it."""
    journal = store.journal
    for number in range(25):
        journal.received(image(number=number), at(number))
    journal.received(image("1.9"), at(30))
    journal.received(image(number=40, calling_ae_title="OTHER"), at(40))
    interpreter = Interpreter(Settings(), "host", store.outbox.uri())
    messages = list(interpreter.messages(store.outbox.pending(READER, 99)))
    counts = [message.xml.count(b"<Instance ") for message in messages]
    assert counts == [20, 5, 1, 1]
    assert all(len(message.xml) < 8000 for message in messages)
    assert store.trail.verify() == []
