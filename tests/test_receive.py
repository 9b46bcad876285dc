"""The SCP lets in whom it should, hands over what arrived as it arrived, and answers each request."""

from io import BytesIO
from pathlib import Path

import pydicom
import pytest

from dicom_io.receive import Answer, Arrived
from dicom_io.statuses import Status
from tests.conftest import require, wait_for
from tests.peers import Recorder, dcmsend, dx_file, run, running_scp


def data_set_bytes(part10: bytes) -> bytes:
    """What follows preamble and file meta."""
    stream = BytesIO(part10)
    pydicom.filereader.read_preamble(stream, force=False)
    pydicom.filereader._read_file_meta_info(stream)
    return part10[stream.tell() :]


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
