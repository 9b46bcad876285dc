"""Judging what was fitted on patients that it was not fitted on."""

from collections.abc import Callable
from hashlib import sha256
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import isotonic_regression

from inference.arrays import FloatArray
from inference.probability import log_odds
from inference.training.fit_calibration import fit_platt

Numbers = npt.NDArray[np.int64]
FLATTEST = 0.05  # the least scale of a map


def fit_map(kind: str, logits: FloatArray, targets: FloatArray) -> dict[str, Any]:
    """Return the map of `inference.serving.site_calibration` of this kind that fits best; `logits`, `targets` [n]."""
    if kind == "platt":
        scale, offset = fit_platt(logits, targets)
        return {"kind": kind, "scale": round(max(scale, FLATTEST), 6), "offset": round(offset, 6)}
    values, place, counts = np.unique(logits, return_inverse=True, return_counts=True)
    shares = np.bincount(place, weights=targets) / counts
    fitted = isotonic_regression(shares, weights=counts.astype(np.float64))
    edges = fitted.blocks[:-1]
    weight = np.add.reduceat(counts, edges)
    centres = np.add.reduceat(values * counts, edges) / weight
    least = 1 / (len(targets) + 2)  # a block without a positive, or with nothing else, is not certain
    heights = log_odds(np.clip(fitted.x[edges], least, 1 - least))
    grows = np.append(True, np.diff(heights) > 0)
    return {"kind": kind, "from": [round(float(x), 6) for x in centres[grows]],
            "to": [round(float(y), 6) for y in heights[grows]]}  # fmt: skip


def folds_of(patients: npt.NDArray[np.str_], targets: FloatArray, count: int) -> Numbers:
    """Return the fold of each row: whole patients, those with a positive row spread evenly over the folds."""
    positive = set(patients[targets > 0])
    order = sorted(set(patients), key=lambda p: (p not in positive, sha256(str(p).encode()).hexdigest()))
    fold = {patient: number % count for number, patient in enumerate(order)}
    return np.array([fold[patient] for patient in patients], np.int64)


def held_out(folds: Numbers, fitted: Callable[[npt.NDArray[np.bool_], npt.NDArray[np.bool_]], Any]) -> FloatArray:
    """Return `fitted(rows to fit on, rows to judge)` for each fold's rows, put together, [n]."""
    result = np.zeros(len(folds))
    for number in np.unique(folds):
        result[folds == number] = fitted(folds != number, folds == number)
    return result


def mean_with_interval(values: FloatArray, patients: npt.NDArray[np.str_], rounds: int) -> list[float]:
    """Return the mean of `values` [n] with the limits of its 95 % interval, by samples of patients."""
    _, codes = np.unique(patients, return_inverse=True)
    count = int(codes.max()) + 1
    sums, sizes = np.bincount(codes, weights=values), np.bincount(codes).astype(np.float64)
    drawn = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), size=rounds)
    low, high = np.quantile((drawn @ sums) / (drawn @ sizes), [0.025, 0.975])
    return [round(float(value), 4) for value in (values.mean(), low, high)]
