"""TLS through the whole daemon: a study in and its report out, strangers kept out, certificates changed on the way."""

import contextlib
import re
import shutil
import signal
import socket
import ssl
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.uid import DigitalXRayImageStorageForPresentation as DX
from pydicom.uid import ExplicitVRLittleEndian

from daemon.cli.check import check
from daemon.wiring import read_settings
from dicom_io.network.certificate import validity
from dicom_io.network.tls import TlsFiles, client_context
from dicom_io.services.store_scu import Destination, Sender
from tests.conftest import require, wait_for
from tests.support.authority import Authority, storescu
from tests.support.harness import Daemon, sink
from tests.support.peers import StoreScpPeer, data_set_bytes, dx_file, free_port, run, storescp


@dataclass(frozen=True)
class Line:
    """A daemon that speaks TLS alone, the PACS behind it, and the files that the daemon works with."""

    daemon: Daemon
    pacs: StoreScpPeer
    files: TlsFiles
    ours: Authority
    theirs: Authority
    http: int

    def put(self, issued: TlsFiles, *authorities: Authority) -> None:
        """Other files in the place of those that the daemon was started with."""
        shutil.copy(issued.certificate, self.files.certificate)
        shutil.copy(issued.key, self.files.key)
        self.files.ca.write_text("".join(a.ca.read_text() for a in authorities))

    def logged(self, event: str, **values: Any) -> list[dict[str, Any]]:
        return [e for e in self.daemon.events if e.get("event") == event and values.items() <= e.items()]

    def reload(self) -> None:
        assert self.daemon.process
        self.daemon.process.send_signal(signal.SIGHUP)

    def sender(self, files: TlsFiles, version: ssl.TLSVersion | None = None) -> Sender:
        context = client_context(files)
        if version:
            context.minimum_version = context.maximum_version = version
        return Sender(
            "MODALITY", Destination("HILUM", "127.0.0.1", self.daemon.port, lambda: context, sop_classes=(DX,))
        )


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory, untrained: dict[str, str]) -> Iterator[Line]:
    require("openssl", "storescu", "storescp")
    directory, http = tmp_path_factory.mktemp("tls"), free_port()
    ours, theirs = Authority(directory / "ours"), Authority(directory / "theirs")
    files = TlsFiles(*(directory / name for name in ("our.pem", "our.key", "authorities.pem")))
    pacs = ours.issue("pacs")
    trusted = ["+cf", str(ours.ca), "+cf", str(theirs.ca)]
    environ = {f"HILUM__TLS__{key.upper()}": str(getattr(files, key)) for key in ("certificate", "key", "ca")}
    environ |= {"HILUM__HTTP__ENABLED": "true", "HILUM__HTTP__PORT": str(http)}
    with storescp(directory / "pacs", "+tls", str(pacs.key), str(pacs.certificate), *trusted) as peer:
        daemon = Daemon(directory / "hilum", [sink("pacs", peer.port, tls=True)], **environ, **untrained)
        found = Line(daemon, peer, files, ours, theirs, http)
        found.put(ours.issue("first"), ours)
        with daemon:
            yield found


def radiograph(path: Path) -> Path:
    return dx_file(path, BodyPartExamined="CHEST", ViewPosition="PA")


def send(sender: Sender, image: Path) -> str:
    data = data_set_bytes(image.read_bytes())
    return sender.send(DX, dcmread(image).SOPInstanceUID, ExplicitVRLittleEndian, data).outcome


def test_a_study_goes_in_and_its_report_out(tmp_path: Path, line: Line) -> None:
    """dcmtk on both sides, and a sender that speaks TLS 1.2 or 1.3 alone: each study ends in a report at the PACS."""
    client = line.ours.issue("client")
    said = storescu(line.daemon.port, client, line.ours.ca, radiograph(tmp_path / "a.dcm"))
    assert "Received Store Response (Success)" in said
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        sender = line.sender(client, version)
        assert send(sender, radiograph(tmp_path / f"{version}.dcm")) == "ACCEPTED"
        sender.close()
    wait_for(lambda: len(line.logged("sent", outcome="ACCEPTED")) == 3, 90, "three reports")
    assert {str(dcmread(file).Modality) for file in line.pacs.files()} == {"SR"}


def test_strangers_stay_out_and_are_on_record(tmp_path: Path, line: Line) -> None:
    """Another authority's certificate, an expired one, none, no TLS: no object; of a flood, one row a second."""
    image, port = radiograph(tmp_path / "a.dcm"), line.daemon.port
    storescu(port, line.theirs.issue("stranger"), line.ours.ca, image)
    storescu(port, line.ours.issue("old", days=-1), line.ours.ca, image)
    run("storescu", "+tla", "-ic", "-aec", "HILUM", "127.0.0.1", str(port), image)
    run("storescu", "-aec", "HILUM", "127.0.0.1", str(port), image)

    def turned_away() -> int:
        return sum(1 + int(row["held_back"]) for row in line.logged("security", kind="tls-refused"))

    def knock() -> bool:
        with socket.create_connection(("127.0.0.1", port), 5) as peer, contextlib.suppress(ConnectionError):
            peer.sendall(b"GET / HTTP/1.1\r\n\r\n")
            while peer.recv(1000):
                pass
        return turned_away() >= 4 + 30

    for _ in range(30):
        knock()
    wait_for(knock, 20, "every refusal to be counted")
    rows = line.logged("security", kind="tls-refused")
    assert len(rows) < 30
    trail = line.daemon.hilum("audit", "events", "--json", "--limit", "10000")
    kept = [e for e in trail if e["event"] == "SECURITY" and e["detail"]["kind"] == "tls-refused"]
    assert len(kept) == len(rows)
    assert str(dcmread(image).StudyInstanceUID) not in {row["study_instance_uid"] for row in line.daemon.studies()}


