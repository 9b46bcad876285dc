"""The SCP lets in whom it should, hands over what arrived as it arrived, and answers each request."""

import contextlib
import hashlib
import logging
import os
import random
import resource
import socket
import stat
import struct
import threading
import time
from pathlib import Path
from struct import pack

import pydicom
import pytest
from pydicom.uid import DigitalXRayImageStorageForPresentation as DX
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless
from pynetdicom import AE, evt

from dicom_io.network import messages
from dicom_io.network.admission import Limits, Peer, host_matches
from dicom_io.network.errors import ObjectMismatch
from dicom_io.network.statuses import Status
from dicom_io.services.store_request import c_store_rq
from dicom_io.services.store_scp import Answer, Arrived
from dicom_io.services.store_scu import Reply, Sender
from tests.conftest import require, wait_for
from tests.support.peers import Recorder, data_set_bytes, dcmsend, dx_file, run, running_scp, sender_to, small_limits


def context_of(sender: Sender) -> int:
    """The ID of the presentation context that was accepted for DX images."""
    return next(c.context_id for c in sender._assoc.accepted_contexts if c.abstract_syntax == DX)


def pdus(context_id: int, data: bytes, longest: int = 16384) -> list[bytes]:
    """A C-STORE-RQ as PDUs: the command set, then the data set."""
    command = memoryview(c_store_rq(DX, "1.2.3", 7))
    return [
        *messages._pdus(context_id, messages.COMMAND, command, longest),
        *messages._pdus(context_id, 0, memoryview(data), longest),
    ]


def test_echo(tmp_path: Path) -> None:
    """C-ECHO is answered with Success."""
    require("echoscu")
    with running_scp(Recorder(), tmp_path) as scp:
        assert run("echoscu", "-aec", "HILUM", "127.0.0.1", str(scp.port)).returncode == 0


def test_data_set_arrives_byte_for_byte(tmp_path: Path) -> None:
    """The data set's bytes are those of the sender's file, and the file is gone once it was answered for."""
    require("dcmsend")
    incoming = tmp_path / "incoming"
    incoming.mkdir()
    file = dx_file(tmp_path / "a.dcm", 1000, 700)
    recorder = Recorder()
    with running_scp(recorder, incoming) as scp:
        assert dcmsend(scp, file).returncode == 0
        arrived = recorder.arrived[0]
        assert data_set_bytes(recorder.contents[0]) == data_set_bytes(file.read_bytes())
        assert arrived.sop_instance_uid == pydicom.dcmread(file).SOPInstanceUID
        assert arrived.sha256 == hashlib.sha256(recorder.contents[0]).hexdigest()
        assert arrived.calling_ae_title == "DCMSEND"
        assert arrived.peer_address == "127.0.0.1"
        wait_for(lambda: not list(incoming.iterdir()), what="the incoming folder to be empty")


@pytest.mark.parametrize(
    ("status", "said"), [(Status.OUT_OF_RESOURCES, "0xa700"), (Status.CANNOT_UNDERSTAND, "0xc000")]
)
def test_answer_reaches_the_sender(tmp_path: Path, status: Status, said: str) -> None:
    """The callback's status and comment are the response's."""
    require("storescu")

    def refuse(arrived: Arrived) -> Answer:
        return Answer(status, "why it is so " * 10)

    with running_scp(Recorder(refuse), tmp_path) as scp:
        sent = run("storescu", "-d", "-aec", "HILUM", "127.0.0.1", str(scp.port), dx_file(tmp_path / "a.dcm"))
    assert said in sent.stdout.lower()
    assert "why it is so" in sent.stdout


# --- who may come in ---------------------------------------------------------------------------------------------


def test_wrong_called_ae_title_is_rejected(tmp_path: Path) -> None:
    """A peer that calls another AE title is rejected, and that is an event."""
    require("echoscu")
    recorder = Recorder()
    with running_scp(recorder, tmp_path) as scp:
        asked = run("echoscu", "-v", "-aec", "OTHER", "127.0.0.1", str(scp.port))
        assert "Called AE Title Not Recognized" in asked.stdout
        assert wait_for(lambda: recorder.kinds, what="the event") == ["called-ae-title-not-recognised"]


