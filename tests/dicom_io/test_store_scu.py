"""The SCU sends what it is given over an association that it keeps, and calls each outcome by its name."""

import contextlib
import socket
import statistics
import threading
import time
from collections.abc import Iterator
from dataclasses import astuple
from io import BytesIO
from pathlib import Path
from typing import Literal

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import Comprehensive3DSRStorage, ExplicitVRLittleEndian, JPEGBaseline8Bit, generate_uid

from dicom_io.composite.options import ReportOptions
from dicom_io.network.statuses import Status, outcome_of
from dicom_io.results.secondary_capture import secondary_captures
from dicom_io.services.store_request import as_uncompressed
from dicom_io.services.store_scp import Answer
from dicom_io.services.store_scu import Destination, Sender
from tests.conftest import require, wait_for
from tests.support.peers import (
    RESULT_SOP_CLASSES,
    Recorder,
    data_set_bytes,
    free_port,
    orthanc,
    running_scp,
    sender_to,
    storescp,
)
from tests.support.sample_pages import analysis, seen
from tests.support.sample_results import FOUND


def report(uid: str, text: str = "x" * 1000) -> bytes:
    """Return a data set of about 15 KB with the SOP class of a document and invented content."""
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = Comprehensive3DSRStorage, uid
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
    dataset.PatientID, dataset.PatientName, dataset.Modality = "P-4711", "Marked^Patient", "SR"
    dataset.ContentSequence = [Dataset() for _ in range(14)]
    for item in dataset.ContentSequence:
        item.ValueType, item.TextValue = "TEXT", text
    stream = DicomBytesIO()
    stream.is_implicit_VR, stream.is_little_endian = False, True
    write_dataset(stream, dataset)
    return bytes(stream.getvalue())


def to_port(port: int, **options: float) -> Sender:
    return Sender("HILUM", Destination("PACS", "127.0.0.1", port, sop_classes=RESULT_SOP_CLASSES), **options)


def store(sender: Sender, uid: str = "1.2.3") -> str:
    return sender.send(Comprehensive3DSRStorage, uid, ExplicitVRLittleEndian, report(uid)).outcome


# --- what arrives ------------------------------------------------------------------------------------------------


def test_data_set_arrives_byte_for_byte(tmp_path: Path) -> None:
    """storescp, told to write what it read, has the very bytes that were sent."""
    require("storescp")
    data = report("1.2.3")
    with storescp(tmp_path / "pacs", "+B") as peer:
        sender = to_port(peer.port)
        assert sender.send(Comprehensive3DSRStorage, "1.2.3", ExplicitVRLittleEndian, data).outcome == "ACCEPTED"
        sender.close()
        assert data_set_bytes(wait_for(peer.files)[0].read_bytes()) == data


def test_peer_that_reads_implicit_vr_only_gets_the_same_elements(tmp_path: Path) -> None:
    """PS3.5 10.1: Implicit VR Little Endian is what every peer must take; the content stays the same."""
    require("storescp")
    data = report("1.2.3")
    with storescp(tmp_path / "pacs", "+B", "+xi") as peer:
        sender = to_port(peer.port)
        assert sender.send(Comprehensive3DSRStorage, "1.2.3", ExplicitVRLittleEndian, data).outcome == "ACCEPTED"
        sender.close()
        received = dcmread(wait_for(peer.files)[0])
        assert received.file_meta.TransferSyntaxUID.is_implicit_VR
        assert received == dcmread(BytesIO(data), force=True)


@pytest.mark.parametrize("encoding", ["jpeg", "lossless"])
@pytest.mark.parametrize("option", ["+xe", "+xi", "+xy", "+xr"], ids=["uncompressed", "implicit", "JPEG", "RLE"])
def test_each_peer_gets_a_page_that_it_takes(
    tmp_path: Path, option: str, encoding: Literal["jpeg", "lossless"]
) -> None:
    """A peer that takes nothing compressed, or Implicit VR alone, gets the same page in that form."""
    require("storescp")
    (picture,) = secondary_captures(analysis(seen(FOUND)), ReportOptions(sc_encoding=encoding))
    with storescp(tmp_path / "pacs", option) as peer:
        sender = to_port(peer.port)
        for _ in range(2):  # a resend is the same, byte for byte
            sent = sender.send(*astuple(picture))
            assert sent.outcome == "ACCEPTED"
        sender.close()
        received = dcmread(wait_for(peer.files)[0])
    as_it_is = option == {"jpeg": "+xy", "lossless": "+xr"}[encoding]
    assert received.file_meta.TransferSyntaxUID.is_compressed == as_it_is
    assert received.file_meta.TransferSyntaxUID.is_implicit_VR == (option == "+xi")
    assert received.SOPInstanceUID == picture.sop_instance_uid
    assert received.get("LossyImageCompression") == ("01" if encoding == "jpeg" else None)
    decoded = dcmread(BytesIO(as_uncompressed(picture.data, picture.transfer_syntax_uid)), force=True).PixelData
    assert as_it_is or received.PixelData == decoded


