"""A segmentation in the whole daemon: sent by C-STORE, outlined, and reported with segmentation, page and report."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ComprehensiveSRStorage, SecondaryCaptureImageStorage, SegmentationStorage

from daemon.runtime.clock import now
from dicom_io.image.part10 import read_part10
from dicom_io.phantom.studies import drawn_study
from dicom_io.phantom.thorax import draw_chest
from dicom_io.services.store_scu import Destination, Sender
from inference.bundle import PACKAGED
from inference.evaluation.evaluate_outlines import dice
from tests.conftest import wait_for
from tests.support.harness import Daemon, sink
from tests.support.peers import free_port

SEED, SIZE = 2_200_001, (1100, 900)


@pytest.mark.timeout(600)
def test_a_study_is_outlined(tmp_path: Path) -> None:
    """The mass that was drawn is counted and covered, and the report names the segmentation, which names the image."""
    study = read_part10(drawn_study(SEED, "mass", *SIZE).data)
    destination = sink("pacs", free_port(), outputs=["sr", "sc", "seg"], sr_class="comprehensive")
    with Daemon(tmp_path / "hilum", [destination], HILUM__MODEL__BUNDLE=str(PACKAGED / "lungs-phantom")) as daemon:
        to = Destination("HILUM", "127.0.0.1", daemon.port, sop_classes=(study.sop_class_uid,))
        sender = Sender("MODALITY1", to)
        sent = sender.send(study.sop_class_uid, study.sop_instance_uid, study.transfer_syntax_uid, study.data)
        assert sent.status == 0, sent
        sender.close()
        wait_for(lambda: daemon.states()["ANALYSED"], 180, f"the analysis: {daemon.events[-3:]}")
        with daemon.journal() as journal:
            due = journal.due("pacs", now().replace(year=2100), 100)
        with daemon.store() as store:
            (result,) = store.queries.results(daemon.rows()[0]["study_instance_uid"])
    objects = [_read(one.data) for one in due]
    made = {str(ds.SOPClassUID): ds for ds in objects}
    assert set(made) == {str(ComprehensiveSRStorage), str(SecondaryCaptureImageStorage), str(SegmentationStorage)}
    seg, report = made[str(SegmentationStorage)], made[str(ComprehensiveSRStorage)]
    named = {row["structure"]: row for row in result["structures"]}
    assert named["Round opacity"]["count"] == 1
    bits = np.unpackbits(np.frombuffer(seg.PixelData, np.uint8), bitorder="little")[: 3 * SIZE[0] * SIZE[1]]
    right, left, opacity = bits.reshape(3, *SIZE).astype(bool)
    _, true = draw_chest(SEED, "mass", 0, *SIZE)
    assert dice(right, true.right_lung) > 0.95
    assert dice(left, true.left_lung) > 0.95
    assert dice(opacity, true.opacities[0]) > 0.7
    assert seg.SOPInstanceUID in str(report)
    assert study.sop_instance_uid in str(seg)
    assert seg.StudyInstanceUID == report.StudyInstanceUID


def _read(data: bytes) -> Dataset:
    return pydicom.dcmread(BytesIO(data), force=True)