@pytest.mark.parametrize(
    "peer", [Peer("OTHER", "127.0.0.1"), Peer("DCMSEND", "10.0.0.0/8"), Peer("DCMSEND", "192.0.2.7")]
)
def test_peer_that_is_not_listed_is_rejected(tmp_path: Path, peer: Peer) -> None:
    """AE title and address must both be on the list."""
    require("echoscu")
    recorder = Recorder()
    with running_scp(recorder, tmp_path, [peer]) as scp:
        asked = run("echoscu", "-v", "-aet", "DCMSEND", "-aec", "HILUM", "127.0.0.1", str(scp.port))
        assert "Calling AE Title Not Recognized" in asked.stdout
        assert wait_for(lambda: recorder.kinds, what="the event") == ["peer-not-listed"]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.0/8", "localhost", ""])
def test_peer_that_is_listed_may_send(tmp_path: Path, host: str) -> None:
    """A peer is listed by address, network, host name or with any address."""
    require("dcmsend")
    recorder = Recorder()
    with running_scp(recorder, tmp_path, [Peer("X", "10.0.0.1"), Peer("DCMSEND", host)]) as scp:
        assert dcmsend(scp, dx_file(tmp_path / "a.dcm")).returncode == 0
    assert len(recorder.arrived) == 1


def test_address_through_an_ipv6_socket_matches_its_network() -> None:
    """An IPv4 peer is the same peer where we listen on IPv6."""
    assert host_matches("10.1.2.0/24", "::ffff:10.1.2.3")
    assert not host_matches("10.1.2.0/24", "::ffff:10.1.3.3")
    assert not host_matches("no-such-host.invalid", "10.1.2.3")


@pytest.mark.parametrize(
    ("limits", "kind"),
    [
        (Limits(max_associations=3), "too-many-associations"),
        (Limits(max_associations_per_peer=3), "too-many-associations-of-peer"),
    ],
)
def test_associations_are_limited(tmp_path: Path, limits: Limits, kind: str) -> None:
    """The fourth association is rejected as transient; one more may come as soon as one went."""
    recorder = Recorder()
    with running_scp(recorder, tmp_path, limits=limits) as scp:
        senders = [sender_to(scp) for _ in range(4)]
        try:
            assert [sender.echo().outcome for sender in senders] == ["ACCEPTED"] * 3 + ["UNREACHABLE"]
            wait_for(lambda: recorder.kinds == [kind], what="the event")
            senders[0].close()
            wait_for(lambda: senders[3].echo().outcome == "ACCEPTED", what="a place to be free")
        finally:
            for sender in senders:
                sender.close()


def test_nothing_is_taken_while_closed(tmp_path: Path) -> None:
    """While the daemon has no room, an open association gets A700 and a new one is rejected."""
    recorder = Recorder()
    image = pydicom.dcmread(dx_file(tmp_path / "a.dcm"))
    with running_scp(recorder, tmp_path) as scp:
        sender = sender_to(scp)
        assert sender.echo().outcome == "ACCEPTED"
        recorder.closed = Answer(Status.OUT_OF_RESOURCES, "no room")
        sent = sender.send(image.SOPClassUID, image.SOPInstanceUID, ExplicitVRLittleEndian, b"\0" * 1000)
        assert (sent.outcome, sent.status, sent.comment) == ("FAILED", Status.OUT_OF_RESOURCES, "no room")
        sender.close()
        assert "congestion" in sender.echo().comment.lower()
    assert not recorder.arrived


# --- what may come in --------------------------------------------------------------------------------------------


def test_object_over_the_limit_is_refused_and_the_next_one_taken(tmp_path: Path) -> None:
    """An object with more bytes than allowed is answered, leaves no file, and does not end the association."""
    incoming = tmp_path / "incoming"
    incoming.mkdir()
    recorder = Recorder()
    with running_scp(recorder, incoming, limits=Limits(max_object_bytes=100_000)) as scp:
        sender = sender_to(scp)
        large = sender.send(DX, "1.2.3", ExplicitVRLittleEndian, b"\0" * 150_000)
        assert (large.outcome, large.status) == ("REFUSED", Status.OBJECT_TOO_LARGE)
        assert sender.send(DX, "1.2.4", ExplicitVRLittleEndian, b"\0" * 100_000).outcome == "ACCEPTED"
        sender.close()
        wait_for(lambda: not list(incoming.iterdir()), what="the incoming folder to be empty")
    assert [arrived.sop_instance_uid for arrived in recorder.arrived] == ["1.2.4"]


