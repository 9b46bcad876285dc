"""The pages of a result, as image objects."""

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit, RLELossless, SecondaryCaptureImageStorage

from dicom_io.composite.analysis import Encoded
from dicom_io.identity import MANUFACTURER
from dicom_io.results.report import ReportError, ReportOptions, structured_report
from dicom_io.results.secondary_capture import KIND, secondary_captures
from dicom_io.services.store_request import as_uncompressed
from tests.conftest import require
from tests.support.sample_pages import CONTOUR, KINDS, analysis, drawn, of, seen
from tests.support.sample_results import FAILED, FOUND, MODEL, STARTED, header, read, save

LOSSLESS = ReportOptions(sc_encoding="lossless")
FORMS = ["jpeg", "lossless", "uncompressed"]


def made(kind: str, form: str = "jpeg") -> list[Encoded]:
    if form == "uncompressed":
        return [uncompressed(encoded) for encoded in made(kind)]
    encoding: Literal["jpeg", "lossless"] = "jpeg" if form == "jpeg" else "lossless"
    return list(secondary_captures(KINDS[kind], ReportOptions(sc_encoding=encoding)))


def uncompressed(encoded: Encoded) -> Encoded:
    """As it goes to a peer that takes nothing compressed."""
    data = as_uncompressed(encoded.data, encoded.transfer_syntax_uid)
    return replace(encoded, transfer_syntax_uid=ExplicitVRLittleEndian, data=data)


def errors_of(*command: str | Path) -> list[str]:
    said = subprocess.run(command, capture_output=True, text=True, errors="replace").stderr
    return [line for line in said.splitlines() if line.startswith(("Error", "Abort"))]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", KINDS)
def test_dciodvfy_finds_no_error(kind: str, form: str, tmp_path: Path) -> None:
    """Every kind of page, in each form, is a valid Secondary Capture image."""
    require("dciodvfy")
    for encoded in made(kind, form):
        assert encoded.sop_class_uid == SecondaryCaptureImageStorage
        assert errors_of("dciodvfy", "-new", save(encoded, tmp_path / "sc.dcm")) == []


def test_pages_and_report_belong_to_one_study(tmp_path: Path) -> None:
    """Pages and report agree with each other in all that belongs to the patient and the study."""
    require("dcentvfy")
    report = structured_report(KINDS["two frontals"].images, MODEL, ReportOptions(), (), STARTED)
    files = [save(encoded, tmp_path / f"{n}.dcm") for n, encoded in enumerate([*made("two frontals"), report])]
    assert errors_of("dcentvfy", *files) == []
    page = read(made("found")[0])
    assert page.StudyInstanceUID == FOUND.dataset.StudyInstanceUID
    assert page.PatientName == FOUND.dataset.PatientName


def test_the_pages_of_an_analysis_are_one_series_in_their_order() -> None:
    """Two frontal images: two objects of one series, numbered 1 and 2, each of which names its own image as source."""
    pages = [read(encoded) for encoded in made("two frontals")]
    assert [page.InstanceNumber for page in pages] == [1, 2]
    assert len({page.SeriesInstanceUID for page in pages}) == 1
    assert len({page.SOPInstanceUID for page in pages}) == 2
    sources = [[one.ReferencedSOPInstanceUID for one in page.SourceImageSequence] for page in pages]
    assert sources == [[image.dataset.SOPInstanceUID] for image in KINDS["two frontals"].images]
    (none,) = made("several not analysed")
    assert len(read(none).SourceImageSequence) == 2, "the page that says that neither was analysed is about both"


@pytest.mark.parametrize("form", FORMS)
def test_pixels_decode_to_the_page(form: str) -> None:
    """A decoder that is not ours gets the drawn page out of the object again, without loss where that is asked for."""
    (page,), (encoded,) = of("contour"), made("contour", form)
    expected = {"jpeg": JPEGBaseline8Bit, "lossless": RLELossless, "uncompressed": ExplicitVRLittleEndian}[form]
    assert encoded.transfer_syntax_uid == expected
    dataset = read(encoded)
    assert dataset.SOPInstanceUID == encoded.sop_instance_uid
    difference = np.abs(dataset.pixel_array.astype(int) - drawn(page))
    assert dataset.pixel_array.shape == (1200, 1600, 3)
    assert difference.mean() <= 3 if form != "lossless" else difference.max() == 0
    assert ("LossyImageCompression" in dataset) == (form != "lossless")


