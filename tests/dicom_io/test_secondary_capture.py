"""The picture of the results, as an image object."""

import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

from dicom_io.composite.analysis import Encoded, Heatmap
from dicom_io.identity import MANUFACTURER
from dicom_io.results.picture import LONG_SIDE, TABLE_WIDTH, draw
from dicom_io.results.report import ReportError, ReportOptions, structured_report
from dicom_io.results.secondary_capture import secondary_capture
from dicom_io.services.store_request import as_uncompressed
from tests.conftest import require
from tests.support.sample_results import (
    FAILED,
    FOUND,
    MODEL,
    SECOND,
    SOME,
    STARTED,
    UNTRAINED,
    WITHOUT,
    header,
    read,
    save,
)  # fmt: skip

PIXELS = np.tile(np.linspace(0, 1, 500, dtype=np.float32), (400, 1))
HEATMAP = Heatmap("Effusion", np.eye(8, dtype=np.float32))

KINDS = {
    "found": ([FOUND], MODEL, PIXELS, None),
    "heatmap": ([FOUND], MODEL, PIXELS, HEATMAP),
    "without findings": ([WITHOUT], MODEL, PIXELS, None),
    "several images": ([FOUND, SECOND, FAILED], MODEL, PIXELS, HEATMAP),
    "not analysed": ([FAILED], MODEL, None, None),
    "untrained": ([FOUND], UNTRAINED, PIXELS, None),
    "some not assessed": ([SOME], MODEL, PIXELS, None),
    "not evaluated": ([FOUND], replace(MODEL, evaluated=False, digest="sha256:" + "ab" * 32), PIXELS, None),
}


def made(kind: str) -> Encoded:
    images, model, pixels, heatmap = KINDS[kind]
    return secondary_capture(images, model, STARTED, pixels, heatmap)


def uncompressed(encoded: Encoded) -> Encoded:
    """As it goes to a peer that takes nothing compressed."""
    return replace(encoded, transfer_syntax_uid=ExplicitVRLittleEndian, data=as_uncompressed(encoded.data))


def errors_of(*command: str | Path) -> list[str]:
    said = subprocess.run(command, capture_output=True, text=True, errors="replace").stderr
    return [line for line in said.splitlines() if line.startswith(("Error", "Abort"))]


@pytest.mark.parametrize("compressed", [True, False], ids=["JPEG", "uncompressed"])
@pytest.mark.parametrize("kind", KINDS)
def test_dciodvfy_finds_no_error(kind: str, compressed: bool, tmp_path: Path) -> None:
    """Every kind of picture, compressed and not, is a valid Secondary Capture image."""
    require("dciodvfy")
    encoded = made(kind) if compressed else uncompressed(made(kind))
    assert encoded.sop_class_uid == SecondaryCaptureImageStorage
    assert errors_of("dciodvfy", "-new", save(encoded, tmp_path / "sc.dcm")) == []


def test_picture_and_report_belong_to_one_study(tmp_path: Path) -> None:
    """Picture and report agree with each other in all that belongs to the patient and the study."""
    require("dcentvfy")
    report = structured_report([FOUND], MODEL, ReportOptions(), (), STARTED)
    files = [save(made("found"), tmp_path / "sc.dcm"), save(report, tmp_path / "sr.dcm")]
    assert errors_of("dcentvfy", *files) == []
    picture = read(made("found"))
    assert picture.StudyInstanceUID == FOUND.dataset.StudyInstanceUID
    assert picture.PatientName == FOUND.dataset.PatientName
    assert picture.SourceImageSequence[0].ReferencedSOPInstanceUID == FOUND.dataset.SOPInstanceUID


@pytest.mark.parametrize("compressed", [True, False], ids=["JPEG", "uncompressed"])
def test_pixels_decode_to_the_picture(compressed: bool) -> None:
    """A decoder that is not ours gets the drawn picture out of the object again."""
    images, model, pixels, heatmap = KINDS["heatmap"]
    drawn = np.asarray(draw(images, model, pixels, heatmap), dtype=int)
    encoded = made("heatmap") if compressed else uncompressed(made("heatmap"))
    assert encoded.sop_instance_uid == read(encoded).SOPInstanceUID
    decoded = read(encoded).pixel_array.astype(int)
    assert decoded.shape == drawn.shape
    assert np.abs(decoded - drawn).mean() <= 3


