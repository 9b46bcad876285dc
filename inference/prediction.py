"""The classifier's answer for an image, and for a study."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from inference.probability import sigmoid

#: The calls. There is none for the absence of a finding: below its threshold it is undetermined.
ABOVE, NEAR, BELOW, NOT_ASSESSED = "above", "near", "below", "not-assessed"
_RANK = {ABOVE: 3, NEAR: 2, BELOW: 1, NOT_ASSESSED: 0}
ANY_FINDING = "Any finding"


@dataclass(frozen=True)
class Finding:
    """One finding: its calibrated probability, the threshold for the image's view, and the call.

    Of a finding that is not assessed, threshold and margin are None.
    """

    finding: str  # the label of the bundle, or ANY_FINDING
    probability: float
    threshold: float | None
    call: str  # one of the four above
    margin: float | None = None  # log-odds of the probability minus log-odds of the threshold
    shipped: float | None = None  # the bundle's own probability, where a site's calibration has replaced it

    @property
    def score(self) -> int | None:
        """Where the probability stands, 0 to 100: 50 or more exactly if the finding is above its threshold."""
        if self.margin is None:
            return None
        score = round(100 * float(sigmoid(self.margin)))
        return max(score, 50) if self.call == ABOVE else min(score, 49)


@dataclass(frozen=True)
class Outlined:
    """One structure that a segmentation found in a picture."""

    structure: str  # the label of the bundle
    mask: npt.NDArray[np.bool_] = field(compare=False, repr=False)  # [rows, columns] of the picture
    count: int | None  # how many regions the mask has; None where they are not counted
    area_pixels: int  # of the mask, in pixels of the picture
    share: float | None  # of the area of `share_of` that the mask covers; None where that is empty
    share_of: str  # "picture", or labels of the bundle joined by " + "

    def to_json(self) -> dict[str, Any]:
        """Return what `hilum predict --json` says of the structure; the share is rounded to four decimals."""
        counted = {} if self.count is None else {"count": self.count}
        area = {"area_pixels": self.area_pixels, "area_share": _rounded(self.share), "share_of": self.share_of}
        return {"structure": self.structure} | counted | area


@dataclass(frozen=True)
class Prediction:
    """The answer for one image, or the summary of a study. If `analysed` is False, only `reason` is filled in.

    A classification has findings, a segmentation has structures that are outlined.
    """

    analysed: bool
    reason: str = ""
    any_finding: Finding | None = None  # above if one of the findings is; near if one is near
    most_likely: Finding | None = None  # None unless any finding is above, and if the bundle has no rule for it
    findings: tuple[Finding, ...] = ()
    outlined: tuple[Outlined, ...] = ()

    @property
    def pathology(self) -> bool | None:
        """True if any finding is above its threshold, else None: that there is none is never said."""
        return True if self.any_finding and self.any_finding.call == ABOVE else None

    @property
    def pathology_probability(self) -> float | None:
        """The calibrated probability that any finding is there."""
        return self.any_finding.probability if self.any_finding else None

    def to_json(self, file: str, model: dict[str, str]) -> dict[str, Any]:
        """Return the object that the command line and the HTTP interface answer with.

        `model` holds the model's name, version and digest. Probabilities are rounded to four decimals. Threshold and
        score of a finding that is not assessed are null. Where a site's calibration is in force, "shipped_..." says
        what the bundle's own gives.
        """
        head: dict[str, Any] = {"file": file, "analysed": self.analysed}
        if not self.analysed:
            return head | {"reason": self.reason, "model": model}
        if self.outlined:
            structures = [one.to_json() for one in self.outlined]
            return head | {"findings": [], "structures": structures, "model": model}
        likely, overall = self.most_likely, self.any_finding
        return head | {
            "pathology": self.pathology,
            "pathology_probability": _rounded(self.pathology_probability),
            **_shipped("shipped_pathology_probability", overall.shipped if overall else None),
            "most_likely": likely and {"finding": likely.finding, "probability": _rounded(likely.probability)},
            "findings": [_finding_json(f) for f in self.findings],
            "model": model,
        }


def refused(reason: str) -> Prediction:
    """Return the answer for an image that was not analysed."""
    return Prediction(analysed=False, reason=reason)


def strongest(findings: Iterable[Finding]) -> Finding | None:
    """Return the finding with the highest call and, among those, the highest score; None if there is none.

    Findings that are not assessed come last.
    """
    return max(findings, key=_strength, default=None)


def _strength(finding: Finding) -> tuple[int, float]:
    return _RANK[finding.call], finding.probability if finding.margin is None else finding.margin


def most_likely(findings: Sequence[Finding], rule: str | None) -> Finding | None:
    """Return the finding that the bundle's rule names among those that have the highest call.

    The rule "probability" names the one with the highest probability, "score" the one with the highest score. None for
    a bundle without a rule, and if no finding is assessed.
    """
    first = strongest(findings)
    if rule is None or first is None or first.margin is None:
        return None
    alike = [f for f in findings if f.call == first.call]
    return max(alike, key=lambda f: f.probability) if rule == "probability" else first


def study_summary(predictions: Sequence[Prediction], rule: str | None = None) -> Prediction:
    """Return the answer for a study: of each finding, and of any finding, the strongest over its images.

    Images that were not analysed do not count. If none was analysed, the answer gives all their reasons. `rule` is that
    of `most_likely`.
    """
    analysed = [p for p in predictions if p.analysed]
    if not analysed:
        return refused("; ".join(dict.fromkeys(p.reason for p in predictions)) or "no image")
    columns = zip(*(p.findings for p in analysed), strict=True)
    findings = tuple(found for column in columns if (found := strongest(column)))
    overall = strongest(p.any_finding for p in analysed if p.any_finding)
    likely = most_likely(findings, rule) if overall and overall.call == ABOVE else None
    return Prediction(True, "", overall, likely, findings)


def _finding_json(finding: Finding) -> dict[str, Any]:
    return {
        "finding": finding.finding,
        "probability": _rounded(finding.probability),
        **_shipped("shipped_probability", finding.shipped),
        "threshold": _rounded(finding.threshold),
        "score": finding.score,
        "call": finding.call,
    }


def _shipped(key: str, probability: float | None) -> dict[str, float | None]:
    return {} if probability is None else {key: _rounded(probability)}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