def test_files_that_are_no_good_change_nothing(tmp_path: Path, line: Line) -> None:
    """A key of another certificate, or an expired certificate, is refused in the log and by `hilum check`."""
    expired = line.ours.issue("expired", days=-1)
    mixed = TlsFiles(line.ours.issue("one").certificate, line.ours.issue("two").key, line.ours.ca)
    sender = line.sender(line.ours.issue("client"))
    for files, fault in ((expired, "expired on"), (mixed, "do not belong together")):
        before = len(line.logged("configuration refused, the old one stays"))
        line.put(files, line.ours)
        line.reload()
        wait_for(lambda b=before: len(line.logged("configuration refused, the old one stays")) > b, 30, "the refusal")
        assert fault in line.logged("configuration refused, the old one stays")[-1]["fault"]
        assert sender.echo().outcome == "ACCEPTED"
        sender.close()
        found = next(
            said for subject, said in check(read_settings(None, line.daemon.environ)) if subject == "certificates"
        )
        assert fault in found
    line.put(line.ours.issue("first"), line.ours)


def test_certificates_change_while_an_association_is_open(tmp_path: Path, line: Line) -> None:
    """SIGHUP: the port never closes, an open association goes on, the next has the new files, out goes with them."""
    old, new = line.sender(line.ours.issue("client")), line.sender(line.theirs.issue("client"))
    assert (old.echo().outcome, new.echo().outcome) == ("ACCEPTED", "UNREACHABLE")
    association, reports = old._assoc, len(line.logged("sent", outcome="ACCEPTED"))
    over, turned_away = threading.Event(), []

    def watch() -> None:
        while not over.is_set():
            try:
                socket.create_connection(("127.0.0.1", line.daemon.port), 5).close()
            except OSError as error:
                turned_away.append(error)
            time.sleep(0.02)

    watcher = threading.Thread(target=watch)
    watcher.start()
    line.put(line.theirs.issue("second"), line.theirs, line.ours)
    line.reload()
    for part in ("receive", "parent"):
        wait_for(lambda p=part: line.logged("configuration reloaded", part=p), 90, f"the reload of {part}")
    assert send(old, radiograph(tmp_path / "old.dcm")) == "ACCEPTED"
    assert old._assoc is association
    assert new.echo().outcome == "ACCEPTED"
    old.close()
    new.close()
    wait_for(lambda: len(line.logged("sent", outcome="ACCEPTED")) == reports + 1, 90, "the report")
    over.set()
    watcher.join()
    assert not turned_away
    wait_for(lambda: line.logged("http") and len(line.logged("http")) == 2, 60, "HTTP to be back")
    ends = validity(line.files.certificate)[1].timestamp()
    page = wait_for(lambda: scraped(line.http), 30, "the metrics")
    stated = re.search(r'hilum_certificate_expires_timestamp_seconds{file="certificate"} (.*)', page)
    assert stated
    assert float(stated[1]) == ends
    assert any("expires on" in e["fault"] for e in line.logged("certificate"))


def scraped(port: int) -> str:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as response:
            return str(response.read().decode())
    except OSError:
        return ""


def test_a_peer_is_refused_as_soon_as_the_list_revokes_it(tmp_path: Path, untrained: dict[str, str]) -> None:
    """`[tls] crl`: the file is replaced and nothing else is done; the revoked peer's next connection is refused and
    on record, and other peers are served by the same process."""
    require("openssl", "storescu")
    authority = Authority(tmp_path / "ours")
    files, lost, kept = (authority.issue(name) for name in ("server", "lost", "kept"))
    crl = authority.revocation_list(tmp_path / "list.crl")
    environ = {f"HILUM__TLS__{key.upper()}": str(getattr(files, key)) for key in ("certificate", "key", "ca")}
    with Daemon(tmp_path / "hilum", [], HILUM__TLS__CRL=str(crl), **environ, **untrained) as daemon:
        receiver, success = daemon.parts()["receive"], "Received Store Response (Success)"

        def send(files: TlsFiles, name: str) -> bool:
            return success in storescu(daemon.port, files, authority.ca, radiograph(tmp_path / f"{name}.dcm"))

        def refusals() -> list[dict[str, Any]]:
            return [e for e in daemon.events if e.get("kind") == "tls-refused"]

        assert send(lost, "before")
        authority.revoke(lost)
        assert send(lost, "revoked, but not yet on our list")
        assert not refusals()
        authority.revocation_list(crl)
        assert not send(lost, "after")
        assert send(kept, "of another peer")
        told = wait_for(refusals, 20, "the security event")
        assert {e["error"] for e in told} == {"CERTIFICATE_VERIFY_FAILED: certificate revoked"}
        trail = daemon.hilum("audit", "events", "--json")
        assert any(e["detail"].get("error") == told[0]["error"] for e in trail if e["event"] == "SECURITY")
        assert len(daemon.studies()) == 3
        assert daemon.parts()["receive"] == receiver
        assert not [e for e in daemon.events if e.get("event") == "configuration reloaded"]