@pytest.mark.parametrize(("rows", "columns"), [(2500, 2048), (2048, 2500), (64, 64), (1, 1)])
def test_radiograph_keeps_its_shape(rows: int, columns: int) -> None:
    """The radiograph is shown with its long side at LONG_SIDE pixels and its proportions kept."""
    alone = draw([FOUND], MODEL, None)
    with_radiograph = draw([FOUND], MODEL, np.full((rows, columns), 1.0, np.float32))
    white = (np.asarray(with_radiograph)[:, : -TABLE_WIDTH - 40] == 255).all(axis=2)
    shown = (white.any(axis=1).sum(), white.any(axis=0).sum())
    assert shown == (round(LONG_SIDE * rows / max(rows, columns)), round(LONG_SIDE * columns / max(rows, columns)))
    assert with_radiograph.width > alone.width


def test_picture_holds_no_patient_data() -> None:
    """The pixels depend on results and radiograph alone: another patient's name, number and dates change nothing."""
    other = header(PatientName="Other^Name", PatientID="X", AccessionNumber="Y", StudyDate="19990101")
    drawn = [draw([replace(FOUND, dataset=dataset)], MODEL, PIXELS).tobytes() for dataset in (FOUND.dataset, other)]
    assert drawn[0] == drawn[1]
    assert read(made("found")).BurnedInAnnotation == "NO"


def test_each_statement_changes_the_picture() -> None:
    """Results, reasons, heatmap and the warning of untrained weights are all drawn."""
    pictures = {draw(*KINDS[kind]).tobytes() for kind in KINDS}
    pictures.add(draw([replace(FAILED, reason="the image is truncated")], MODEL, None).tobytes())
    assert len(pictures) == len(KINDS) + 1


def test_untrained_weights_are_alarming() -> None:
    """With untrained weights the whole head of the picture is red, and the object's texts say it too."""

    def redness(kind: str) -> float:
        top = np.asarray(draw(*KINDS[kind]), dtype=int)[5]
        return float((top[:, 0] - top[:, 1]).mean())

    assert redness("untrained") > 100 > 10 > redness("found")
    dataset = read(made("untrained"))
    assert "UNTRAINED" in dataset.SeriesDescription
    assert "UNTRAINED" in dataset.ImageComments


def test_same_analysis_is_the_same_picture() -> None:
    """UID and pixels depend on the analysis alone; another result, form or source is another object."""
    assert made("found") == made("found")
    uids = [made(kind).sop_instance_uid for kind in KINDS]
    assert len(set(uids)) == len(uids)
    report = structured_report([FOUND], MODEL, ReportOptions(), (), STARTED)
    assert report.sop_instance_uid not in uids


def test_our_pictures_can_be_told_from_radiographs() -> None:
    """What comes back to us is known as ours: the maker stands in Manufacturer."""
    dataset = read(made("found"))
    assert dataset.Manufacturer == MANUFACTURER
    assert dataset.ImageType == ["DERIVED", "SECONDARY"]


def test_compressed_picture_is_small() -> None:
    """A picture costs the archive less than half a megabyte."""
    noise = np.random.default_rng(0).normal(0.5, 0.05, (2500, 2048)).astype(np.float32)
    encoded = secondary_capture([FOUND], MODEL, STARTED, noise, None)
    assert len(encoded.data) < 500_000
    assert read(encoded).LossyImageCompression == "01"


def test_refuses_pixels_that_are_no_image() -> None:
    """An array that is no picture is a mistake of the caller."""
    for shape in ((3, 4, 5), (0, 4)):
        with pytest.raises(ReportError, match="rows, columns"):
            secondary_capture([FOUND], MODEL, STARTED, np.zeros(shape, np.float32))
