"""The main job with Orthanc as the PACS: its rule forwards each new radiograph, the report returns to the study."""

from collections import Counter
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from urllib.request import urlopen

import pydicom
import pytest

from tests.conftest import require, wait_for
from tests.support.harness import Daemon, sink
from tests.support.peers import Orthanc, free_port, orthanc, run

FORWARD = """
function OnStoredInstance(instanceId, tags, metadata, origin)
  if origin['RequestOrigin'] ~= 'Lua' and origin['RemoteAet'] ~= 'HILUM' then
    SendToModality(instanceId, 'hilum')
  end
end
"""
FINAL = {"DELIVERED", "IGNORED"}


@pytest.fixture
def pacs(tmp_path: Path) -> Iterator[tuple[Orthanc, int]]:
    """Orthanc that forwards to us, and the port on which it expects us."""
    require("Orthanc", "dcmsend")
    (tmp_path / "forward.lua").write_text(FORWARD)
    port = free_port()
    with orthanc(tmp_path / "orthanc", port, LuaScripts=[str(tmp_path / "forward.lua")]) as peer:
        yield peer, port


def reports(pacs: Orthanc) -> list[pydicom.Dataset]:
    """Every SR that the PACS holds."""
    found = pacs.get("/tools/find", {"Level": "Instance", "Query": {"Modality": "SR"}})
    return [pydicom.dcmread(BytesIO(urlopen(f"http://127.0.0.1:{pacs.http}/instances/{i}/file").read())) for i in found]


@pytest.mark.timeout(300)
def test_each_real_file_ends_in_a_report_or_a_reason(
    tmp_path: Path, pacs: tuple[Orthanc, int], shared: Path, untrained: dict[str, str]
) -> None:
    """Every real DICOM file sent to the PACS gets exactly one report in the right study, or a recorded reason."""
    peer, port = pacs
    files = sorted((shared / "data/dicom").glob("*.dcm"))
    where = {**untrained, "HILUM__DICOM__PORT": str(port), "HILUM__STUDY__SETTLE_SECONDS": "1"}
    with Daemon(tmp_path / "hilum", [sink("pacs", peer.port, ae_title="ORTHANC")], **where) as daemon:
        run("dcmsend", "-aec", "ORTHANC", "127.0.0.1", str(peer.port), *files)
        held = {peer.get(f"/studies/{s}")["MainDicomTags"]["StudyInstanceUID"] for s in peer.get("/studies")}

        def ended() -> bool:
            rows = daemon.studies()
            return {row["study_instance_uid"] for row in rows} == held and {row["state"] for row in rows} <= FINAL

        wait_for(ended, 120, "the end of every study")
        dog = str(
            pydicom.dcmread(
                shared / "data/dicom/ImagingDataCommons__dx_image.dcm", stop_before_pixels=True
            ).StudyInstanceUID
        )
        wait_for(lambda: dog in {str(sr.StudyInstanceUID) for sr in reports(peer)}, 60, "why a dog's chest is not read")
        by_study = Counter(str(sr.StudyInstanceUID) for sr in reports(peer))
        rows = {row["study_instance_uid"]: row for row in daemon.studies()}
        answered = {uid for uid, row in rows.items() if row["state"] == "DELIVERED"} | {dog}
        assert by_study == dict.fromkeys(answered, 1)
        assert rows[dog]["state"] == "IGNORED"
        assert all(row["reason"] for row in rows.values() if row["state"] == "IGNORED")
        assert "1.3.6.1.4.1.5962.1.2.9.20040826185059.5457" in by_study, "the real chest radiograph, JPEG 2000"
        for sr in reports(peer):
            assert sr.PatientID == rows[str(sr.StudyInstanceUID)]["patient_id"]
