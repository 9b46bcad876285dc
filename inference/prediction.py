"""The classifier's answer for an image, and for a study."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Finding:
    """One finding: its calibrated probability, the threshold of its operating point, and the call."""

    finding: str  # the label of the bundle
    probability: float
    threshold: float
    call: str  # "present", "absent" or "undetermined" (inside the band around the threshold)
    margin: float = 0.0  # log-odds of the probability minus log-odds of the threshold


@dataclass(frozen=True)
class Prediction:
    """The answer for one image, or the summary of a study. If `analysed` is False, only `reason` is filled in."""

    analysed: bool
    reason: str = ""
    pathology: bool | None = None  # None: undetermined, or not analysed
    pathology_probability: float | None = None
    most_likely: Finding | None = None
    findings: tuple[Finding, ...] = ()

    def to_json(self, file: str, model: dict[str, str]) -> dict[str, Any]:
        """Return the object that the command line and the HTTP interface answer with.

        `model` holds the model's name, version and digest. Probabilities are rounded to four decimals.
        """
        head: dict[str, Any] = {"file": file, "analysed": self.analysed}
        if not self.analysed:
            return head | {"reason": self.reason, "model": model}
        likely = self.most_likely
        return head | {
            "pathology": self.pathology,
            "pathology_probability": _rounded(self.pathology_probability),
            "most_likely": likely and {"finding": likely.finding, "probability": _rounded(likely.probability)},
            "findings": [_finding_json(f) for f in self.findings],
            "model": model,
        }


def refused(reason: str) -> Prediction:
    """Return the answer for an image that was not analysed."""
    return Prediction(analysed=False, reason=reason)


def most_likely(findings: Sequence[Finding]) -> Finding | None:
    """Return the finding furthest above its own threshold in log-odds; None if there are no findings.

    The finding with the highest probability would be the commonest one on nearly every image. Probabilities are
    compared with thresholds rather than with prevalences so that, if any finding reaches its threshold, the one
    returned does too.
    """
    return max(findings, key=lambda f: f.margin, default=None)


def study_summary(predictions: Sequence[Prediction]) -> Prediction:
    """Return the answer for a study: the highest probability of each finding, and of any pathology, over its images.

    Images that were not analysed do not count. If none was analysed, the answer gives all their reasons.
    """
    analysed = [p for p in predictions if p.analysed]
    if not analysed:
        return refused("; ".join(dict.fromkeys(p.reason for p in predictions)) or "no image")
    columns = zip(*(p.findings for p in analysed), strict=True)
    findings = tuple(max(column, key=lambda f: f.probability) for column in columns)
    top = max(analysed, key=lambda p: p.pathology_probability or 0.0)
    return Prediction(True, "", top.pathology, top.pathology_probability, most_likely(findings), findings)


def _finding_json(finding: Finding) -> dict[str, Any]:
    return {
        "finding": finding.finding,
        "probability": _rounded(finding.probability),
        "threshold": _rounded(finding.threshold),
        "call": finding.call,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
