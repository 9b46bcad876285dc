"""Studies with results and readers' verdicts on them, as the journal keeps both."""

from typing import Any

from storage.analyses import InstanceOutcome, UsedModel
from storage.journal import Journal
from storage.journal.feedback import Judgement
from tests.support.studies import at, image, outcome, take_up

MODEL = {"name": "made", "version": "1", "digest": "sha256:" + "a" * 64}


def found(finding: str, call: str, probability: float = 0.5, score: int | None = 50) -> dict[str, Any]:
    """A finding in a result."""
    return {"finding": finding, "probability": probability, "threshold": 0.5, "score": score, "call": call}


def result(*findings: dict[str, Any], model: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
    """The result of an image, as the journal keeps it."""
    above = any(f["call"] == "above" for f in findings)
    return {"analysed": True, "pathology": above or None, "pathology_probability": 0.3, "most_likely": None,
            "findings": list(findings), "model": model or MODEL, **more}  # fmt: skip


def with_results(journal: Journal, study: str, *results: dict[str, Any], seconds: float = 0, **more: Any) -> list[str]:
    """A study of an image for each result; the SOP Instance UIDs."""
    for number in range(1, len(results) + 1):
        journal.received(image(study, number, **more), at(seconds))
    (taken,) = take_up(journal, seconds + 60)
    judged = [InstanceOutcome(i.id, "analysed", "", r) for i, r in zip(taken.instances, results, strict=True)]
    model = UsedModel("model", MODEL["name"], MODEL["version"], MODEL["digest"])
    journal.analysed(taken, outcome(taken, results=judged, model=model), at(seconds + 61))
    return [i.sop_instance_uid for i in taken.instances]


def judged(
    journal: Journal, study: str, finding: str, verdict: str, seconds: float = 100, reader: str = "Dr A", **more: Any
) -> dict[str, Any]:
    """The row of a verdict."""
    return journal.judge(Judgement(study, finding, verdict, reader, **more), at(seconds), "operator test")