def test_endless_object_ends_the_association(tmp_path: Path) -> None:
    """A sender that continues beyond twice the limit is cut off."""
    recorder = Recorder()
    with running_scp(recorder, tmp_path, limits=Limits(max_object_bytes=100_000)) as scp:
        assert sender_to(scp).send(DX, "1.2.3", ExplicitVRLittleEndian, b"\0" * 5_000_000).outcome == "UNREACHABLE"
        wait_for(lambda: "protocol-violation" in recorder.kinds)
        wait_for(lambda: not list(tmp_path.iterdir()), what="the incoming folder to be empty")


@pytest.mark.parametrize(
    "header", [b"\x01\x00\xff\xff\xff\xff", b"\x04\x00\x7f\xff\xff\xff", b"GET / HTTP/1.1\r\n\r\n"]
)
def test_hostile_first_bytes_are_refused_at_once(tmp_path: Path, header: bytes) -> None:
    """A PDU that claims gigabytes, or no PDU at all, ends the connection before anything is taken in."""
    recorder = Recorder()
    with running_scp(recorder, tmp_path) as scp, socket.create_connection(("127.0.0.1", scp.port), 5) as peer:
        peer.sendall(header)
        peer.shutdown(socket.SHUT_WR)
        assert peer.makefile("rb").read()[:1] in (b"\x07", b"")
        wait_for(lambda: recorder.kinds == ["protocol-violation"])


def test_pdu_longer_than_announced_is_refused(tmp_path: Path) -> None:
    """PS3.8 D.1: a P-DATA-TF longer than the length that we announced ends the association."""
    recorder = Recorder()
    with running_scp(recorder, tmp_path, limits=Limits(max_pdu=16384)) as scp:
        sender = sender_to(scp)
        sender.echo()
        context_id = context_of(sender)
        pieces = pdus(context_id, b"\0" * 16379, longest=20000)
        assert len(pieces[1]) == 6 + 16385
        sender._assoc.dul.socket.socket.sendall(b"".join(pieces))
        wait_for(lambda: "protocol-violation" in recorder.kinds)
        assert "16385 bytes, at most 16384" in recorder.events[0][1]["error"]


def test_other_sop_class_than_the_context_is_0122(tmp_path: Path) -> None:
    """The command set may not name another class than the presentation context it came under."""
    with running_scp(Recorder(), tmp_path) as scp:
        sender = sender_to(scp)
        sender.echo()
        context_id = context_of(sender)
        sent = sender._store(sender._assoc, context_id, "1.2.840.10008.5.1.4.1.1.2", "1.2.3", b"\0" * 8)
        sender.close()
    assert sent is not None
    assert sent.status == Status.SOP_CLASS_NOT_SUPPORTED


def test_exception_of_the_daemon_is_answered_without_its_text(tmp_path: Path) -> None:
    """Any exception of the callback becomes a failure whose comment names only the exception's class."""

    def fail(arrived: Arrived) -> Answer:
        raise KeyError("Marked^Patient")

    recorder = Recorder(fail)
    with running_scp(recorder, tmp_path) as scp:
        sent = sender_to(scp).send(DX, "1.2.3", ExplicitVRLittleEndian, b"\0" * 8)
    assert (sent.status, sent.comment) == (Status.PROCESSING_FAILURE, "internal error: KeyError")
    assert recorder.events == [("request-failed", {"error": "KeyError", "status": "0110"})]


def test_failure_raised_by_the_daemon_keeps_its_status(tmp_path: Path) -> None:
    """A RequestFailure that the callback raises is answered with its own status and text, here A900."""

    def mismatch(arrived: Arrived) -> Answer:
        raise ObjectMismatch("SOP Instance UID of command and data set differ")

    with running_scp(Recorder(mismatch), tmp_path) as scp:
        sent = sender_to(scp).send(DX, "1.2.3", ExplicitVRLittleEndian, b"\0" * 8)
    assert (sent.outcome, sent.status) == ("REFUSED", Status.DATA_SET_DOES_NOT_MATCH)
    assert sent.comment.startswith("SOP Instance UID")


def test_no_directory_for_data_sets_is_a700(tmp_path: Path) -> None:
    """While no file can be made, objects of every size are answered as retryable, and the association lives on."""
    recorder = Recorder()
    with running_scp(recorder, tmp_path / "absent") as scp:
        sender = sender_to(scp)
        for size in (300_000, 40_000_000):
            sent = sender.send(DX, "1.2.3", ExplicitVRLittleEndian, b"\0" * size)
            assert sent.status == Status.OUT_OF_RESOURCES
        assert sender.echo().outcome == "ACCEPTED"
        sender.close()


