"""The picture of the results, as an image object."""

import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

from dicom_io.composite.analysis import Encoded, Location
from dicom_io.composite.codes import coded
from dicom_io.identity import MANUFACTURER
from dicom_io.results.contour import LINE, sentences
from dicom_io.results.picture import HEADER_HEIGHT, LONG_SIDE, MARGIN, TABLE_WIDTH, draw
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
SQUARE = ((0.25, 0.25), (0.5, 0.25), (0.5, 0.75), (0.25, 0.75))
CONTOUR = Location("Effusion", (SQUARE,))
NO_CONTOUR = Location("Effusion", (), "the map was never compared with boxes")

KINDS = {
    "found": ([FOUND], MODEL, PIXELS, None),
    "contour": ([FOUND], MODEL, PIXELS, CONTOUR),
    "no location": ([FOUND], MODEL, PIXELS, NO_CONTOUR),
    "without findings": ([WITHOUT], MODEL, PIXELS, None),
    "several images": ([FOUND, SECOND, FAILED], MODEL, PIXELS, CONTOUR),
    "not analysed": ([FAILED], MODEL, None, None),
    "untrained": ([FOUND], UNTRAINED, PIXELS, None),
    "some not assessed": ([SOME], MODEL, PIXELS, None),
    "not evaluated": ([FOUND], replace(MODEL, evaluated=False, digest="sha256:" + "ab" * 32), PIXELS, None),
}


def made(kind: str) -> Encoded:
    images, model, pixels, location = KINDS[kind]
    return secondary_capture(images, model, STARTED, pixels, location)


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
    images, model, pixels, location = KINDS["contour"]
    drawn = np.asarray(draw(images, model, pixels, location), dtype=int)
    encoded = made("contour") if compressed else uncompressed(made("contour"))
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
    """Results, reasons, contour, its absence and the warning of untrained weights are all drawn."""
    pictures = {draw(*KINDS[kind]).tobytes() for kind in KINDS}
    pictures.add(draw([replace(FAILED, reason="the image is truncated")], MODEL, None).tobytes())
    assert len(pictures) == len(KINDS) + 1


def orange(picture: np.ndarray) -> np.ndarray:
    """Where the picture has the colour of a contour."""
    near: np.ndarray = (np.abs(picture.astype(int) - LINE) <= 2).all(axis=2)
    return near


def test_the_contour_is_a_line_at_its_place() -> None:
    """The line runs where the location says and nowhere else; the radiograph inside and outside is as it was."""
    plain, drawn = (np.asarray(draw([FOUND], MODEL, PIXELS, place)) for place in (None, CONTOUR))
    width, height, top = LONG_SIDE, round(LONG_SIDE * 0.8), HEADER_HEIGHT + MARGIN
    rows, columns = np.nonzero(orange(drawn[top : top + height, MARGIN : MARGIN + width]))
    assert columns.min() / width == pytest.approx(0.25, abs=0.01)
    assert columns.max() / width == pytest.approx(0.5, abs=0.01)
    assert rows.min() / height == pytest.approx(0.25, abs=0.01)
    assert rows.max() / height == pytest.approx(0.75, abs=0.01)
    changed = drawn[top : top + height, MARGIN : MARGIN + width] != plain[top : top + height, MARGIN : MARGIN + width]
    assert changed.any(axis=2).mean() < 0.02


def test_the_page_says_that_no_location_is_given() -> None:
    """Without a contour the radiograph bears no colour, and the words under it say "no location given" and why."""
    drawn = np.asarray(draw([FOUND], MODEL, PIXELS, NO_CONTOUR))
    top, height = HEADER_HEIGHT + MARGIN, round(LONG_SIDE * 0.8)
    radiograph = drawn[top : top + height, MARGIN : MARGIN + LONG_SIDE]
    assert (radiograph == radiograph[..., :1]).all()
    assert drawn[top + height :, MARGIN : MARGIN + LONG_SIDE].max() > 100
    name = coded("Effusion").display
    reason, note = "Reason: the map was never compared with boxes.", "Approximate; not the outline of a lesion."
    assert sentences(NO_CONTOUR) == (f"{name}: no location given", reason)
    assert sentences(CONTOUR) == (f"Region that weighed most for: {name}", note)


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
    """UID and pixels depend on the analysis alone; another result, form or source is another object. A location follows
    from image and model, so it needs no UID of its own."""
    assert made("found") == made("found")
    uids = [made(kind).sop_instance_uid for kind in KINDS if kind not in ("contour", "no location")]
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
