"""An association is opened, or rejected with a reason, whatever stands in the fields that decide nothing."""

import contextlib
import random
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from struct import pack

import pytest
from pydicom.uid import DigitalXRayImageStorageForPresentation as DX

from dicom_io.network import negotiation
from dicom_io.network.admission import Peer
from dicom_io.network.errors import ProtocolError
from dicom_io.network.negotiation import NO_UID, Titles
from dicom_io.services.store_scp import StoreScp
from dicom_io.services.store_scu import Destination, Sender
from tests.conftest import require, wait_for
from tests.support.peers import Recorder, dcmsend, dx_file, running_scp
from tests.support.raw_peer import (
    ABORTED,
    ACCEPTED,
    EXPLICIT,
    IMPLICIT,
    REJECTED,
    VERIFICATION,
    acceptance,
    answer,
    item,
    proposal,
    read_pdu,
    request,
    results,
    said,
    user_information,
)

recorder = Recorder()


@pytest.fixture(scope="module")
def scp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreScp]:
    with running_scp(recorder, tmp_path_factory.mktemp("incoming")) as running:
        yield running


@pytest.fixture(autouse=True)
def no_events() -> None:
    recorder.events.clear()


def the_event() -> tuple[str, dict[str, str]]:
    wait_for(lambda: recorder.events, 5, "the event")
    return recorder.events[0]


# --- as acceptor: what decides nothing --------------------------------------------------------------------------------

ROLE = pack(">H", len(VERIFICATION)) + VERIFICATION
ACCEPTABLE = {
    "version name of 21 characters": {"user": user_information(item(0x55, b"VENDOR_PACS_2026.1.12"))},
    "version name of 60000 characters": {"user": user_information(item(0x55, b"V" * 60000))},
    "empty version name": {"user": user_information(item(0x55, b""))},
    "version name with NUL": {"user": user_information(item(0x55, b"VENDOR\0\0\0"))},
    "version name not of ASCII": {"user": user_information(item(0x55, "Gerät 1".encode()))},
    "version name with control characters": {"user": user_information(item(0x55, b"A\\B\r\n"))},
    "two version names": {"user": user_information(item(0x55, b"A"), item(0x55, b"B"))},
    "class UID padded with NUL": {"user": user_information(implementation=b"2.25.1\0")},
    "class UID that is none": {"user": user_information(implementation=b"VENDOR" * 20)},
    "empty class UID": {"user": user_information(implementation=b"")},
    "no class UID": {"user": item(0x50, item(0x51, pack(">L", 16384)))},
    "empty user information": {"user": item(0x50, b"")},
    "no user information": {"user": b""},
    "maximum length of two bytes": {"user": user_information(maximum=b"\x40\0")},
    "any maximum length": {"user": user_information(maximum=bytes(4))},
    "unknown sub-items": {"user": user_information(item(0x5F, b"vendor"), item(0xFE, b""), item(0x00, b"x"))},
    "operations window of one byte": {"user": user_information(item(0x53, b"\0"))},
    "many operations": {"user": user_information(item(0x53, pack(">HH", 0, 0)))},
    "role selection cut short": {"user": user_information(item(0x54, b"\0\x40" + VERIFICATION))},
    "role selection without roles": {"user": user_information(item(0x54, ROLE))},
    "roles that are neither 0 nor 1": {"user": user_information(item(0x54, ROLE + b"\7\7"))},
    "empty extended negotiation": {"user": user_information(item(0x56, b""))},
    "extended negotiation with a wrong length": {"user": user_information(item(0x56, b"\xff\xff1.2"))},
    "common extended negotiation with a wrong length": {"user": user_information(item(0x57, b"\0\x09\0"))},
    "user identity by name": {"user": user_information(item(0x58, b"\1\1" + pack(">H", 4) + b"user\0\0"))},
    "user identity of an unknown type": {"user": user_information(item(0x58, b"\x63\1\xff\xff"))},
    "NUL after the last item": {"user": user_information() + b"\0\0\0"},
    "called AE title ended by NUL": {"called": b"HILUM\0"},
    "called AE title ended by NUL, then what was there before": {"called": b"HILUM\0LD_NAME"},
    "called AE title padded with NUL": {"called": b"HILUM".ljust(16, b"\0")},
    "called AE title with spaces before it": {"called": b"     HILUM"},
    "called AE title in lower case": {"called": b"hilum"},
    "calling AE title padded with NUL": {"calling": b"MODALITY".ljust(16, b"\0")},
    "calling AE title not of ASCII": {"calling": "RÖNTGEN".encode("latin-1")},
    "calling AE title with a control character": {"calling": b"MOD\x01ALITY\r\n"},
    "UIDs padded": {"contexts": proposal(1, VERIFICATION + b"\0", (IMPLICIT + b" ",))},
    "a context twice": {"contexts": proposal() * 2},
    "other version bits set": {"version": 3},
}  # fmt: skip


