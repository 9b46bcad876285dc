"""TLS admits only peers with a certificate of our authority, whichever side opens the connection."""

import socket
import ssl
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import DigitalXRayImageStorageForPresentation as DX
from pydicom.uid import ExplicitVRLittleEndian

from dicom_io.network.admission import Peer
from dicom_io.network.certificate import certificate_names, crl_validity, validity
from dicom_io.network.errors import TlsFault
from dicom_io.network.tls import Renewed, TlsFiles, check_files, client_context, server_context
from dicom_io.services.store_scu import Destination, Sender
from tests.conftest import require, wait_for
from tests.support.authority import Authority, openssl, storescu
from tests.support.peers import (
    Recorder,
    data_set_bytes,
    dx_file,
    free_port,
    run,
    running_scp,
    sender_to,
    small_limits,
    storescp,
)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    require("openssl")
    return Authority(tmp_path_factory.mktemp("tls") / "ours")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    require("openssl")
    return Authority(tmp_path_factory.mktemp("tls") / "theirs")


def test_storescu_with_our_certificate_may_send(tmp_path: Path, authority: Authority) -> None:
    """dcmtk's storescu over TLS with a certificate of our authority stores an object, byte for byte."""
    require("storescu")
    recorder = Recorder()
    files = authority.issue("server")
    with running_scp(recorder, tmp_path, tls=partial(server_context, files)) as scp:
        said = storescu(scp.port, authority.issue("client"), authority.ca, dx_file(tmp_path / "a.dcm", 1000, 1000))
        assert "Received Store Response (Success)" in said
    assert len(recorder.contents[0]) > 2_000_000


def test_strangers_are_refused_and_reported(tmp_path: Path, authority: Authority, stranger: Authority) -> None:
    """A certificate of another authority, an expired one, none at all, and no TLS: each is refused and an event."""
    require("storescu")
    recorder = Recorder()
    image = dx_file(tmp_path / "a.dcm")
    with running_scp(recorder, tmp_path, tls=partial(server_context, authority.issue("server"))) as scp:
        storescu(scp.port, stranger.issue("client"), authority.ca, image)
        wait_for(lambda: len(recorder.events) == 1, what="the first event")
        storescu(scp.port, authority.issue("old", days=-1), authority.ca, image)
        wait_for(lambda: len(recorder.events) == 2, what="the second event")
        run("storescu", "+tla", "-ic", "-aec", "HILUM", "127.0.0.1", str(scp.port), image)
        wait_for(lambda: len(recorder.events) == 3, what="the third event")
        run("storescu", "-aec", "HILUM", "127.0.0.1", str(scp.port), image)
        wait_for(lambda: len(recorder.events) == 4, what="the fourth event")
    assert recorder.kinds == ["tls-refused"] * 4
    assert not recorder.arrived


def test_silent_client_holds_up_nobody(tmp_path: Path, authority: Authority) -> None:
    """While one connection says nothing, another is served; the silent one is closed in the end."""
    files = authority.issue("server")
    limits = small_limits(association_seconds=2.0)
    with (
        running_scp(Recorder(), tmp_path, tls=partial(server_context, files), limits=limits) as scp,
        socket.create_connection(("127.0.0.1", scp.port)) as silent,
    ):
        began = time.monotonic()
        sender = sender_to(scp, tls=partial(client_context, files))
        assert sender.echo().outcome == "ACCEPTED"
        assert time.monotonic() - began < 1.5
        sender.close()
        assert silent.recv(1) == b""


def test_certificates_are_replaced_without_a_restart(tmp_path: Path, authority: Authority, stranger: Authority) -> None:
    """After a reload, new associations see the new certificate; one that is open stays open."""
    with running_scp(Recorder(), tmp_path, tls=partial(server_context, authority.issue("server"))) as scp:
        old = sender_to(scp, tls=partial(client_context, authority.issue("client")))
        new = sender_to(scp, tls=partial(client_context, stranger.issue("client")))
        assert (old.echo().outcome, new.echo().outcome) == ("ACCEPTED", "UNREACHABLE")
        scp.replace([], partial(server_context, stranger.issue("server")))
        assert (old.echo().outcome, new.echo().outcome) == ("ACCEPTED", "ACCEPTED")
        old.close()
        new.close()