def test_files_are_for_us_alone(tmp_path: Path) -> None:
    """What arrives is readable by the daemon's user alone, from the first byte on, whatever the umask."""
    modes = []

    def look(arrived: Arrived) -> Answer:
        modes.append(stat.S_IMODE(arrived.path.stat().st_mode))
        return Answer(Status.SUCCESS)

    before = os.umask(0)
    try:
        with running_scp(Recorder(look), tmp_path) as scp:
            sender = sender_to(scp)
            sender.echo()
            sender._assoc.dul.socket.socket.sendall(b"".join(pdus(context_of(sender), b"\0" * 50_000)[:-1]))
            begun = wait_for(lambda: list(tmp_path.iterdir()), what="the object's file")[0]
            assert stat.S_IMODE(begun.stat().st_mode) == 0o600
            sender._assoc.abort()
            assert sender_to(scp).send(DX, "1.2.3", ExplicitVRLittleEndian, b"\0" * 8).outcome == "ACCEPTED"
    finally:
        os.umask(before)
    assert modes == [0o600]


def test_full_disk_in_mid_object_is_a700(tmp_path: Path) -> None:
    """A write that fails after the first fragments is answered as retryable, and leaves no file."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    recorder = Recorder()
    with running_scp(recorder, tmp_path) as scp:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, before[1]))
        try:
            sent = sender_to(scp).send(DX, "1.2.3", ExplicitVRLittleEndian, b"\0" * 1_000_000)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert sent.status == Status.OUT_OF_RESOURCES
        wait_for(lambda: not list(tmp_path.iterdir()), what="the incoming folder to be empty")
    assert not recorder.arrived


def test_request_without_data_set_or_message_id_ends_the_association(tmp_path: Path) -> None:
    """PS3.7 9.3.1.1: a C-STORE request has both. One without ends its association and leaves no file."""
    without_data_set = c_store_rq(DX, "1.2.3", 7).replace(
        pack("<HHLH", 0, 0x0800, 2, 1), pack("<HHLH", 0, 0x0800, 2, 0x0101)
    )
    without_message_id = c_store_rq(DX, "1.2.3", 7).replace(pack("<HHL", 0, 0x0110, 2), pack("<HHL", 0, 0x0111, 2))
    for command, data in ((without_data_set, b""), (without_message_id, b"\0" * 8)):
        recorder = Recorder()
        with running_scp(recorder, tmp_path) as scp:
            sender = sender_to(scp)
            sender.echo()
            sender._assoc.dimse.send_encoded(context_of(sender), command, memoryview(data))
            wait_for(lambda: recorder.kinds == ["protocol-violation"], what="the event")  # noqa: B023
            assert "without class, instance or data set" in recorder.events[0][1]["error"]
            wait_for(lambda: not list(tmp_path.iterdir()), what="the incoming folder to be empty")
        assert not recorder.arrived


def test_the_file_is_the_same_with_every_version(tmp_path: Path) -> None:
    """Two files of the same object are equal whatever is installed: a repeated object is recognised by its digest."""
    recorder = Recorder()
    with running_scp(recorder, tmp_path) as scp:
        sender_to(scp).send(DX, "1.2.3", ExplicitVRLittleEndian, b"\0" * 8)
    assert recorder.arrived[0].sha256 == "b94fe83f99c1a102840993e3a90ae394aa1bbf5eefe0fc0d34e0242db06529fb"


def test_pynetdicom_logs_nothing_of_what_passes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """pynetdicom's own log describes PDUs and messages, patients included; on our associations it does not."""
    caplog.set_level(logging.DEBUG, "pynetdicom")
    with running_scp(Recorder(), tmp_path) as scp:
        assert sender_to(scp).send(DX, "1.2.3.4711", ExplicitVRLittleEndian, b"\0" * 8).outcome == "ACCEPTED"
    assert "1.2.3.4711" not in caplog.text