@pytest.mark.parametrize("name", ACCEPTABLE)
def test_what_decides_nothing_keeps_nobody_out(scp: StoreScp, name: str) -> None:
    """Names that identify, sub-items that we do not know, and padding are no reason to refuse an association."""
    kind, content = said(scp.port, request(**ACCEPTABLE[name]))  # type: ignore[arg-type]
    assert kind == ACCEPTED
    assert dict(results(content)) == {1: 0}


def test_each_context_gets_its_answer(scp: StoreScp) -> None:
    """A context with a name that is no UID, or without a transfer syntax, is rejected and leaves the others alone."""
    contexts = proposal(1, b"VENDOR CLASS") + proposal(3, syntaxes=()) + proposal(5) + proposal(7, DX.encode(), (b"x",))
    kind, content = said(scp.port, request(contexts=contexts + item(0x20, b"\x09\0\0\0") + item(0x2F, b"vendor")))
    assert kind == ACCEPTED
    assert dict(results(content)) == {1: 3, 3: 4, 5: 0, 7: 4, 9: 3}  # PS3.8 Table 9-18


def test_the_list_of_peers_is_read_without_regard_to_case(tmp_path: Path) -> None:
    """A peer that is listed as MODALITY and calls itself modality, padded with NUL, is known as MODALITY."""
    require("dcmsend")
    known = Recorder()
    with running_scp(known, tmp_path, [Peer("MODALITY", "127.0.0.1"), Peer("Dcmsend", "127.0.0.1")]) as listed:
        assert said(listed.port, request(calling=b"modality".ljust(16, b"\0")))[0] == ACCEPTED
        assert said(listed.port, request(calling=b"modality2"))[0] == REJECTED
        assert dcmsend(listed, dx_file(tmp_path / "a.dcm")).returncode == 0
        assert known.arrived[0].calling_ae_title == "Dcmsend"


# --- as acceptor: what is refused, and who it was --------------------------------------------------------------------

RANDOM_PDU = random.Random(7).randbytes(200)
UNREADABLE = {
    "Maximum Length Received 6": request(user=user_information(maximum=pack(">L", 6))),
    "no Presentation Context Item with an odd ID": request(contexts=b""),
    "item 20H longer than its A-ASSOCIATE-RQ": request(contexts=proposal()[:-1], user=b""),
    "item 40H longer than its Presentation Context Item": request(
        contexts=item(0x20, bytes([1, 0, 0, 0]) + item(0x30, VERIFICATION) + pack(">BBH", 0x40, 0, 99) + b"1.2")
    ),
    "User Information Item cut short": request(user=user_information(b"\x55\0")),
    "item 55H longer than its User Information Item": request(user=user_information(pack(">BBH", 0x55, 0, 99) + b"A")),
    "Protocol Version 2, expected 1": request(version=2),
}  # fmt: skip


@pytest.mark.parametrize("field", UNREADABLE)
def test_who_sent_a_request_that_cannot_be_read_is_named(scp: StoreScp, field: str) -> None:
    """It is rejected, not aborted, and the event names both AE titles, the address, and the field."""
    kind, content = said(scp.port, UNREADABLE[field])
    assert (kind, content[1:3]) == (REJECTED, b"\1\2")
    titles = {"calling_ae_title": "MODALITY", "called_ae_title": "HILUM", "peer_address": "127.0.0.1"}
    assert the_event() == ("protocol-violation", {**titles, "error": field})