def test_we_send_over_tls(tmp_path: Path, authority: Authority) -> None:
    """storescp with mutual authentication takes an object from us, large enough for many TLS records."""
    require("storescp")
    server, client = authority.issue("server"), authority.issue("client")
    options = ["+tls", str(server.key), str(server.certificate), "+cf", str(authority.ca)]
    with storescp(tmp_path / "pacs", *options) as peer:
        context = partial(client_context, client)
        sender = Sender("HILUM", Destination("PACS", "127.0.0.1", peer.port, context, sop_classes=(DX,)))
        image = dx_file(tmp_path / "a.dcm", 1000, 1000)
        uid, data = dcmread(image).SOPInstanceUID, data_set_bytes(image.read_bytes())
        assert sender.send(DX, uid, ExplicitVRLittleEndian, data).outcome == "ACCEPTED"
        sender.close()
        assert wait_for(peer.files)[0].stat().st_size > 1_000_000


def test_we_do_not_send_to_strangers(tmp_path: Path, authority: Authority, stranger: Authority) -> None:
    """A server with a certificate of another authority, or for another address, gets nothing from us: an event."""
    files = authority.issue("client")
    events: list[str] = []
    for server in (stranger.issue("server"), authority.issue("elsewhere", address="192.0.2.1")):
        trusting = TlsFiles(server.certificate, server.key, authority.ca)
        with running_scp(Recorder(), tmp_path, tls=partial(server_context, trusting)) as scp:
            to = Destination("HILUM", "127.0.0.1", scp.port, partial(client_context, files))
            sent = Sender("SENDER", to, on_event=lambda kind, detail: events.append(kind)).echo()
        assert sent.outcome == "UNREACHABLE"
        assert "CERTIFICATE_VERIFY_FAILED" in sent.comment
    assert events == ["tls-refused"] * 2


def test_old_protocols_are_refused(tmp_path: Path, authority: Authority) -> None:
    """BCP 195: TLS 1.0 and 1.1 are not spoken; 1.2 and 1.3 are."""
    files = authority.issue("server")
    with running_scp(Recorder(), tmp_path, tls=partial(server_context, files)) as scp:
        outcome = {
            version: run(
                "openssl", "s_client", f"-{version}", "-cipher", "ALL:@SECLEVEL=0", "-connect", f"127.0.0.1:{scp.port}",
                "-cert", files.certificate, "-key", files.key, "-CAfile", files.ca, "-verify_return_error", "-brief",
            ).returncode
            for version in ("tls1", "tls1_1", "tls1_2", "tls1_3")
        }  # fmt: skip
    assert [code == 0 for code in outcome.values()] == [False, False, True, True]


# --- a certificate belongs to a peer ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "Röntgen 1", "CN=Röntgen 1,OU=CR\\, DX,O=Clinic", "Modality1.Clinic.EXAMPLE", "192.0.2.7", "::1",
        "urn:clinic:modality1",
    ],
)  # fmt: skip
def test_a_peer_shows_its_own_certificate(tmp_path: Path, authority: Authority, name: str) -> None:
    """A peer with a certificate is let in by its common name, its subject, or any of its alternative names."""
    files = authority.issue(
        "modality1", address="192.0.2.7", subject="/O=Clinic/OU=CR, DX/CN=Röntgen 1",
        names="DNS:modality1.clinic.example,IP:0:0:0:0:0:0:0:1,URI:urn:clinic:modality1",
    )  # fmt: skip
    server = partial(server_context, authority.issue("server"))
    with running_scp(Recorder(), tmp_path, [Peer("SENDER", "127.0.0.1", name)], tls=server) as scp:
        sender = sender_to(scp, tls=partial(client_context, files))
        assert sender.echo().outcome == "ACCEPTED"
        sender.close()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("any_peer", [False, True])
