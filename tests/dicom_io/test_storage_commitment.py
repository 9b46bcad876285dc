"""Storage commitment in both roles: against Orthanc, and against a PACS that reports on the same association."""

import contextlib
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import DigitalXRayImageStorageForPresentation as DX
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid
from pynetdicom import AE, build_role, evt
from pynetdicom.sop_class import StorageCommitmentPushModel

from dicom_io.network.errors import InvalidRequest, NoSuchEventType, NotAuthorized
from dicom_io.network.statuses import Status
from dicom_io.services.storage_commitment import (
    ALL_COMMITTED,
    FAILURES_EXIST,
    WELL_KNOWN_INSTANCE,
    CommitReport,
    CommitRequest,
    Reference,
    action_information,
    event_information,
    read_report,
    read_request,
)
from dicom_io.services.store_scp import Callbacks
from dicom_io.services.store_scu import Destination, Sender
from tests.conftest import require, wait_for
from tests.support.commit_messages import N_ACTION_RQ, Message, encoded, exchange
from tests.support.commit_messages import message as commit_message
from tests.support.peers import Recorder, dcmsend, dx_file, free_port, orthanc, running_scp, sender_to, storescp
from tests.support.raw_peer import VERIFICATION

HELD = Reference(DX, "1.2.3")
LACKING = Reference(DX, "1.2.4")
REPORT = CommitReport("1.2.9", (HELD,), ((LACKING, int(Status.NO_SUCH_OBJECT_INSTANCE)),))


# --- what the messages say ---------------------------------------------------------------------------------------


def test_report_and_request_are_read_as_written() -> None:
    """PS3.4 Tables J.3-1 and J.3-2, both ways."""
    assert read_report(FAILURES_EXIST, event_information(REPORT)) == REPORT
    request = read_request(action_information("1.2.9", [HELD, LACKING]), "AET", "127.0.0.1")
    assert request == CommitRequest("1.2.9", (HELD, LACKING), "AET", "127.0.0.1")


def test_empty_sequences_are_left_out() -> None:
    """Referenced SOP Sequence and Failed SOP Sequence are of type 1C."""
    assert "FailedSOPSequence" not in event_information(CommitReport("1.2.9", (HELD,), ()))
    assert "ReferencedSOPSequence" not in event_information(CommitReport("1.2.9", (), ((LACKING, 0x0112),)))


@pytest.mark.parametrize("keyword", ["TransactionUID", "ReferencedSOPSequence"])
def test_request_without_what_it_is_about_is_unusable(keyword: str) -> None:
    """A request that names no transaction or no object is refused."""
    information = action_information("1.2.9", [HELD])
    delattr(information, keyword)
    with pytest.raises(InvalidRequest):
        read_request(information, "AET", "127.0.0.1")


def test_unknown_event_is_refused() -> None:
    """There are two event types."""
    with pytest.raises(NoSuchEventType):
        read_report(3, event_information(REPORT))


# --- we ask ------------------------------------------------------------------------------------------------------


def test_orthanc_commits_what_it_holds_and_says_what_it_lacks(tmp_path: Path) -> None:
    """Orthanc's report comes on an association that it opens to our SCP, with 0112 for what it does not have."""
    require("Orthanc", "dcmsend")
    recorder = Recorder()
    incoming = tmp_path / "incoming"
    incoming.mkdir()
    with running_scp(recorder, incoming) as scp, orthanc(tmp_path / "orthanc", scp.port) as peer:
        stored = dx_file(tmp_path / "a.dcm")
        uid = peer.get("/instances", data=stored.read_bytes())["ID"]
        instance = peer.get(f"/instances/{uid}/simplified-tags")["SOPInstanceUID"]
        sender = Sender("HILUM", Destination("ORTHANC", "127.0.0.1", peer.port, storage_commitment=True))
        transaction = generate_uid()
        asked = sender.request_commitment(transaction, [Reference(DX, instance), LACKING])
        assert (asked.outcome, asked.status) == ("ACCEPTED", 0)
        sender.close()
        report = wait_for(lambda: recorder.reports and recorder.reports[0], what="Orthanc's report")
        assert report == CommitReport(transaction, (Reference(DX, instance),), ((LACKING, 0x0112),))