@pytest.mark.parametrize(
    ("titles", "reason", "kind", "named"),
    [
        ({"called": b"OTHER\0\0\0"}, 7, "called-ae-title-not-recognised", ("MODALITY", "OTHER")),
        ({"called": bytes(16)}, 7, "called-ae-title-not-recognised", ("MODALITY", "")),
        ({"called": b"HI\\LUM"}, 7, "called-ae-title-not-recognised", ("MODALITY", "HI?LUM")),
        ({"calling": bytes(16)}, 3, "peer-not-listed", ("", "HILUM")),
        ({"calling": b" " * 16}, 3, "peer-not-listed", ("", "HILUM")),
    ],
)
def test_a_rejection_names_both_ae_titles(
    scp: StoreScp, titles: dict[str, bytes], reason: int, kind: str, named: tuple[str, str]
) -> None:
    """An AE title that is empty or wrong is rejected with its reason (PS3.8 Table 9-21) and stands in the event."""
    assert said(scp.port, request(**titles)) == (REJECTED, bytes([0, 1, 1, reason]))  # type: ignore[arg-type]
    found, detail = the_event()
    assert (found, detail["calling_ae_title"], detail["called_ae_title"]) == (kind, *named)


def test_an_abort_names_both_ae_titles(scp: StoreScp) -> None:
    """So does the event of an association that was open, and of a request that is too long to be read."""
    with socket.create_connection(("127.0.0.1", scp.port), 20) as peer:
        peer.sendall(request())
        assert read_pdu(peer)[0] == ACCEPTED
        peer.sendall(request(calling=b"ANOTHER"))
        assert read_pdu(peer)[0] == ABORTED
    _, detail = the_event()
    assert (detail["calling_ae_title"], detail["error"]) == ("MODALITY", "a second A-ASSOCIATE-RQ")
    recorder.events.clear()
    long = request()
    assert said(scp.port, long[:2] + pack(">L", 300_000) + long[6:])[0] == ABORTED
    _, detail = the_event()
    assert (detail["calling_ae_title"], detail["called_ae_title"]) == ("MODALITY", "HILUM")
    assert "300000 bytes" in detail["error"]


def test_no_request_makes_pynetdicom_fail(scp: StoreScp) -> None:
    """Of requests with bytes changed at random, each is accepted, or ends with an event that names the fault."""
    chance = random.Random(3)
    whole = request(user=user_information(*(item(kind, RANDOM_PDU[:30]) for kind in range(0x53, 0x5A))))
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(chance.randint(1, 6)):
            data[chance.randrange(8, len(data))] = chance.choice([0, 1, 0x20, 0x50, 0x7F, 0xFF, chance.randrange(256)])
        recorder.events.clear()
        kind, _ = said(scp.port, bytes(data))
        assert kind in (ACCEPTED, REJECTED)
        if kind == REJECTED:
            assert "cannot be handled" not in the_event()[1].get("error", "")


def test_titles_are_read_of_any_bytes() -> None:
    """Nothing that a peer sends as AE titles raises, or reaches a log as it stands."""
    assert negotiation.ae_titles(b"\1\0") == Titles()
    assert negotiation.ae_titles(request(b"A\x1b[31mB", "É".encode())) == Titles(calling="??", called="A?[31mB")


# --- as requestor ----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def acceptor(reply: bytes) -> Iterator[tuple[Sender, list[tuple[int, bytes]]]]:
    """A PACS that answers an association request with `reply`; what comes after it is kept."""
    came: list[tuple[int, bytes]] = []

    def serve(server: socket.socket) -> None:
        with contextlib.suppress(OSError), server.accept()[0] as connection:
            connection.settimeout(20)
            read_pdu(connection)
            connection.sendall(reply)
            while (pdu := read_pdu(connection))[0]:
                came.append(pdu)
                if pdu[0] == 5:
                    connection.sendall(pack(">BBLL", 6, 0, 4, 0))

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, args=[server])
        thread.start()
        port = server.getsockname()[1]
        try:
            yield Sender("HILUM", Destination("PACS", "127.0.0.1", port), timeout_seconds=1.0), came
        finally:
            server.close()
            thread.join()