def test_who_holds_one_key_cannot_call_itself_another(
    tmp_path: Path, authority: Authority, version: ssl.TLSVersion, any_peer: bool
) -> None:
    """B's certificate with A's AE title is rejected (1/1/3), and the event names AE title, address and certificate."""
    of_a, of_b = authority.issue("a"), authority.issue("b", subject="/O=Clinic/CN=b")
    peers = [Peer("SENDER", "127.0.0.1", "a"), Peer("B", "127.0.0.1", "b")]
    recorder = Recorder()
    server = partial(server_context, authority.issue("server"))

    def by(files: TlsFiles) -> Sender:
        context = client_context(files)
        context.minimum_version = context.maximum_version = version
        return sender_to(scp, tls=lambda: context)

    with running_scp(recorder, tmp_path, peers, tls=server, accept_any_peer=any_peer) as scp:
        assert by(of_b).echo().comment == "association rejected: Calling AE title not recognised"
        named = {"peer_address": "127.0.0.1", "calling_ae_title": "SENDER", "called_ae_title": "HILUM"}
        event = ("certificate-not-of-peer", {**named, "certificate": "CN=b,O=Clinic"})
        wait_for(lambda: recorder.events == [event], 5, "the event")
        owner = by(of_a)
        assert owner.echo().outcome == "ACCEPTED"
        owner.close()


def test_without_tls_nobody_is_a_peer_with_a_certificate(tmp_path: Path) -> None:
    """Where there is no certificate there is no proof."""
    with running_scp(Recorder(), tmp_path, [Peer("SENDER", "", "a")]) as scp:
        assert "Calling AE title" in sender_to(scp).echo().comment


@pytest.mark.parametrize("name", ["", "modality", "modality1.clinic.exampl", "*.clinic.example", "b", "O=Clinic,CN=a"])
def test_a_part_of_a_name_is_none(name: str) -> None:
    """Names are compared whole: neither a part, nor a pattern, nor another order is the certificate's name."""
    shown = {
        "subject": ((("organizationName", "Clinic"),), (("commonName", "a"), ("userId", " #b+c "))),
        "subjectAltName": (("DNS", "modality1.clinic.example"), ("IP Address", "192.0.2.7"), ("DirName", ())),
    }
    names = certificate_names(shown)
    assert names.subject == "CN=a+UID=\\ #b\\+c\\ ,O=Clinic"
    assert names.include("a")
    assert not names.include(name)
    assert not certificate_names({}).include(name)


# --- revoked certificates ---------------------------------------------------------------------------------------------


def test_a_revoked_peer_is_refused_from_the_next_list_on(tmp_path: Path) -> None:
    """A new list counts for the next association, without a restart; one that cannot be read leaves the old in use."""
    authority = Authority(tmp_path / "ours")
    lost, kept, server = (authority.issue(name) for name in ("lost", "kept", "server"))
    crl = authority.revocation_list(tmp_path / "list.crl")
    told: list[str] = []
    renewed = Renewed(server_context, replace(server, crl=crl), told.append)
    recorder = Recorder()
    with running_scp(recorder, tmp_path, tls=renewed) as scp:

        def echo(files: TlsFiles) -> str:
            sender = sender_to(scp, tls=partial(client_context, files))
            try:
                return sender.echo().outcome
            finally:
                sender.close()

        assert (echo(lost), echo(kept)) == ("ACCEPTED", "ACCEPTED")
        authority.revoke(lost)
        crl.write_text("half a li")
        assert (echo(lost), echo(lost), len(told)) == ("ACCEPTED", "ACCEPTED", 1)
        assert "the old revocation lists stay in use" in told[0]
        authority.revocation_list(crl)
        assert (echo(lost), echo(kept)) == ("UNREACHABLE", "ACCEPTED")
        wait_for(lambda: recorder.kinds == ["tls-refused"], 5, "the event")
        assert recorder.events[0][1]["error"] == "CERTIFICATE_VERIFY_FAILED: certificate revoked"
        authority.revocation_list(crl, "20200101000000Z", "20200102000000Z")
        assert echo(kept) == "UNREACHABLE"
        wait_for(lambda: len(recorder.events) == 2, 5, "the event")
        assert recorder.events[1][1]["error"] == "CERTIFICATE_VERIFY_FAILED: CRL has expired"
        crl.unlink()  # as a list that cannot be read: the one that expired stays in use
        assert echo(kept) == "UNREACHABLE"


