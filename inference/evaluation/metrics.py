"""Comparing scores with targets of 0 or 1: discrimination, operating points, calibration, and intervals by patient.

A row whose target is nan is not labelled. It does not count in any figure.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from inference.arrays import FloatArray

Metric = Callable[[FloatArray, FloatArray], float]


def labelled(targets: FloatArray, *others: FloatArray) -> tuple[FloatArray, ...]:
    """Return `targets` and the `others`, [n, ...] each, without the rows whose target is nan."""
    known = np.isfinite(targets)
    return (targets, *others) if known.all() else (targets[known], *(other[known] for other in others))


def auroc(scores: FloatArray, targets: FloatArray) -> float:
    """Return the area under the ROC curve, in which ties count half; nan unless both classes are present."""
    targets, scores = labelled(targets, scores)
    positive = targets > 0
    n1, n0 = int(positive.sum()), int((~positive).sum())
    if not n1 or not n0:
        return float("nan")
    return float((rankdata(scores)[positive].sum() - n1 * (n1 + 1) / 2) / (n1 * n0))


def weighted_auroc(scores: FloatArray, targets: FloatArray, weights: FloatArray) -> float:
    """Return `auroc` of rows that count as often as `weights` says: the share of the pairs that are in order."""
    targets, scores, weights = labelled(targets, scores, weights)
    _, place = np.unique(scores, return_inverse=True)
    positive, negative = (np.bincount(place, weights * part) for part in (targets > 0, targets <= 0))
    pairs = positive.sum() * negative.sum()
    below = np.cumsum(negative) - negative / 2
    return float((positive * below).sum() / pairs) if pairs else float("nan")


def once_each(groups: Sequence[Any] | npt.NDArray[Any]) -> FloatArray:
    """Return weights of the rows with which each group (patient) counts once, however many rows it has."""
    _, codes = np.unique(np.asarray(groups), return_inverse=True)
    return np.asarray(1 / np.bincount(codes)[codes])


def average_precision(scores: FloatArray, targets: FloatArray) -> float:
    """Return the sum over thresholds of precision times the step of recall; nan without positives."""
    precision, recall = precision_recall(scores, targets)
    return float(np.sum(precision * np.diff(recall, prepend=0.0))) if len(recall) else float("nan")


def precision_recall(scores: FloatArray, targets: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return precision and recall at each distinct threshold, from the highest down; empty without positives."""
    targets, scores = labelled(targets, scores)
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(targets[order] > 0)
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1) if len(scores) else np.array([], int)
    if not len(scores) or not hits[-1]:
        return np.array([]), np.array([])
    return hits[ends] / (ends + 1.0), hits[ends] / float(hits[-1])


def roc(scores: FloatArray, targets: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the false and true positive rate at each distinct threshold, from (0, 0) to (1, 1)."""
    targets, scores = labelled(targets, scores)
    order = np.argsort(-scores, kind="stable")
    positive = targets[order] > 0
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    true, false = np.cumsum(positive)[ends], np.cumsum(~positive)[ends]
    return np.append(0.0, false / max(1, false[-1])), np.append(0.0, true / max(1, true[-1]))


def thinned(x: FloatArray, y: FloatArray, most: int = 120) -> list[tuple[float, float]]:
    """Return at most `most` points of a curve, rounded to four decimals."""
    keep = np.unique(np.linspace(0, max(0, len(x) - 1), min(most, len(x))).astype(np.int64))
    return [(round(float(x[i]), 4), round(float(y[i]), 4)) for i in keep]


def brier(probabilities: FloatArray, targets: FloatArray) -> float:
    """Return the mean squared difference of probability and target."""
    targets, probabilities = labelled(targets, probabilities)
    return float(np.mean((probabilities - targets) ** 2))


def reliability(probabilities: FloatArray, targets: FloatArray, bins: int = 10) -> list[tuple[float, float, int]]:
    """Return (mean probability, observed share, number) for bins of equal numbers. Empty bins are left out."""
    targets, probabilities = labelled(targets, probabilities)
    order = np.argsort(probabilities, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    return [(float(probabilities[p].mean()), float(targets[p].mean()), len(p)) for p in parts]


def expected_calibration_error(
    probabilities: FloatArray, targets: FloatArray, bins: int = 10, weights: FloatArray | None = None
) -> float:
    """Return the mean gap between probability and observed share over bins of equal numbers.

    With `weights`, rows count as often as these say.
    """
    targets, probabilities, w = labelled(targets, probabilities, np.ones(len(targets)) if weights is None else weights)
    order = np.argsort(probabilities, kind="stable")
    gaps = [abs(float((w[part] * (probabilities[part] - targets[part])).sum())) for part in np.array_split(order, bins)]
    return float(sum(gaps) / w.sum()) if len(w) else 0.0


def at_threshold(probabilities: FloatArray, targets: FloatArray, threshold: float) -> dict[str, float]:
    """Return accuracy, precision, recall, specificity and F1 if everything from `threshold` on is called present.

    A figure whose denominator is 0 is nan.
    """
    targets, probabilities = labelled(targets, probabilities)
    called, positive = probabilities >= threshold, targets > 0
    tp, fp = int((called & positive).sum()), int((called & ~positive).sum())
    fn, tn = int((~called & positive).sum()), int((~called & ~positive).sum())
    return {
        "accuracy": _share(tp + tn, len(positive)), "precision": _share(tp, tp + fp), "recall": _share(tp, tp + fn),
        "specificity": _share(tn, tn + fp), "f1": _share(2 * tp, 2 * tp + fp + fn),
    }  # fmt: skip


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")


def bootstrap(
    statistic: Callable[[npt.NDArray[np.int64]], Any], groups: Sequence[Any] | npt.NDArray[Any], rounds: int = 200,
    seed: int = 0,
) -> FloatArray:  # fmt: skip
    """Return `statistic(row numbers)` for `rounds` samples of whole groups (patients) with replacement, [rounds, ...].

    `groups` names the group of each row.
    """
    _, codes = np.unique(np.asarray(groups), return_inverse=True)
    order = np.argsort(codes, kind="stable")
    members = np.split(order, np.cumsum(np.bincount(codes))[:-1])
    rng = np.random.default_rng(seed)
    draws = (rng.integers(0, len(members), len(members)) for _ in range(rounds))
    return np.array([statistic(np.concatenate([members[i] for i in draw])) for draw in draws])


def interval(samples: FloatArray, level: float = 0.95) -> tuple[float, float]:
    """Return the central interval of bootstrap samples that holds the share `level`; nan if no sample is finite."""
    good = samples[np.isfinite(samples)]
    if not len(good):
        return float("nan"), float("nan")
    low, high = np.quantile(good, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
