"""Fitting which calls a bundle may make: what it assesses, and from which probability on, for each view.

The figures come from patients whom the networks have not seen. A threshold is the lowest probability from which on
calls are right often enough and speak for the finding strongly enough, each by its lower limit over other patients, and
from which on images without any finding are called seldom enough, over all findings together.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from inference.arrays import Array, FloatArray
from inference.evaluation.call_figures import Flags, call_figures, finding_calls, likely_figures
from inference.evaluation.metrics import auroc, bootstrap, interval
from inference.probability import log_odds
from inference.serving.operating_points import AP, PA

TRUE_PATIENTS = 10  # patients in whom a call must have been right
FINEST = 400  # thresholds that are tried for a finding


@dataclass(frozen=True)
class CallLimits:
    """What a finding needs to be assessed, and a probability to be above its threshold."""

    auroc: float = 0.70  # lower limit of the interval by patient
    ppv: float = 0.35  # lower limit of the positive predictive value
    lr_plus: float = 5.0  # lower limit of the positive likelihood ratio
    tail: float = 0.2  # share of samples of patients that may lie below the two limits before
    false_calls: float = 0.03  # share of the images without a finding, of one view, with any finding above
    least: float = 0.0  # no threshold is lower, no lower edge below its half; for findings that are always told apart
    near: float = 2.0  # how many times as many images without a finding are near or above as are above
    rounds: int = 200


@dataclass(frozen=True)
class Judged:
    """Calibrated probabilities of pictures whose findings are known. The last column is any finding."""

    names: tuple[str, ...]  # findings, and "Pathology"
    probabilities: FloatArray  # [n, names]
    targets: Array  # [n, names]: 0, 1, or nan where a finding is not labelled
    patients: npt.NDArray[np.str_]  # [n]
    views: npt.NDArray[np.str_]  # [n], "PA", "AP", or another text if the view is not known

    def of_view(self, view: str) -> "Judged":
        """Return the rows of one view. Rows of unknown view belong to both."""
        return self._take(np.flatnonzero((self.views == view) | ~np.isin(self.views, (PA, AP))))

    def labelled(self, k: int) -> "Judged":
        """Return the rows in which column `k` is labelled."""
        return self._take(np.flatnonzero(np.isfinite(self.targets[:, k])))

    def _take(self, rows: npt.NDArray[np.int64]) -> "Judged":
        return Judged(self.names, self.probabilities[rows], self.targets[rows], self.patients[rows], self.views[rows])

    @property
    def healthy(self) -> Flags:
        """Which rows have no finding."""
        return np.asarray(self.targets[:, -1] == 0)


def fit_calls(judged: Judged, limits: CallLimits | None = None) -> dict[str, Any]:
    """Return what configs/calibration.json says of calls: {"findings", "pathology", "most_likely", "evidence"}.

    "findings" and "pathology" hold the parts of the rows that concern calls.
    """
    limits = limits or CallLimits()
    areas = [_area(judged, k, limits) for k in range(len(judged.names))]
    assessed = [area[1] >= limits.auroc for area in areas]
    views = {view: fit_view(judged.of_view(view), assessed, limits) for view in (PA, AP)}
    rows = [
        {"assessed": assessed[k], "auroc": areas[k], "views": {view: points[k] for view, points in views.items()}}
        for k in range(len(judged.names))
    ]
    points = thresholds(judged, rows)
    called = np.asarray(judged.probabilities[:, :-1] >= points)
    rule, likely = _most_likely(judged, points, limits)
    return {
        "findings": dict(zip(judged.names[:-1], rows[:-1], strict=True)), "pathology": rows[-1], "most_likely": rule,
        "evidence": {"images": len(judged.views), "patients": len(set(judged.patients)), "limits": asdict(limits),
                     "most_likely": likely, "views": evidence(judged, called, limits.rounds)},
    }  # fmt: skip


def _area(judged: Judged, k: int, limits: CallLimits) -> list[float]:
    """Return the AUROC with the limits of its interval by patient; 0 if it cannot be computed."""
    judged = judged.labelled(k)
    p, y = judged.probabilities[:, k], judged.targets[:, k]
    if not 0 < y.sum() < len(y):
        return [0.0, 0.0, 0.0]
    low, high = interval(bootstrap(lambda rows: auroc(p[rows], y[rows]), judged.patients, limits.rounds))
    return [round(area, 4) for area in (auroc(p, y), low, high)]


def fit_view(judged: Judged, assessed: Sequence[bool], limits: CallLimits) -> list[dict[str, Any] | None]:
    """Return the point of each column, or None where no probability satisfies the limits."""
    if not judged.healthy.any():
        return [None] * len(assessed)
    lowest = [lowest_point(judged, k, limits) if fit else np.inf for k, fit in enumerate(assessed)]
    points = np.maximum(_raised(judged, np.array(lowest), limits.false_calls), limits.least)
    return [_row(judged, k, float(point), limits) if np.isfinite(point) else None for k, point in enumerate(points)]


def lowest_point(judged: Judged, k: int, limits: CallLimits) -> float:
    """Return the lowest probability from which on the calls of column `k` satisfy the limits; infinity if none does.

    A limit is satisfied if all but the share `tail` of the samples of patients satisfy it.
    """
    judged = judged.labelled(k)
    p, y = judged.probabilities[:, k], judged.targets[:, k] > 0
    order = np.argsort(-p, kind="stable")
    ends = np.unique(np.linspace(0, len(p) - 1, min(FINEST, len(p))).astype(int))
    weights = _samples(judged.patients, limits.rounds)[:, order]
    true, false = (np.cumsum(weights * mask[order], axis=1) for mask in (y, ~y))
    hits, alarms = true[:, ends], false[:, ends]
    with np.errstate(divide="ignore", invalid="ignore"):
        ppv = np.where(hits + alarms > 0, hits / (hits + alarms), 0.0)
        lr_plus = (hits / true[:, -1:]) / np.maximum(alarms / false[:, -1:], 1e-9)
    enough = np.quantile(ppv, limits.tail, axis=0) >= limits.ppv
    enough &= np.quantile(np.nan_to_num(lr_plus), limits.tail, axis=0) >= limits.lr_plus
    seen = [len(set(judged.patients[order[: end + 1]][y[order[: end + 1]]])) >= TRUE_PATIENTS for end in ends]
    good = np.flatnonzero(enough & np.array(seen))
    return float(p[order[ends[good[-1]]]]) if len(good) else np.inf


def _samples(patients: npt.NDArray[np.str_], rounds: int) -> FloatArray:
    """Return how often each row is in each sample of patients with replacement, [rounds, n]."""
    _, codes = np.unique(patients, return_inverse=True)
    count, rng = int(codes.max()) + 1, np.random.default_rng(0)
    return np.stack([rng.multinomial(count, np.full(count, 1 / count))[codes] for _ in range(rounds)]).astype(float)


def _raised(judged: Judged, lowest: FloatArray, share: float) -> FloatArray:
    """Return the points, raised until at most `share` of the images without a finding reach any of them.

    Each point is then reached by at most the same number of these images as the others, or is where it was.
    """
    healthy = np.sort(judged.probabilities[judged.healthy], axis=0)[::-1]
    for allowed in range(len(healthy), -1, -1):
        edge = healthy[allowed] if allowed < len(healthy) else np.zeros(len(lowest))
        points = np.maximum(lowest, np.nextafter(edge, 1))
        if (judged.probabilities[judged.healthy] >= points).any(axis=1).mean() <= share:
            break
    return np.asarray(points)


def _row(judged: Judged, k: int, point: float, limits: CallLimits) -> dict[str, Any] | None:
    """Return the point as a row of the file: rounded up, with its lower edge and what it was worth."""
    threshold = np.ceil(point * 1e6) / 1e6
    p = judged.probabilities[judged.healthy, k]
    share = min(1.0, limits.near * max(float((p >= threshold).mean()), 1 / len(p)))
    worth = finding_calls(judged.probabilities[:, k] >= threshold, judged.targets[:, k])
    if not worth["called"] or not 0 < threshold < 1:
        return None
    least = max(limits.least / 2, 2e-6)
    near = min(np.floor(max(float(np.quantile(p, 1 - share)), least) * 1e6) / 1e6, threshold)
    return {"threshold": round(float(threshold), 6), "near": round(float(near), 6)} | {
        name: value if isinstance(value, int) else round(value, 4) if np.isfinite(value) else None
        for name, value in worth.items()
    }


def thresholds(judged: Judged, rows: Sequence[dict[str, Any]]) -> FloatArray:
    """Return the threshold of each finding for the view of each row, [n, findings], infinity where there is none.

    `rows` are as `fit_calls` returns them.
    """
    points = [[(row["views"][view] or {"threshold": np.inf})["threshold"] for row in rows[:-1]] for view in (PA, AP)]
    table = np.array([*points, np.max(points, axis=0)])
    place = np.where(judged.views == PA, 0, np.where(judged.views == AP, 1, 2))
    return np.asarray(table[place])


def evidence(judged: Judged, called: Flags, rounds: int) -> dict[str, Any]:
    """Return the figures of `call_figures` for each view."""
    found = {}
    for view in (PA, AP):
        rows = judged.views == view
        if rows.any():
            sick, targets = judged.targets[rows, -1], judged.targets[rows, :-1]
            figures = call_figures(called[rows], targets, sick, judged.patients[rows], rounds)
            found[view] = {key: _rounded(value) for key, value in figures.items()}
    return found


def _rounded(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_rounded(item) for item in value]
    return value if isinstance(value, int) else round(value, 4) if np.isfinite(value) else None


def _most_likely(judged: Judged, points: FloatArray, limits: CallLimits) -> tuple[str | None, dict[str, Any]]:
    """Return the better rule, and the figures of both. It is None if neither beats the commonest label for sure."""
    p = judged.probabilities[:, :-1]
    called = p >= points
    ranks = {"probability": p, "score": log_odds(p) - log_odds(np.minimum(points, 1))}
    found = {}
    for rule, rank in ranks.items():
        named = np.where(called.any(axis=1), np.where(called, rank, -np.inf).argmax(axis=1), -1)
        figures = likely_figures(named, judged.targets[:, :-1], judged.patients, limits.rounds)
        found[rule] = {key: _rounded(value) for key, value in figures.items()}
    good = [rule for rule, f in found.items() if f["images"] and f["gain_interval"][0] > 0]
    return max(good, key=lambda rule: float(found[rule]["gain"]), default=None), found
