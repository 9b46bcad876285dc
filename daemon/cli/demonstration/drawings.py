"""What was drawn beside what was found: whether the demonstration's answers are right."""

from collections.abc import Sequence
from typing import Any

from daemon.cli.demonstration.phantom import LABELS
from dicom_io.phantom.studies import PhantomStudy

NOTHING, NOT_ANALYSED = "nothing", "not analysed"
OTHERWISE = {"ignored": "a hand", "refused": "a faulty picture"}  # what is drawn where no chest is to be analysed


def drawn(study: PhantomStudy) -> str:
    """Return what a study shows, in the words of the table."""
    if study.expectation != "analysed":
        return OTHERWISE[study.expectation]
    return LABELS[study.finding] or NOTHING


def found(findings: Sequence[dict[str, Any]]) -> str:
    """Return the findings of a study that are above their thresholds, the most probable first."""
    if not findings:
        return NOT_ANALYSED
    above = [f for f in findings if f["call"] == "above"]
    return ", ".join(f["finding"] for f in sorted(above, key=lambda f: -f["probability"])) or NOTHING


def agree(shown: str, seen: str) -> bool:
    """Whether exactly what was drawn was found; what is not to be analysed must not be."""
    return seen == (NOT_ANALYSED if shown in OTHERWISE.values() else shown)


def compared(row: dict[str, Any], studies: dict[str, PhantomStudy]) -> dict[str, Any]:
    """Return the columns drawn, found and agree for a row of the journal; found alone for a study not drawn here."""
    seen = found(row["findings"])
    study = studies.get(row["study_instance_uid"])
    if study is None:
        return {"found": seen}
    return {"drawn": drawn(study), "found": seen, "agree": "yes" if agree(drawn(study), seen) else "NO"}


def agreement(rows: Sequence[dict[str, Any]]) -> str:
    """Return the sentence that counts the radiographs on which drawn and found agree; "" if none was drawn."""
    judged = [row for row in rows if row.get("drawn") and row["drawn"] not in OTHERWISE.values()]
    if not judged:
        return ""
    right = sum(row["agree"] == "yes" for row in judged)
    return f"Drawn and found agree for {right} of {len(judged)} drawn chests."