def test_we_do_not_send_to_a_revoked_destination(tmp_path: Path) -> None:
    """The list counts for the destinations, too."""
    authority = Authority(tmp_path / "ours")
    server, client = authority.issue("pacs"), authority.issue("client")
    crl = authority.revocation_list(tmp_path / "list.crl")
    events: list[str] = []
    with running_scp(Recorder(), tmp_path, tls=partial(server_context, server)) as scp:
        context = Renewed(client_context, replace(client, crl=crl))
        to = Destination("HILUM", "127.0.0.1", scp.port, context)
        sender = Sender("SENDER", to, on_event=lambda kind, detail: events.append(detail["error"]))
        assert sender.echo().outcome == "ACCEPTED"
        sender.close()
        authority.revoke(server)
        authority.revocation_list(crl)
        assert "CERTIFICATE_VERIFY_FAILED" in sender.echo().comment
    assert events == ["CERTIFICATE_VERIFY_FAILED: certificate revoked"]


def test_faults_of_a_revocation_list_are_named(tmp_path: Path, authority: Authority) -> None:
    """A list that has expired, is not valid yet, is absent or none is a fault; of several authorities each counts."""
    stranger = Authority(tmp_path / "theirs", "Other CA")
    files, now = authority.issue("server"), datetime.now(UTC)
    crl = authority.revocation_list(tmp_path / "list.crl")
    files = replace(files, crl=crl)
    assert check_files(files, now) == []
    assert abs(crl_validity(crl)[1] - (now + timedelta(days=10))) < timedelta(minutes=10)
    assert any("CRL" in fault and "every peer is refused" in fault for fault in check_files(files, now + timedelta(11)))
    assert any("CRL" in fault and "not valid before" in fault for fault in check_files(files, now - timedelta(1)))
    theirs = stranger.revocation_list(tmp_path / "theirs.crl", "20200101000000Z", "20200102000000Z")
    crl.write_text(crl.read_text() + theirs.read_text())
    assert crl_validity(crl)[1] == datetime(2020, 1, 2, tzinfo=UTC)
    stranger.revocation_list(theirs)
    crl.write_text(crl.read_text() + theirs.read_text())
    assert check_files(files, now) == []
    for text, said in (("", "no certificate revocation list"), (authority.ca.read_text(), "no certificate revocation")):
        crl.write_text(text)
        assert any(said in fault for fault in check_files(files, now))
    crl.unlink()
    assert any("No such file" in fault for fault in check_files(files, now))


def test_files_in_order_have_no_faults(authority: Authority) -> None:
    """Files that work are not complained about, and their expiry is what openssl made."""
    files = authority.issue("server", days=10)
    now = datetime.now(UTC)
    assert check_files(files, now) == []
    assert abs(validity(files.certificate)[1] - (now + timedelta(days=10))) < timedelta(minutes=10)


def test_each_fault_of_the_files_is_named(tmp_path: Path, authority: Authority) -> None:
    """Mismatch, expiry, a clock that is behind, permissions, absence and nonsense are told apart."""
    files, other = authority.issue("server"), authority.issue("other")
    now = datetime.now(UTC)
    open_key = TlsFiles(files.certificate, tmp_path / "open.key", files.ca)
    open_key.key.write_bytes(files.key.read_bytes())
    open_key.key.chmod(0o644)
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("no certificate")
    encrypted = tmp_path / "encrypted.key"
    openssl("rsa", "-aes128", "-passout", "pass:secret", "-in", files.key, "-out", encrypted)
    for fault, found in {
        "do not belong together": check_files(TlsFiles(files.certificate, other.key, files.ca), now),
        "expired on": check_files(files, now + timedelta(days=11)),
        "not valid before": check_files(files, now - timedelta(days=1)),
        "open to other users": check_files(open_key, now),
        "No such file": check_files(TlsFiles(files.certificate, tmp_path / "absent", files.ca), now),
        "expected certificates in PEM": check_files(TlsFiles(files.certificate, files.key, nonsense), now),
        "the key unencrypted": check_files(TlsFiles(files.certificate, encrypted, files.ca), now),
    }.items():
        assert any(fault in sentence for sentence in found), (fault, found)
    with pytest.raises(TlsFault):
        server_context(TlsFiles(nonsense, files.key, files.ca))


def test_port_that_nobody_listens_on_is_unreachable(authority: Authority) -> None:
    """A destination that is down is a value, with the reason."""
    context = partial(client_context, authority.issue("client"))
    sender = Sender("HILUM", Destination("PACS", "127.0.0.1", free_port(), context))
    assert sender.echo().comment == "connection failed: Connection refused"
