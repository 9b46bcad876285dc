"""Revisions that show: every new result of a study says what it replaces, and asks to hide it where that is wanted."""

import json
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from pydicom.filereader import read_dataset

from daemon.runtime.clock import now
from daemon.wiring import read_settings
from storage.records import AnalysisOutcome
from tests.daemon.test_patients import Line, image

PACS = {"name": "pacs", "ae_title": "PACS", "host": "h", "port": 1}
DESTINATIONS = [
    {**PACS, "outputs": ["sr", "sc", "rejection-note"]},
    {**PACS, "name": "archive", "outputs": ["sr", "sc"]},
]


@pytest.fixture
def line(tmp_path: Path, untrained: dict[str, str]) -> Line:
    """A daemon's parts, with a destination that wants rejection notes and one that does not."""
    destinations = json.dumps(DESTINATIONS)
    environ = {"HILUM__DESTINATION": destinations, "HILUM__STORAGE__DIRECTORY": str(tmp_path), **untrained}
    return Line(tmp_path, read_settings(None, environ))


def objects(outcome: AnalysisOutcome, kind: str) -> list[pydicom.Dataset]:
    return [
        read_dataset(BytesIO(made.data), is_implicit_VR=False, is_little_endian=True)
        for made in outcome.objects
        if made.kind == kind
    ]


def summary(report: pydicom.Dataset) -> list[str]:
    (said,) = (i.TextValue for i in report.ContentSequence if i.ConceptNameCodeSequence[0].CodeMeaning == "Summary")
    return list(said.splitlines())


def rejected(note: pydicom.Dataset) -> set[str]:
    (study,) = note.CurrentRequestedProcedureEvidenceSequence
    return {str(o.ReferencedSOPInstanceUID) for s in study.ReferencedSeriesSequence for o in s.ReferencedSOPSequence}


def made(outcome: AnalysisOutcome, *kinds: str) -> set[str]:
    return {one.sop_instance_uid for one in outcome.objects if one.kind in kinds}


def test_a_late_image_makes_a_result_that_says_what_it_replaces(line: Line, tmp_path: Path) -> None:
    """The first result replaces nothing. The second names the time and the model of the first, in its caption the
    revision, and the note rejects the objects of the first; a third result's note names those of the second alone."""
    line.receive(image(tmp_path))
    (first,) = line.analyse()
    assert not objects(first, "rejection-note")
    assert all(one.SeriesNumber in (9901, 9911) for kind in ("sr", "sc") for one in objects(first, kind))
    line.receive(image(tmp_path, SOPInstanceUID="1.2.3.1.2"))
    (second,) = line.analyse()
    (report,) = objects(second, "sr")
    version = line.classifier.bundle.version
    assert any(
        said.startswith("Replaces the AI result of ") and said.endswith(f" (model {version}).")
        for said in summary(report)
    )
    assert (report.SeriesNumber, "r2" in report.SeriesDescription) == (9902, True)
    assert all(page.SeriesNumber == 9912 for page in objects(second, "sc"))
    (note,) = objects(second, "rejection-note")
    assert rejected(note) == made(first, "sr", "sc")
    assert note.ConceptNameCodeSequence[0].CodeValue == "113001"
    assert {one.destinations for one in second.objects if one.kind == "rejection-note"} == {("pacs",)}
    line.receive(image(tmp_path, SOPInstanceUID="1.2.3.1.3"))
    (third,) = line.analyse()
    assert rejected(objects(third, "rejection-note")[0]) == made(second, "sr", "sc")
    assert line.store.trail.verify() == []


def test_a_replay_that_finds_the_same_rejects_nothing(line: Line, tmp_path: Path) -> None:
    """The same analysis again makes the same objects: there is nothing new to see, and nothing old to hide."""
    line.receive(image(tmp_path))
    (first,) = line.analyse()
    line.store.journal.replay("1.2.3", now())
    (again,) = line.analyse()
    assert made(again, "sr", "sc") == made(first, "sr", "sc")
    assert not objects(again, "rejection-note")


def test_a_corrected_patient_is_rejected_as_one(line: Line, tmp_path: Path) -> None:
    """The note on the results of a wrong patient says so: Incorrect Modality Worklist Entry (IHE IOCM)."""
    line.receive(image(tmp_path))
    (before,) = line.analyse()
    line.receive(image(tmp_path, PatientID="A-1", AccessionNumber="ACC9"))
    (after,) = line.analyse()
    (note,) = objects(after, "rejection-note")
    assert note.ConceptNameCodeSequence[0].CodeValue == "113038"
    assert rejected(note) == made(before, "sr", "sc")
    assert summary(objects(after, "sr")[0])[2].startswith("Replaces the AI result of ")
