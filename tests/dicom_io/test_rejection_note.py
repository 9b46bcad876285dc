"""The rejection note, judged by a validator and by a reader that nobody here wrote."""

import subprocess
from dataclasses import replace
from pathlib import Path

import highdicom
import pytest
from pydicom import dcmread

from dicom_io.composite.analysis import Analysis, PredecessorRef, Replaced, series_uid
from dicom_io.results.references import PAGE_CLASS, SOP_CLASSES
from dicom_io.results.rejection_note import KIND, RejectionOptions, rejection_note
from tests.conftest import require
from tests.support.sample_results import FOUND, MODEL, STARTED, read, save

ANALYSIS = Analysis((FOUND,), MODEL, STARTED, revision=2, replaces=Replaced(STARTED, "1"))
CORRECTED = replace(ANALYSIS, replaces=Replaced(STARTED, "1", corrected=True))
OLD = (
    PredecessorRef(SOP_CLASSES["comprehensive-3d"], "2.25.1"),
    PredecessorRef(PAGE_CLASS, "2.25.2"),
    PredecessorRef(PAGE_CLASS, "2.25.3", "2.25.2"),
)
TITLES = {"113001": ANALYSIS, "113038": CORRECTED}


@pytest.mark.parametrize("language", ["en-US", "fr"])
@pytest.mark.parametrize("title", TITLES)
def test_validator_and_reader_accept_it(title: str, language: str, tmp_path: Path) -> None:
    """dciodvfy finds no error, highdicom reads the objects out of it, and the title says the reason."""
    require("dciodvfy")
    path = save(rejection_note(TITLES[title], RejectionOptions(language), OLD), tmp_path / "note.dcm")
    said = subprocess.run(["dciodvfy", "-new", path], capture_output=True, text=True, errors="replace").stderr
    assert [line for line in said.splitlines() if line.startswith(("Error", "Abort"))] == []
    note = highdicom.ko.KeyObjectSelectionDocument.from_dataset(dcmread(path))
    assert note.ConceptNameCodeSequence[0].CodeValue == title
    assert [note.resolve_reference(one.sop_instance_uid)[2] for one in OLD] == ["2.25.1", "2.25.2", "2.25.3"]
    assert len(note.content.get_references()) == len(OLD)
    assert note.StudyInstanceUID == FOUND.dataset.StudyInstanceUID


def test_it_names_the_objects_in_their_series() -> None:
    """The pages of one result are in one series, that of the first; the report is in its own."""
    note = read(rejection_note(ANALYSIS, RejectionOptions(), OLD))
    (study,) = note.CurrentRequestedProcedureEvidenceSequence
    found = {s.SeriesInstanceUID: [o.ReferencedSOPInstanceUID for o in s.ReferencedSOPSequence]
             for s in study.ReferencedSeriesSequence}  # fmt: skip
    assert found == {series_uid("2.25.1"): ["2.25.1"], series_uid("2.25.2"): ["2.25.2", "2.25.3"]}


def test_the_same_note_has_the_same_uid() -> None:
    """The UID depends on what is rejected and why, and on nothing else; without anything there is no note."""
    first = rejection_note(ANALYSIS, RejectionOptions(), OLD).sop_instance_uid
    assert rejection_note(replace(ANALYSIS, revision=3), RejectionOptions(), OLD[::-1]).sop_instance_uid == first
    assert rejection_note(CORRECTED, RejectionOptions(), OLD).sop_instance_uid != first
    assert rejection_note(ANALYSIS, RejectionOptions(), OLD[:2]).sop_instance_uid != first
    assert list(KIND.make(ANALYSIS, RejectionOptions(), ())) == []