@contextlib.contextmanager
def pacs_that_reports_at_once(syntax: str = ExplicitVRLittleEndian) -> Iterator[int]:
    """A PACS that answers an N-ACTION by Success and reports on the same association, a little later."""

    def on_action(event: evt.Event) -> tuple[int, None]:
        information = event.action_information
        information_out = Dataset()
        information_out.TransactionUID = information.TransactionUID
        information_out.ReferencedSOPSequence = information.ReferencedSOPSequence
        arguments = (information_out, ALL_COMMITTED, StorageCommitmentPushModel, WELL_KNOWN_INSTANCE)
        threading.Timer(0.2, lambda: event.assoc.send_n_event_report(*arguments)).start()
        return 0x0000, None

    ae = AE("PACS")
    ae.add_supported_context(StorageCommitmentPushModel, [syntax])
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_N_ACTION, on_action)])
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian], ids=["explicit", "implicit"])
def test_report_on_the_same_association(tmp_path: Path, syntax: str) -> None:
    """A report that comes on our own association is read while we attend to it, and is answered."""
    reports: list[CommitReport] = []
    with pacs_that_reports_at_once(syntax) as port:
        to = Destination("PACS", "127.0.0.1", port, storage_commitment=True)
        sender = Sender("HILUM", to, on_commit_report=reports.append)
        assert sender.request_commitment("1.2.9", [HELD]).outcome == "ACCEPTED"

        def attended() -> bool:
            sender.attend(0.1)
            return bool(reports)

        wait_for(attended, 10, "the report")
        assert reports == [CommitReport("1.2.9", (HELD,), ())]
        assert sender.is_open
        sender.close()


def test_report_from_a_pacs_that_takes_the_scp_role(tmp_path: Path) -> None:
    """PS3.4 J.3.3: a PACS that reports on a new association proposes the SCP role for itself, and we accept that."""
    recorder = Recorder()
    with running_scp(recorder, tmp_path) as scp:
        ae = AE("PACS")
        ae.add_requested_context(StorageCommitmentPushModel, [ExplicitVRLittleEndian])
        role = build_role(StorageCommitmentPushModel, scp_role=True)
        assoc = ae.associate("127.0.0.1", scp.port, ae_title="HILUM", ext_neg=[role])
        assert assoc.accepted_contexts[0].as_scp
        assoc.release()
        sent = Sender("PACS", Destination("HILUM", "127.0.0.1", scp.port)).report_commitment(REPORT)
    assert sent.status == Status.SUCCESS
    assert recorder.reports == [REPORT]


def test_peer_without_storage_commitment_refuses(tmp_path: Path) -> None:
    """A PACS that does not take the SOP class is no trouble of the line: refused, 0122."""
    require("storescp")
    with storescp(tmp_path / "pacs") as peer:
        sender = Sender("HILUM", Destination("PACS", "127.0.0.1", peer.port, storage_commitment=True))
        sent = sender.request_commitment("1.2.9", [HELD])
        sender.close()
    assert (sent.outcome, sent.status) == ("REFUSED", Status.SOP_CLASS_NOT_SUPPORTED)


# --- we are asked ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failed", "status"), [((), "Success"), (((LACKING, 0x0112),), "Failure")], ids=["committed", "failed"]
)
def test_orthanc_asks_us_and_gets_our_report(
    tmp_path: Path, failed: tuple[tuple[Reference, int], ...], status: str
) -> None:
    """Orthanc's request reaches the daemon; the daemon's report, sent later, is what Orthanc then says."""
    require("Orthanc")
    recorder = Recorder()
    with running_scp(recorder, tmp_path) as scp, orthanc(tmp_path / "orthanc", scp.port) as peer:
        body = {"DicomInstances": [{"SOPClassUID": DX, "SOPInstanceUID": uid} for uid in ("1.2.3", "1.2.4")]}
        asked = peer.get("/modalities/hilum/storage-commitment", body)["ID"]
        request = wait_for(lambda: recorder.requests and recorder.requests[0], what="Orthanc's request")
        assert request == CommitRequest(asked, (HELD, LACKING), "ORTHANC", "127.0.0.1")
        assert peer.get(f"/storage-commitment/{asked}")["Status"] == "Pending"
        sender = Sender("HILUM", Destination("ORTHANC", "127.0.0.1", peer.port))
        committed = (HELD,) if failed else (HELD, LACKING)
        assert sender.report_commitment(CommitReport(asked, committed, failed)).outcome == "ACCEPTED"
        said = peer.get(f"/storage-commitment/{asked}")
        assert said["Status"] == status
        assert [item["SOPInstanceUID"] for item in said.get("Failures", [])] == [r.sop_instance_uid for r, _ in failed]


