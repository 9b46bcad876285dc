"""The key object selection: which images of a study are of interest."""

import io
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from highdicom.ko import KeyObjectSelectionDocument
from pydicom import dcmread

from dicom_io.composite.analysis import Analysis, Encoded, ModelIdentity, SourceImage
from dicom_io.results.key_objects import KIND, key_objects
from tests.conftest import require
from tests.support.sample_results import (
    FAILED,
    FOUND,
    MODEL,
    SECOND,
    STARTED,
    UNTRAINED,
    WITHOUT,
    header,
    part10,
    read,
    save,
)  # fmt: skip
from tests.support.validators import iod_errors

NEGATIVE = replace(WITHOUT, dataset=header(7))
STUDIES: dict[str, tuple[list[SourceImage], ModelIdentity]] = {
    "one": ([FOUND], MODEL),
    "two of four": ([NEGATIVE, FOUND, FAILED, SECOND], MODEL),
    "untrained": ([FOUND], UNTRAINED),
}


def made(study: str) -> Encoded:
    images, model = STUDIES[study]
    encoded = key_objects(Analysis(tuple(images), model, STARTED))
    assert encoded
    return encoded


@pytest.mark.parametrize("study", STUDIES)
def test_dciodvfy_finds_no_error(study: str, tmp_path: Path) -> None:
    """Every selection is a valid instance of its IOD."""
    assert iod_errors(save(made(study), tmp_path / "ko.dcm")) == []


def test_it_names_the_images_with_a_call_above() -> None:
    """Another implementation reads the title, the description and the images: those, and no others."""
    document = KeyObjectSelectionDocument.from_dataset(dcmread(io.BytesIO(part10(made("two of four")))))
    assert document.content[0].name.meaning == "Of Interest"
    named = {image.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for image in document.content.get_references()}
    assert named == {FOUND.dataset.SOPInstanceUID, SECOND.dataset.SOPInstanceUID}
    assert all(document.resolve_reference(uid)[2] == uid for uid in named)
    dataset = read(made("two of four"))
    (text,) = [item.TextValue for item in dataset.ContentSequence if item.get("TextValue", "").startswith("AI:")]
    assert "above threshold" in text
    assert "not for primary diagnosis" in text
    assert (dataset.Modality, dataset.SeriesNumber, dataset.PatientName) == ("KO", 9931, FOUND.dataset.PatientName)


def test_nothing_of_interest_is_no_object() -> None:
    """A study without a call above gets no selection."""
    for images in ([WITHOUT], [FAILED], [WITHOUT, FAILED]):
        analysis = Analysis(tuple(images), MODEL, STARTED)
        assert list(KIND.make(analysis, KIND.options(), ())) == []


def test_same_analysis_is_the_same_object() -> None:
    """UID and bytes depend on the analysis alone."""
    assert made("one") == made("one")
    assert len({made(study).sop_instance_uid for study in STUDIES}) == len(STUDIES)


def test_dcmtk_reads_it(tmp_path: Path) -> None:
    """dcmtk checks the content tree by the rules of the IOD and prints it."""
    require("dsrdump")
    done = subprocess.run(["dsrdump", save(made("one"), tmp_path / "ko.dcm")], capture_output=True, encoding="latin-1")
    assert done.returncode == 0, done.stderr
    assert "Key Object Selection Document" in done.stdout
    assert "Of Interest" in done.stdout
    assert "E:" not in done.stderr