def test_sender_need_not_transcode(tmp_path: Path) -> None:
    """Of the syntaxes that a sender lists for a class, the first that we read is chosen."""
    with running_scp(Recorder(), tmp_path) as scp:
        for first, second in [(RLELossless, ExplicitVRLittleEndian), (ExplicitVRLittleEndian, RLELossless)]:
            ae = AE("SENDER")
            ae.add_requested_context(DX, [first, second, ImplicitVRLittleEndian])
            assoc = ae.associate("127.0.0.1", scp.port, ae_title="HILUM")
            assert assoc.accepted_contexts[0].transfer_syntax == [first]
            assoc.release()


# --- peers that dawdle, vanish or say nothing --------------------------------------------------------------------


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_silent_and_vanishing_connections_leave_nothing(tmp_path: Path) -> None:
    """Health checks that connect and go, or connect and say nothing, leave neither thread nor descriptor."""
    with running_scp(Recorder(), tmp_path, limits=small_limits()) as scp:
        threads, descriptors = threading.active_count(), open_descriptors()
        for number in range(60):
            with socket.create_connection(("127.0.0.1", scp.port)) as peer:
                if number % 2:
                    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # reset, not closed
        silent = [socket.create_connection(("127.0.0.1", scp.port)) for _ in range(20)]
        assert [peer.recv(1) for peer in silent] == [b""] * 20  # closed by us after association_seconds
        for peer in silent:
            peer.close()
        wait_for(lambda: threading.active_count() == threads and open_descriptors() <= descriptors, what="no leak")


def test_one_address_does_not_hold_the_door(tmp_path: Path) -> None:
    """A host that opens as many silent connections as it can does not keep out a peer at another address."""
    limits = small_limits(max_associations=4, max_associations_per_peer=2, association_seconds=20.0)
    recorder = Recorder()
    with running_scp(recorder, tmp_path, limits=limits) as scp, contextlib.ExitStack() as silent:
        for _ in range(60):
            silent.enter_context(socket.create_connection(("127.0.0.1", scp.port), 5))
        wait_for(lambda: "too-many-connections" in recorder.kinds, what="the first connection that is closed")
        ae = AE("SENDER")
        ae.add_requested_context(DX)
        assoc = ae.associate("127.0.0.1", scp.port, ae_title="HILUM", bind_address=("127.0.0.2", 0))
        assert assoc.is_established
        assoc.release()


def test_half_open_association_is_ended(tmp_path: Path) -> None:
    """A peer that associates and then says nothing is aborted after the idle time."""
    recorder = Recorder()
    with running_scp(recorder, tmp_path, limits=small_limits(idle_seconds=0.5)) as scp:
        sender = sender_to(scp)
        sender.echo()
        wait_for(lambda: recorder.kinds == ["protocol-violation"], 5, "the association to be over")
        assert sender.echo().outcome == "ACCEPTED"  # a new association, of its own accord
        sender.close()


def test_object_that_drips_is_ended(tmp_path: Path) -> None:
    """A sender that keeps the connection busy but does not finish its object is cut off, and its file removed."""
    recorder = Recorder()
    with running_scp(recorder, tmp_path, limits=small_limits(message_seconds=1.0, idle_seconds=30.0)) as scp:
        sender = sender_to(scp)
        sender.echo()
        context_id = context_of(sender)
        connection = sender._assoc.dul.socket.socket
        connection.sendall(pdus(context_id, b"\0")[0])
        wait_for(lambda: list(tmp_path.iterdir()), what="the object's file")

        def drip() -> bool:
            with contextlib.suppress(OSError):
                connection.sendall(struct.pack(">BxLLBB", 4, 7, 3, context_id, 0) + b"\0")
            return scp.open_associations == 0

        wait_for(drip, 10, "the association to be over")
        wait_for(lambda: not list(tmp_path.iterdir()), what="the incoming folder to be empty")
        assert "message took more than 1 s" in recorder.events[0][1]["error"]


def test_pdu_that_drips_is_ended(tmp_path: Path) -> None:
    """A peer that sends a PDU byte by byte is never silent, and is cut off all the same."""
    recorder = Recorder()
    with running_scp(recorder, tmp_path, limits=small_limits(message_seconds=1.0, idle_seconds=30.0)) as scp:
        sender = sender_to(scp)
        sender.echo()
        connection = sender._assoc.dul.socket.socket
        connection.sendall(struct.pack(">BxL", 4, 60_000))

        def drip() -> bool:
            with contextlib.suppress(OSError):
                connection.sendall(b"\0")
            return scp.open_associations == 0

        wait_for(drip, 10, "the association to be over")
        assert "message took more than 1 s" in recorder.events[0][1]["error"]


