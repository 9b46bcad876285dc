"""Storage commitment through the whole daemon, in both roles: Orthanc, and a PACS that answers as it likes."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.uid import DigitalXRayImageStorageForPresentation as DX
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.sop_class import Comprehensive3DSRStorage, StorageCommitmentPushModel, Verification

from config.settings import load
from daemon.delivery import commitment
from dicom_io.network.errors import NotAuthorized
from dicom_io.services.storage_commitment import (
    ALL_COMMITTED,
    WELL_KNOWN_INSTANCE,
    CommitReport,
    CommitRequest,
    Reference,
    event_information,
    read_request,
)
from dicom_io.services.store_scu import Destination, Sender
from tests.conftest import require, wait_for
from tests.support.harness import Daemon, sink
from tests.support.peers import dx_file, free_port, orthanc, run


def radiograph(path: Path) -> Path:
    return dx_file(path, BodyPartExamined="CHEST", ViewPosition="PA")


def send(daemon: Daemon, file: Path) -> None:
    assert run("dcmsend", "-aec", "HILUM", "127.0.0.1", str(daemon.port), file).returncode == 0


def states(daemon: Daemon) -> list[str]:
    return [row["state"] for row in daemon.studies()]


def test_orthanc_commits_for_us_and_we_for_orthanc(tmp_path: Path, untrained: dict[str, str]) -> None:
    """Our report is COMMITTED by Orthanc; Orthanc hears that we have its radiograph, and not what it never sent.

    Nor a radiograph whose file was altered since.
    """
    require("Orthanc", "dcmsend")
    port = free_port()
    with orthanc(tmp_path / "orthanc", port) as peer:
        listed = [{"ae_title": "ORTHANC", "host": "127.0.0.0/8", "port": peer.port}]
        settings = {"HILUM__DICOM__PORT": str(port), "HILUM__DICOM__ACCEPT_ANY_PEER": "false",
                    "HILUM__PEER": json.dumps(listed), **untrained}  # fmt: skip
        pacs = sink("pacs", peer.port, ae_title="ORTHANC", storage_commitment=True)
        with Daemon(tmp_path / "hilum", [pacs], **settings) as daemon:
            image = peer.get("/instances", data=radiograph(tmp_path / "a.dcm").read_bytes())["ID"]
            sent = peer.get("/modalities/hilum/store", {"Resources": [image], "StorageCommitment": True})
            asked = sent["StorageCommitmentTransactionUID"]
            wait_for(lambda: peer.get(f"/storage-commitment/{asked}")["Status"] != "Pending", 60, "our answer")
            assert peer.get(f"/storage-commitment/{asked}")["Status"] == "Success"

            body = {"DicomInstances": [{"SOPClassUID": DX, "SOPInstanceUID": "1.2.3.4"}]}
            never = peer.get("/modalities/hilum/storage-commitment", body)["ID"]
            wait_for(lambda: peer.get(f"/storage-commitment/{never}")["Status"] == "Failure", 60, "our refusal")
            (failure,) = peer.get(f"/storage-commitment/{never}")["Failures"]
            assert (failure["SOPInstanceUID"], failure["FailureReason"]) == ("1.2.3.4", 0x0112)

            wait_for(lambda: states(daemon) == ["COMMITTED"], 90, "Orthanc's report")

            (spooled,) = (daemon.directory / "spool/objects").glob("*/*.dcm")
            spooled.write_bytes(spooled.read_bytes()[:-1] + b"?")
            uid = str(dcmread(tmp_path / "a.dcm", stop_before_pixels=True).SOPInstanceUID)
            body = {"DicomInstances": [{"SOPClassUID": DX, "SOPInstanceUID": uid}]}
            again = peer.get("/modalities/hilum/storage-commitment", body)["ID"]
            wait_for(lambda: peer.get(f"/storage-commitment/{again}")["Status"] == "Failure", 60, "our refusal")


@dataclass
class Pacs:
    """A PACS that takes everything and keeps the requests to commit, to be answered as a test likes."""

    port: int = 0
    stored: list[str] = field(default_factory=list)
    asked: list[tuple[str, tuple[Reference, ...]]] = field(default_factory=list)
    at_once: bool = False
    """Report on the association of the request, while it is being answered."""

    def on_store(self, event: evt.Event) -> int:
        self.stored.append(str(event.request.AffectedSOPInstanceUID))
        return 0x0000

    def on_action(self, event: evt.Event) -> tuple[int, None]:
        request = read_request(event.action_information, "HILUM", "")
        self.asked.append((request.transaction_uid, request.references))
        if self.at_once:
            report = event_information(CommitReport(*self.asked[-1], ()))
            arguments = (report, ALL_COMMITTED, StorageCommitmentPushModel, WELL_KNOWN_INSTANCE)
            threading.Timer(0.3, lambda: event.assoc.send_n_event_report(*arguments)).start()
        return 0x0000, None

    def report(self, daemon: Daemon, number: int, failed: int = 0) -> None:
        """Report on an association of our own; `failed`: the reason for all of it."""
        uid, references = self.asked[number]
        report = CommitReport(uid, () if failed else references, tuple((r, failed) for r in references if failed))
        sent = Sender("PACS", Destination("HILUM", "127.0.0.1", daemon.port)).report_commitment(report)
        assert sent.outcome == "ACCEPTED", sent


@pytest.fixture
def pacs() -> Iterator[Pacs]:
    require("dcmsend")
    pacs, ae = Pacs(), AE("PACS")
    for uid in (Comprehensive3DSRStorage, StorageCommitmentPushModel, Verification):
        ae.add_supported_context(uid, [ExplicitVRLittleEndian, "1.2.840.10008.1.2"])
    handlers = [(evt.EVT_C_STORE, pacs.on_store), (evt.EVT_N_ACTION, pacs.on_action)]
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    pacs.port = server.server_address[1]
    yield pacs
    server.shutdown()


def quickly(**more: Any) -> dict[str, str]:
    return {"HILUM__DELIVERY__IDLE_RELEASE_SECONDS": "0.5", **more}


def test_the_report_comes_after_a_restart_and_what_is_lacking_is_sent_again(
    tmp_path: Path, pacs: Pacs, untrained: dict[str, str]
) -> None:
    """0112 makes us send and ask again; we are killed between request and report, which counts all the same."""
    destinations = [sink("pacs", pacs.port, storage_commitment=True)]
    with Daemon(tmp_path / "hilum", destinations, **quickly(**untrained)) as daemon:
        send(daemon, radiograph(tmp_path / "a.dcm"))
        wait_for(lambda: len(pacs.asked) == 1, 90, "the request")
        assert states(daemon) == ["DELIVERED"]
        pacs.report(daemon, 0, failed=0x0112)
        wait_for(lambda: len(pacs.asked) == 2, 60, "the second request")
        assert len(pacs.stored) == 2
        assert len(set(pacs.stored)) == 1
        daemon.kill()
        daemon.start()
        pacs.report(daemon, 1)
        assert states(daemon) == ["COMMITTED"]

        pacs.at_once = True
        send(daemon, radiograph(tmp_path / "b.dcm"))
        wait_for(lambda: states(daemon) == ["COMMITTED"] * 2, 90, "the report on our own association")
        assert len(pacs.asked) == 3


def test_a_pacs_that_never_reports_is_asked_three_times(tmp_path: Path, pacs: Pacs, untrained: dict[str, str]) -> None:
    """Overdue requests are made again under a new Transaction UID, then a person is called."""
    where = {"HILUM__DELIVERY__COMMITMENT_TIMEOUT_SECONDS": "1", **untrained}
    with Daemon(tmp_path / "hilum", [sink("pacs", pacs.port, storage_commitment=True)], **quickly(**where)) as daemon:
        send(daemon, radiograph(tmp_path / "a.dcm"))
        daemon.await_event("commitment given up", 120)
        (row,) = daemon.hilum("quarantine", "list", "--json")
        assert row["reason"] == "pacs does not commit to what it accepted"
        assert len({uid for uid, _ in pacs.asked}) == 3
        assert len(pacs.stored) == 1


def test_a_peer_without_a_port_is_told_so() -> None:
    """Who could never be answered is refused with 0124, not left to wait; nothing is written for it."""
    settings = load(None, {"HILUM__PEER": '[{"ae_title": "MODALITY", "host": ""}]'})
    asked = CommitRequest("1.2.9", (Reference(DX, "1.2.3"),), "MODALITY", "127.0.0.1")
    with pytest.raises(NotAuthorized, match="has a port to report to"):
        commitment.remember(object(), settings, asked)  # type: ignore[arg-type]