def test_orthanc_takes_and_keeps_a_report(tmp_path: Path) -> None:
    """Orthanc answers Success and has the instance."""
    require("Orthanc")
    with orthanc(tmp_path / "orthanc", free_port()) as peer:
        sender = Sender("HILUM", Destination("ORTHANC", "127.0.0.1", peer.port, sop_classes=RESULT_SOP_CLASSES))
        assert sender.echo().outcome == "ACCEPTED"
        assert store(sender) == "ACCEPTED"
        sender.close()
        assert len(peer.get("/instances")) == 1


# --- the kept association ----------------------------------------------------------------------------------------


def test_reports_go_over_one_association_without_waits(tmp_path: Path) -> None:
    """A report of 15 KB takes far less than the 40 ms of one delayed acknowledgement, and no thread."""
    require("storescp")
    with storescp(tmp_path / "pacs", "--ignore") as peer:
        sender, data, threads = to_port(peer.port), report("1.2.3"), threading.active_count()
        sender.echo()
        kept, seconds = sender._assoc, []
        for _ in range(50):
            began = time.perf_counter()
            sender.send(Comprehensive3DSRStorage, "1.2.3", ExplicitVRLittleEndian, data)
            seconds.append(time.perf_counter() - began)
        assert sender._assoc is kept
        assert threading.active_count() == threads
        sender.close()
    assert statistics.median(seconds) < 0.020


def test_association_that_the_peer_ended_is_opened_again(tmp_path: Path) -> None:
    """A PACS that was restarted between two reports gets the second one at the first try."""
    require("storescp")
    port = free_port()
    with storescp(tmp_path / "pacs", port=port) as peer:
        sender = to_port(peer.port)
        assert store(sender, "1.2.3") == "ACCEPTED"
    with storescp(tmp_path / "pacs", port=port):
        assert store(sender, "1.2.4") == "ACCEPTED"
        sender.close()


def test_association_that_breaks_in_mid_object_is_replaced_once(tmp_path: Path) -> None:
    """A kept association that dies under an object costs nothing but a new one."""
    recorder = Recorder()
    with running_scp(recorder, tmp_path, syntaxes=[ExplicitVRLittleEndian]) as scp:
        sender = sender_to(scp)
        sender.echo()
        sender.attend = lambda seconds=0.0: None  # the break is not seen before the object is sent
        sender._assoc.dul.socket.cut()
        assert sender.send(*DX_OBJECT).outcome == "ACCEPTED"
        sender.close()
    assert len(recorder.arrived) == 1


def test_idle_association_is_released(tmp_path: Path) -> None:
    """After its idle time the association is released, and not before."""
    with running_scp(Recorder(), tmp_path) as scp:
        to = Destination("HILUM", "127.0.0.1", scp.port)
        patient, hasty = Sender("A", to, idle_seconds=60.0), Sender("A", to, idle_seconds=0.0)
        for sender in (patient, hasty):
            sender.echo()
            sender.release_if_idle()
        assert (patient.is_open, hasty.is_open) == (True, False)
        wait_for(lambda: scp.open_associations == 1, what="the release")
        patient.close()


def test_object_of_another_class_reopens_the_association(tmp_path: Path) -> None:
    """What the association was not asked for is asked for by a new one."""
    with running_scp(Recorder(), tmp_path) as scp:
        sender = sender_to(scp)
        sender.echo()
        dx, uid, _, data = DX_OBJECT
        assert sender.send(dx, uid, JPEGBaseline8Bit, data).outcome == "ACCEPTED"
        sender.close()


# --- outcomes ----------------------------------------------------------------------------------------------------