USUAL = b"PACS".ljust(16) + b"HILUM".ljust(16)
ANSWERS = {
    "version name of 23 characters": (USUAL, acceptance(1), user_information(item(0x55, b"PACS_SERVER_2026.1.12.3"))),
    "AE titles of NUL": (bytes(32), acceptance(1), user_information()),
    "AE titles of spaces": (b" " * 32, acceptance(1), user_information()),
    "AE titles not of ASCII": (b"\xff" * 32, acceptance(1), user_information()),
    "sub-items nobody asked for": (
        USUAL, acceptance(1), user_information(item(0x59, b"\0\0"), item(0x54, ROLE + b"\0\1"), item(0x60, b"x"))
    ),
    "no user information": (USUAL, acceptance(1), b""),
    "class UID that is none": (USUAL, acceptance(1), user_information(implementation=b"1.2.0276.PACS ")),
    "contexts nobody proposed": (
        USUAL, acceptance(2) + acceptance(99) + acceptance(1) + acceptance(1, 3), user_information()
    ),
    "transfer syntax padded": (USUAL, acceptance(1, 0, IMPLICIT + b"\0"), user_information()),
}  # fmt: skip


@pytest.mark.parametrize("name", ANSWERS)
def test_what_decides_nothing_breaks_no_destination(name: str) -> None:
    """The association is used: C-ECHO goes out on it."""
    with acceptor(answer(*ANSWERS[name])) as (sender, came):
        assert "protocol" not in sender.echo().comment
    assert came[0][0] == 4  # P-DATA-TF


@pytest.mark.parametrize(
    "context", [acceptance(1, 0, EXPLICIT), acceptance(1, 0, None), acceptance(1, 9), acceptance(1, 3, b""), b""]
)
def test_a_context_counts_only_as_it_was_proposed(context: bytes) -> None:
    """One that is accepted with another transfer syntax, rejected in any way, or missing is not used."""
    with acceptor(answer(USUAL, context, user_information())) as (sender, came):
        assert sender.echo().comment == "the peer accepts none of our presentation contexts"
    assert all(kind != 4 for kind, _ in came)


@pytest.mark.parametrize("codes", [b"\1\1\3", b"\2\3\2", b"\1\1\x09", b"\5\7\0", b"\0\0\0"])
def test_a_rejection_with_any_code_is_one(codes: bytes) -> None:
    """Codes that the standard does not have reject as well."""
    with acceptor(pack(">BBLB", 3, 0, 4, 0) + codes) as (sender, _):
        assert sender.echo().comment.startswith("association rejected: ")


@pytest.mark.parametrize("codes", [b"\0\0", b"\2\6", b"\2\3", b"\7\x63"])
def test_an_abort_with_any_code_is_one(codes: bytes) -> None:
    """So do codes of A-ABORT."""
    with acceptor(pack(">BBLBB", 7, 0, 4, 0, 0) + codes) as (sender, _):
        assert sender.echo().comment == "association aborted by the peer"


def test_an_answer_that_cannot_be_read_names_the_field() -> None:
    """The destination's entry says what was wrong with its answer, and the connection is closed."""
    began = time.monotonic()
    with acceptor(answer(USUAL, acceptance(1)[:-2], b"")) as (sender, _):
        assert sender.echo().comment == "the peer broke the protocol: item 21H longer than its A-ASSOCIAT"
    assert time.monotonic() - began < 10  # the acceptor gives up after 20 s
    with pytest.raises(ProtocolError):
        negotiation.reduced_acceptance(b"\2\0\0\0\0\0", {}, ())


def test_syntaxes_that_we_do_not_read_cost_nothing() -> None:
    """Of 128 contexts with 60 syntaxes each, one syntax each is left: the sender's first that we offer."""
    names = tuple(b"1.2.840.10008.1.2.4.%d" % number for number in range(58))
    contexts = b"".join(proposal(2 * n + 1, DX.encode(), (*names, EXPLICIT, IMPLICIT)) for n in range(127))
    contexts += proposal(255, VERIFICATION, (*names, EXPLICIT))
    offered = {DX.encode(): {IMPLICIT, EXPLICIT}, VERIFICATION: {IMPLICIT}}
    reduced = negotiation.reduced_request(request(contexts=contexts), offered)
    left = b"".join(proposal(2 * n + 1, DX.encode(), (EXPLICIT,)) for n in range(127))
    assert reduced == request(contexts=left + proposal(255, syntaxes=(NO_UID,)), user=user_information())