def test_a_lossless_page_stays_so_for_a_peer_that_takes_nothing_compressed() -> None:
    """Decoded from RLE, not a pixel differs."""
    (encoded,) = made("contour", "lossless")
    assert (read(uncompressed(encoded)).pixel_array == drawn(of("contour")[0])).all()


@pytest.mark.parametrize(
    ("said", "expected"), [("NO", "NO"), ("YES", "YES"), ("no ", "NO"), ("", None), ("MAYBE", None)]
)
def test_what_is_burned_into_the_image_is_burned_into_the_page(said: str, expected: str | None) -> None:
    """Burned In Annotation is that of the image, and absent where the image does not say it."""
    dataset = header(BurnedInAnnotation=said, RecognizableVisualFeatures=said)
    (encoded,) = secondary_captures(analysis(seen(FOUND, dataset=dataset)))
    assert read(encoded).get("BurnedInAnnotation") == expected
    assert read(encoded).get("RecognizableVisualFeatures") == expected
    (encoded,) = secondary_captures(analysis(replace(FAILED, dataset=dataset)))
    assert read(encoded).BurnedInAnnotation == "NO", "nothing of the image is in it"


def test_the_tags_say_what_a_page_is() -> None:
    """No orientation, no laterality, for research, derived."""
    dataset = read(made("found")[0])
    assert dataset.PatientOrientation in (None, "", [])
    assert "Laterality" not in dataset
    assert dataset.BodyPartExamined == "CHEST"
    assert dataset.ContentQualification == "RESEARCH"
    assert dataset.ImageType == ["DERIVED", "SECONDARY"]
    assert dataset.Manufacturer == MANUFACTURER, "what comes back to us is known as ours"


def test_untrained_weights_are_named() -> None:
    """The object's texts say it too."""
    dataset = read(made("untrained")[0])
    assert "UNTRAINED" in dataset.SeriesDescription
    assert "UNTRAINED" in dataset.ImageComments


def test_same_analysis_is_the_same_page() -> None:
    """UIDs and pixels depend on the analysis alone; another result, form, language or source is another object. A
    location follows from image and model."""
    assert made("several images") == made("several images")
    kinds = [kind for kind in KINDS if kind not in ("contour", "no location")]
    uids = [encoded.sop_instance_uid for kind in kinds for encoded in made(kind)]
    uids += [encoded.sop_instance_uid for options in (LOSSLESS, ReportOptions(language="fr"))
             for encoded in secondary_captures(KINDS["found"], options)]  # fmt: skip
    flipped = analysis(seen(FOUND, side="flipped"))
    uids += [encoded.sop_instance_uid for encoded in secondary_captures(flipped)]
    assert len(set(uids)) == len(uids)
    report = structured_report([FOUND], MODEL, ReportOptions(), (), STARTED)
    assert report.sop_instance_uid not in uids


def test_a_page_is_made_for_what_a_destination_asks_for() -> None:
    """The language and the encoding are options of the kind."""
    french, english = (KIND.make(KINDS["contour"], ReportOptions(language=code), ())[0] for code in ("fr", "en-US"))
    assert (read(french).pixel_array != read(english).pixel_array).any()
    assert KIND.make(KINDS["contour"], LOSSLESS, ())[0].transfer_syntax_uid == RLELossless


@pytest.mark.parametrize("shape", [(3, 4, 5), (0, 4)])
def test_refuses_pixels_that_are_no_image(shape: tuple[int, ...]) -> None:
    """An array that is no picture is a mistake of the caller."""
    wrong: Any = np.zeros(shape, np.float32)
    with pytest.raises(ReportError, match="rows, columns"):
        list(secondary_captures(analysis(seen(FOUND, CONTOUR, pixels=wrong))))