def test_request_is_refused_where_the_daemon_refuses_it(tmp_path: Path) -> None:
    """Not offered, unusable and unknown requests get their own statuses, on an association that stays."""

    def refuse(request: CommitRequest) -> None:
        raise NotAuthorized("not for this peer")

    recorder = Recorder()
    recorder.callbacks = lambda: Callbacks(recorder.on_store, on_commit_request=refuse)  # type: ignore[method-assign]
    with running_scp(recorder, tmp_path) as scp:
        # not pynetdicom's requestor: its two threads now and then take each other's messages
        sender = sender_to(scp, storage_commitment=True)
        sender.echo()
        assoc = sender._assoc
        assert assoc
        good, empty = action_information("1.2.9", [HELD]), action_information("1.2.9", [])
        answers = [
            assoc.send_n_action(information, action, StorageCommitmentPushModel, WELL_KNOWN_INSTANCE)[0]
            for information, action in ((good, 1), (empty, 1), (good, 2))
        ]
        sender.close()
    assert [answer.Status for answer in answers] == [0x0124, 0x0115, 0x0123]
    assert answers[0].ErrorComment == "not for this peer"


def hostile_requests() -> dict[str, tuple[dict[int, bytes], bytes]]:
    """By what is wrong with it: another command set than the standard's, and a data set in Implicit VR."""
    made = commit_message(random.Random(1), N_ACTION_RQ)
    head, end = bytes.fromhex("08009911ffffffff"), bytes.fromhex("feff00e0ffffffff")
    bad_item = Dataset()
    bad_item.TransactionUID = "1.2.9"
    long_uid = encoded(action_information("1.2.9", [Reference(DX, "1" * 70_000)]), ImplicitVRLittleEndian)
    two_uids = encoded(action_information("1.2.9\\1.2.10", [HELD]), ImplicitVRLittleEndian)
    return {
        "nested without an end": (made.fields, (head + end) * 1500),
        "cut before an item": (made.fields, bytes.fromhex("08009911ffffffff0800501102000000") + b"1\0"),
        "an object's UID of 70 000 bytes": (made.fields, long_uid),
        "two transactions": (made.fields, two_uids),
        "no references": (made.fields, encoded(bad_item, ImplicitVRLittleEndian)),
    }


@pytest.mark.parametrize("name", hostile_requests())
def test_a_request_that_cannot_be_read_is_answered_0115(tmp_path: Path, name: str) -> None:
    """It is the peer's fault: Invalid Argument Value, nothing reaches the daemon, no failure of ours is on record."""
    fields, data = hostile_requests()[name]
    recorder = Recorder()
    with running_scp(recorder, tmp_path) as scp:
        assert exchange(scp.port, Message(fields, data, ImplicitVRLittleEndian)) == "0115"
    assert recorder.requests == []
    assert recorder.kinds == []


@pytest.mark.parametrize(
    ("wrong", "rule"),
    [
        ({0x1001: None}, "N-ACTION without what PS3.7 demands of it"),
        ({0x0110: None}, "N-ACTION without what PS3.7 demands of it"),
        ({0x0100: b"\x10\x01", 0x1008: None}, "N-GET that its SOP class does not have"),
        ({0x0003: VERIFICATION + b"\0"}, "N-ACTION of another SOP class than that of its presentation context"),
        ({0x0100: b"\x30\x81", 0x0120: b"\1\0", 0x0900: b"\0\0"}, "N-ACTION response that nobody waits for"),
    ],
    ids=["no instance", "no message id", "n-get", "another class", "response"],
)
def test_what_is_no_request_aborts_and_is_on_record(tmp_path: Path, wrong: dict[int, bytes | None], rule: str) -> None:
    """A message that cannot be answered ends the association, and the security event says what was wrong with it."""
    made = commit_message(random.Random(1), N_ACTION_RQ)
    fields = {n: value for n, value in {**made.fields, **wrong}.items() if value is not None}
    recorder = Recorder()
    with running_scp(recorder, tmp_path) as scp:
        assert exchange(scp.port, Message(fields, made.data, made.syntax)) == "aborted"
        wait_for(lambda: recorder.events, what="the event")
    assert [(kind, detail["error"]) for kind, detail in recorder.events] == [("protocol-violation", rule)]


def test_report_that_nobody_takes_is_unreachable() -> None:
    """A peer that is down gets its report later."""
    sender = Sender("HILUM", Destination("MODALITY", "127.0.0.1", free_port()))
    assert sender.report_commitment(REPORT).outcome == "UNREACHABLE"


def test_storing_goes_on_beside_commitment(tmp_path: Path) -> None:
    """An association with both classes serves both."""
    require("dcmsend")
    recorder = Recorder()
    with running_scp(recorder, tmp_path) as scp:
        sender = sender_to(scp, storage_commitment=True)
        assert sender.send(DX, "1.2.3", ExplicitVRLittleEndian, b"\0" * 8).outcome == "ACCEPTED"
        assert sender.request_commitment("1.2.9", [HELD]).outcome == "ACCEPTED"
        sender.close()
        assert dcmsend(scp, dx_file(tmp_path / "a.dcm")).returncode == 0
    assert [len(recorder.arrived), len(recorder.requests)] == [2, 1]
