"""Deciding whether a site's own map of probabilities takes the place of a bundle's, for one finding.

A map is taken only if, on patients that it was not fitted on, its log loss is lower than that of the bundle's own
probability and than that of the site's prevalence, each by an interval above zero, and its Brier score is not higher
than either. There is no shift of the prevalence by itself, and no labels are guessed (EM): both made things worse where
they were measured.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from inference.arrays import FloatArray
from inference.evaluation.call_figures import Flags
from inference.probability import log_odds, sigmoid
from inference.serving.operating_points import Point
from inference.serving.site_calibration import mapped
from inference.training.site.crossfit import fit_map, folds_of, held_out, mean_with_interval
from inference.training.site.labels import Labels
from inference.training.site.limits import SiteLimits, lacking

KINDS = ("platt", "isotonic")


def judged_map(labels: Labels, points: Mapping[str, Point | None], limits: SiteLimits) -> dict[str, Any]:
    """Return what was compared for one finding, the "map" that is taken or None, the "decision" and the "reason"."""
    y, patients = labels.targets, labels.patients
    found: dict[str, Any] = {"labels": len(y), "positives": int(y.sum()), "patients": len(set(patients)), "map": None,
                             "decision": "kept: shipped"}  # fmt: skip
    if lack := lacking(labels, points, limits):
        return found | {"reason": lack}
    logits = np.asarray(log_odds(labels.probabilities))
    folds = folds_of(patients, y, limits.folds)
    columns = {"shipped": labels.probabilities, "constant": np.full(len(y), y.mean())}
    for kind in KINDS:
        columns[kind] = held_out(folds, partial(_mapped_after, kind, logits, y))
    losses = {name: _log_loss(p, y) for name, p in columns.items()}
    brier = {name: (p - y) ** 2 for name, p in columns.items()}
    gains = {
        kind: {over: mean_with_interval(losses[over] - losses[kind], patients, limits.rounds)
               for over in ("shipped", "constant")}
        for kind in KINDS
    }  # fmt: skip
    means = {"log_loss": _means(losses), "brier": _means(brier)}
    good = [kind for kind in KINDS if _better(gains[kind], means["brier"], kind)]
    found |= means | {"gain": gains}
    if not good:
        return found | {"reason": _why_not(gains, means)}
    kind = good[0]
    if len(good) > 1 and mean_with_interval(losses["platt"] - losses["isotonic"], patients, limits.rounds)[1] > 0:
        kind = "isotonic"
    return found | {"map": fit_map(kind, logits, y), "decision": f"taken: {kind.capitalize()}",
                    "reason": f"its log loss is lower, by {_said(gains[kind]['shipped'])} than what ships and by "
                              f"{_said(gains[kind]['constant'])} than the constant"}  # fmt: skip


def _mapped_after(kind: str, logits: FloatArray, targets: FloatArray, fit: Flags, judge: Flags) -> Any:
    """Return the probabilities of the rows `judge` after the map that was fitted to the rows `fit`."""
    return sigmoid(mapped(fit_map(kind, logits[fit], targets[fit]), logits[judge]))


def _log_loss(probabilities: FloatArray, targets: FloatArray) -> FloatArray:
    return np.asarray(-np.log(np.where(targets > 0, probabilities, 1 - probabilities)))


def _means(columns: dict[str, FloatArray]) -> dict[str, float]:
    return {name: round(float(values.mean()), 4) for name, values in columns.items()}


def _better(gains: dict[str, list[float]], brier: dict[str, float], kind: str) -> bool:
    lower = all(low > 0 for _, low, _ in gains.values())
    return lower and brier[kind] <= min(brier["shipped"], brier["constant"])


def _why_not(gains: dict[str, dict[str, list[float]]], means: dict[str, dict[str, float]]) -> str:
    """Return a sentence about the better of the two maps."""
    kind = min(KINDS, key=lambda name: means["log_loss"][name])
    for over, words in (("shipped", "than what ships"), ("constant", "than the site's prevalence alone")):
        if gains[kind][over][1] <= 0:
            return f"{kind.capitalize()} is not surely better {words}: log loss lower by {_said(gains[kind][over])}"
    return f"{kind.capitalize()} has a lower log loss but not a lower Brier score"


def _said(gain: list[float]) -> str:
    return f"{gain[0]:.3f} ({gain[1]:.3f} to {gain[2]:.3f})"