def test_sender_that_dies_in_mid_object_leaves_no_file(tmp_path: Path) -> None:
    """What was not answered for is not kept."""
    recorder = Recorder()
    with running_scp(recorder, tmp_path) as scp:
        sender = sender_to(scp)
        sender.echo()
        sender._assoc.dul.socket.socket.sendall(b"".join(pdus(context_of(sender), b"\0" * 50_000)[:-1]))
        wait_for(lambda: list(tmp_path.iterdir()), what="the object's file")
        sender._assoc.dul.socket.close()
        wait_for(lambda: not list(tmp_path.iterdir()), what="the incoming folder to be empty")
    assert not recorder.arrived


def test_idle_associations_cost_nothing(tmp_path: Path) -> None:
    """Fifty associations that are kept open burn no CPU on either side."""
    with running_scp(Recorder(), tmp_path, limits=Limits(max_associations_per_peer=50)) as scp:
        senders = [sender_to(scp) for _ in range(50)]
        assert {sender.echo().outcome for sender in senders} == {"ACCEPTED"}
        began, used = time.monotonic(), time.process_time()
        wait_for(lambda: time.monotonic() - began > 1.0)
        assert (time.process_time() - used) / (time.monotonic() - began) < 0.02
        for sender in senders:
            sender.close()


def test_shutdown_finishes_the_object_in_flight(tmp_path: Path) -> None:
    """At a stop, an object that is being taken in is answered; idle associations are ended."""
    began, go_on = threading.Event(), threading.Event()

    def slowly(arrived: Arrived) -> Answer:
        began.set()
        go_on.wait(10)
        return Answer(Status.SUCCESS)

    results: list[Reply] = []
    with running_scp(Recorder(slowly), tmp_path) as scp:
        idle, busy = sender_to(scp), sender_to(scp)
        idle.echo()
        sending = threading.Thread(
            target=lambda: results.append(busy.send(DX, "1.2.3", ExplicitVRLittleEndian, b"\0" * 8))
        )
        sending.start()
        assert began.wait(10)
        stopping = threading.Thread(target=scp.shutdown, args=[10.0])
        stopping.start()
        wait_for(lambda: scp.open_associations == 1, what="the idle association to be ended")
        go_on.set()
        sending.join()
        stopping.join()
        assert results[0].outcome == "ACCEPTED"


# --- hostile peers -----------------------------------------------------------------------------------------------


def conversation(port: int) -> bytes:
    """What a sender says, from its association request to its release, for one small object."""
    said = bytearray()
    ae = AE("SENDER")
    ae.add_requested_context(DX, ExplicitVRLittleEndian)
    handlers = [(evt.EVT_DATA_SENT, lambda event: said.extend(event.data))]
    assoc = ae.associate("127.0.0.1", port, ae_title="HILUM", evt_handlers=handlers)
    said += b"".join(pdus(assoc.accepted_contexts[0].context_id, b"\0" * 5000))
    assoc.release()
    return bytes(said)


def mutated(stream: bytes, chance: random.Random) -> bytes:
    """A few bytes changed, a part cut out or doubled."""
    data = bytearray(stream)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(data))
        match chance.randrange(4):
            case 0 | 1:
                data[at] = chance.choice([0, 1, 0x7F, 0xFF, chance.randrange(256)])
            case 2:
                del data[at : at + chance.randint(1, 40)]
            case _:
                data[at:at] = data[at : at + chance.randint(1, 40)]
    return bytes(data)


def test_mutated_conversations_leave_nothing_and_stop_nobody(tmp_path: Path) -> None:
    """After any bytes sent to the port, the SCP still answers, and no thread, descriptor or file is left of them."""
    chance = random.Random(1)
    with running_scp(Recorder(), tmp_path, limits=small_limits()) as scp:
        stream = conversation(scp.port)
        wait_for(lambda: scp.open_associations == 0)
        threads, descriptors = threading.active_count(), open_descriptors()
        for _ in range(200):
            with socket.create_connection(("127.0.0.1", scp.port), 5) as peer, contextlib.suppress(OSError):
                peer.sendall(mutated(stream, chance))
        wait_for(lambda: threading.active_count() == threads and open_descriptors() <= descriptors, what="no leak")
        assert not list(tmp_path.iterdir())
        assert scp.open_associations == 0
        sender = sender_to(scp)
        assert sender.echo().outcome == "ACCEPTED"
        sender.close()
