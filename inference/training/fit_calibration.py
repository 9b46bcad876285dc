"""Fitting a bundle's calibration: probabilities (Platt 1999), operating points, and the bands around them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.optimize import minimize

from inference.arrays import FloatArray
from inference.probability import sigmoid


def fit_platt(logits: FloatArray, targets: FloatArray, weights: FloatArray | None = None) -> tuple[float, float]:
    """Return the (scale, offset) of least cross-entropy. `logits`, `targets` (0 or 1) and `weights` are [n].

    A weak regularisation towards scale 1 keeps the scale of a finding with few positives from becoming negative.
    """
    fitted, offset = fit_logistic(logits[:, None], targets, weights, towards=np.ones(1), strength=1.0)
    return float(fitted[0]), offset


def fit_logistic(
    inputs: FloatArray,
    targets: FloatArray,
    weights: FloatArray | None = None,
    towards: FloatArray | None = None,
    strength: float = 1.0,
) -> tuple[FloatArray, float]:
    """Return (weights [d], offset) of the logistic regression of `targets` [n] on `inputs` [n, d].

    `weights` [n] are those of the rows. The fitted weights are regularised towards `towards` [d], by default 0, with
    the given strength.
    """
    x, y = np.asarray(inputs, np.float64), np.asarray(targets, np.float64)
    w = np.ones(len(y)) if weights is None else np.asarray(weights, np.float64)
    centre = np.zeros(x.shape[1]) if towards is None else np.asarray(towards, np.float64)

    def loss(theta: FloatArray) -> tuple[float, FloatArray]:
        z = x @ theta[:-1] + theta[-1]
        error = w * (sigmoid(z) - y)
        pull = theta[:-1] - centre
        value = float(np.sum(w * (np.logaddexp(0, z) - y * z)) + 0.5 * strength * pull @ pull)
        return value, np.append(x.T @ error + strength * pull, error.sum())

    found = minimize(loss, np.append(centre, 0.0), jac=True, method="L-BFGS-B", options={"maxiter": 1000})
    return found.x[:-1], float(found.x[-1])


def fit_threshold(probabilities: FloatArray, targets: FloatArray) -> float:
    """Return the threshold with the largest sensitivity + specificity (Youden 1950), midway between two probabilities.

    It is 0.5 if all targets are equal.
    """
    order = np.argsort(probabilities)
    p, y = np.asarray(probabilities, np.float64)[order], np.asarray(targets)[order] > 0
    if y.all() or not y.any():
        return 0.5
    missed = np.concatenate([[0], np.cumsum(y)])
    spared = np.concatenate([[0], np.cumsum(~y)])
    gain = spared / spared[-1] - missed / missed[-1]
    gain[1:-1][p[1:] == p[:-1]] = -np.inf  # equal probabilities cannot be told apart
    cut = int(np.argmax(gain))
    edges = np.concatenate([[p[0]], (p[1:] + p[:-1]) / 2, [p[-1]]])
    return float(np.clip(edges[cut], 1e-4, 1 - 1e-4))


def fit_band(
    probabilities: FloatArray, targets: FloatArray, groups: Sequence[Any], threshold: float, share: float = 0.8,
    rounds: int = 200, seed: int = 0,
) -> tuple[float, float]:  # fmt: skip
    """Return the band (lower edge, upper edge) around `threshold`, within which the call is undetermined.

    It holds the central `share` of the operating points of `rounds` bootstrap samples by group (patient). Within it,
    the call would depend on the patients to whom the threshold was fitted.
    """
    rng = np.random.default_rng(seed)
    names, codes = np.unique(np.asarray(groups), return_inverse=True)
    order = np.argsort(codes, kind="stable")
    members = np.split(order, np.cumsum(np.bincount(codes))[:-1])
    picks = (rng.integers(0, len(names), len(names)) for _ in range(rounds))
    samples = (np.concatenate([members[i] for i in pick]) for pick in picks)
    points = [fit_threshold(probabilities[rows], np.asarray(targets)[rows]) for rows in samples]
    low, high = np.quantile(points, [(1 - share) / 2, (1 + share) / 2])
    return float(min(low, threshold)), float(max(high, threshold))