DX_OBJECT = ("1.2.840.10008.5.1.4.1.1.1.1", "1.2.3", ExplicitVRLittleEndian, b"\0" * 100_000)


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (Status.SUCCESS, "ACCEPTED"),
        (Status.COERCION_OF_DATA_ELEMENTS, "WARNING"),
        (Status.DUPLICATE_SOP_INSTANCE, "WARNING"),
        (Status.DATA_SET_DOES_NOT_MATCH, "REFUSED"),
        (Status.CANNOT_UNDERSTAND, "REFUSED"),
        (Status.NOT_AUTHORIZED, "REFUSED"),
        (Status.OUT_OF_RESOURCES, "FAILED"),
        (Status.PROCESSING_FAILURE, "FAILED"),
    ],
)
def test_answer_of_the_peer_is_the_outcome(tmp_path: Path, status: Status, outcome: str) -> None:
    """Accepted, accepted with a warning, refused for good, or worth another try; the association stays."""
    with running_scp(Recorder(lambda arrived: Answer(status, "because")), tmp_path) as scp:
        sender = sender_to(scp)
        sent = sender.send(*DX_OBJECT)
        assert (sent.outcome, sent.status, sent.comment) == (outcome, status, "because")
        assert sender.is_open
        sender.close()


@pytest.mark.parametrize("status", [0x1234, 0x8000, 0xFF00, 0xFE00])
def test_answer_that_no_standard_knows_is_tried_again(status: int) -> None:
    """Nonsense is neither a yes nor a no."""
    assert outcome_of(status) == "FAILED"


def test_class_that_the_peer_does_not_take_is_refused(tmp_path: Path) -> None:
    """No presentation context: 0122, for good."""
    with running_scp(Recorder(), tmp_path) as scp:
        sender = Sender("HILUM", Destination("HILUM", "127.0.0.1", scp.port, sop_classes=RESULT_SOP_CLASSES))
        sent = sender.send(Comprehensive3DSRStorage, "1.2.3", ExplicitVRLittleEndian, b"\0" * 8)
        sender.close()
    assert (sent.outcome, sent.status) == ("REFUSED", Status.SOP_CLASS_NOT_SUPPORTED)


def test_peer_that_is_down_is_unreachable_until_it_is_up(tmp_path: Path) -> None:
    """While nobody listens, the reply gives the reason; once somebody does, the next try arrives."""
    require("storescp")
    port = free_port()
    sender = to_port(port)
    assert sender.echo().comment == "connection failed: Connection refused"
    with storescp(tmp_path / "pacs", port=port):
        assert store(sender) == "ACCEPTED"
        sender.close()


def test_host_that_does_not_resolve_is_unreachable() -> None:
    """A wrong host name is the destination's trouble, not an exception."""
    sent = Sender("HILUM", Destination("PACS", "no-such-host.invalid", 104)).echo()
    assert sent.outcome == "UNREACHABLE"
    assert "not resolved" in sent.comment


@pytest.mark.parametrize("option", ["--refuse", "--abort-during", "--abort-after"])
def test_peer_that_refuses_or_aborts_is_unreachable(tmp_path: Path, option: str) -> None:
    """storescp rejects the association, or aborts it in or after an object: worth another try."""
    require("storescp")
    with storescp(tmp_path / "pacs", option) as peer:
        assert store(to_port(peer.port)) == "UNREACHABLE"


@contextlib.contextmanager
def mute_peer() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_peer_that_says_nothing_is_given_up(tmp_path: Path) -> None:
    """A PACS that hangs holds us up for the timeout and no longer."""
    with mute_peer() as port:
        began = time.monotonic()
        assert to_port(port, timeout_seconds=0.5).echo().outcome == "UNREACHABLE"
        assert time.monotonic() - began < 4


def test_peer_that_hangs_after_the_object_is_given_up(tmp_path: Path) -> None:
    """No response within the timeout: the association is aborted, the outcome open."""
    require("storescp")
    with storescp(tmp_path / "pacs", "--sleep-during", "3") as peer:
        sender = to_port(peer.port, timeout_seconds=0.5)
        sent = sender.send(Comprehensive3DSRStorage, "1.2.3", ExplicitVRLittleEndian, report("1.2.3"))
        assert (sent.outcome, sent.status) == ("UNREACHABLE", None)
        assert not sender.is_open
