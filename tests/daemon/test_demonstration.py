"""`hilum phantom` and the demonstration's table: what is drawn, what is found, and what is shown of it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from daemon.cli.demonstration.contact_sheet import write_contact_sheet
from daemon.cli.demonstration.drawings import agree, agreement, compared, found
from daemon.cli.demonstration.phantom import LABELS, NAMED, write_drawings
from dicom_io.composite.analysis import SourceImage
from dicom_io.image.decode import decode
from dicom_io.phantom.studies import drawn_study
from dicom_io.phantom.thorax import BITS, DrawnFinding, draw_thorax
from dicom_io.results.report import ReportOptions, structured_report
from dicom_io.results.secondary_capture import secondary_captures
from inference.bundle import PACKAGED, load_bundle
from inference.evaluation.data import pictures, read_table
from inference.serving.classifier import Classifier
from tests.support.sample_pages import analysis
from tests.support.sample_results import MODEL, STARTED, findings, header, part10

UNSEEN = 2_000_000  # seeds from here on were drawn for no training, no calibration and no gate
PHANTOM = PACKAGED / "phantom"


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier(load_bundle(PHANTOM), threads=1)


def drawing(seed: int, finding: DrawnFinding, rows: int = 400, columns: int = 340) -> np.ndarray:
    return np.asarray(draw_thorax(seed, finding, rows, columns) / (2**BITS - 1), np.float32)


def test_drawings_are_data_for_training(tmp_path: Path) -> None:
    """`hilum train` reads the folder: each finding in a fifth of the drawings, nothing in another, no seed twice."""
    assert write_drawings(tmp_path, 10, 40, dicom=False) == tmp_path / "drawn.csv"
    table = read_table(tmp_path)
    assert table.findings == tuple(NAMED) == ("Cardiomegaly", "Effusion", "Mass", "Pneumothorax")
    assert (table.targets.sum(0) == 2).all()
    assert (table.targets.sum(1) == 0).sum() == 2
    assert len(set(table.patients)) == 10
    assert len({picture.tobytes() for picture in pictures(table)}) == 10


def test_drawings_come_as_dicom_too(tmp_path: Path) -> None:
    """With --dicom each drawing is a DICOM file that decodes to the same chest."""
    write_drawings(tmp_path, 2, 60, dicom=True)
    for number in (60, 61):
        small = np.asarray(Image.open(tmp_path / f"drawn/{number}.png"), np.float32)
        large = Image.fromarray(decode(tmp_path / f"dicom/{number}.dcm")).resize(
            small.shape[::-1], Image.Resampling.BOX
        )
        assert np.corrcoef(np.asarray(large).ravel(), small.ravel())[0, 1] > 0.95


def test_the_bundle_is_small_pinned_and_says_what_it_is_for(classifier: Classifier) -> None:
    """The bundle of the drawings is below 2 MB, is pinned by the package, and its card warns of real radiographs."""
    assert classifier.bundle.trained
    assert classifier.bundle.pinned
    assert set(classifier.bundle.labels) == set(NAMED)
    assert sum(path.stat().st_size for path in PHANTOM.rglob("*") if path.is_file()) < 2e6
    classifier.self_check()
    card = (PHANTOM / "docs/README.md").read_text()
    assert "knows drawings alone" in card
    assert "make phantom" in card


def test_it_finds_what_is_drawn(classifier: Classifier) -> None:
    """On drawings of seeds that nothing was fitted on, exactly what was drawn is found in nine of ten."""
    kinds = [list(LABELS)[i % len(LABELS)] for i in range(60)]
    answers = classifier.predict([drawing(UNSEEN + i, kind) for i, kind in enumerate(kinds)])
    seen = [found(answer.to_json("", {}).get("findings", [])) for answer in answers]
    right = [agree(LABELS[kind] or "nothing", said) for kind, said in zip(kinds, seen, strict=True)]
    assert np.mean(right) >= 0.9, list(zip(kinds, seen, strict=True))


def row(finding: DrawnFinding, *findings: tuple[str, float]) -> dict[str, Any]:
    study = drawn_study(7, finding, 200, 160)
    said = [{"finding": name, "probability": p, "call": "above" if p >= 0.5 else "below"} for name, p in findings]
    return compared(
        {"study_instance_uid": study.study_instance_uid, "findings": said}, {study.study_instance_uid: study}
    )


def test_drawn_and_found_must_be_the_same() -> None:
    """One finding too many, one too few and another one each count as a disagreement."""
    rows = [
        row("effusion", ("Effusion", 0.9), ("Mass", 0.1)),
        row("effusion", ("Effusion", 0.9), ("Mass", 0.6)),
        row("effusion", ("Effusion", 0.4), ("Mass", 0.1)),
        row("none", ("Effusion", 0.2)),
        row("none"),
    ]
    assert [r["agree"] for r in rows] == ["yes", "NO", "NO", "yes", "NO"]
    assert [r["found"] for r in rows] == ["Effusion", "Effusion, Mass", "nothing", "nothing", "not analysed"]
    assert agreement(rows).startswith("Drawn and found agree for 2 of 5")


def test_a_study_that_was_not_drawn_here_is_not_judged() -> None:
    """A person's own radiograph gets what was found, and no word of agreement."""
    answer = compared({"study_instance_uid": "1.2", "findings": []}, {})
    assert answer == {"found": "not analysed"}
    assert agreement([answer]) == ""


def test_the_pages_are_shown_side_by_side(tmp_path: Path) -> None:
    """Of the objects at the PACS the pages of the studies in the table are drawn, and no report is taken for one."""
    (tmp_path / "pacs").mkdir()
    for number in range(4):
        dataset = header(number, StudyInstanceUID=f"1.2.{number}")
        images = [SourceImage(dataset, findings("Mass"))]
        report = structured_report(images, MODEL, ReportOptions(), (), STARTED)
        made = (*secondary_captures(analysis(*images)), report)
        for kind, encoded in enumerate(made):
            (tmp_path / f"pacs/{number}-{kind}.dcm").write_bytes(part10(encoded))
    captions = {f"1.2.{number}": f"PHANTOM{number}" for number in range(3)}
    assert write_contact_sheet(tmp_path / "pacs", captions, tmp_path / "pages.png") == 3
    sheet = np.asarray(Image.open(tmp_path / "pages.png").convert("L"))
    thirds = np.array_split(sheet, 3, axis=1)
    assert all(third.max() > 200 for third in thirds)
    assert write_contact_sheet(tmp_path / "pacs", {"1.9": "absent"}, tmp_path / "none.png") == 0
    assert not (tmp_path / "none.png").exists()
