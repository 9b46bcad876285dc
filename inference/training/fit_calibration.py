"""Fitting a bundle's probabilities (Platt 1999). `fit_calls` fits the operating points."""

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

    Rows whose target is nan do not count. `weights` [n] are those of the rows. The fitted weights are regularised
    towards `towards` [d], by default 0, with the given strength.
    """
    w = np.ones(len(targets)) if weights is None else np.asarray(weights, np.float64)
    known = np.isfinite(targets)
    x, y, w = np.asarray(inputs, np.float64)[known], np.asarray(targets, np.float64)[known], w[known]
    centre = np.zeros(x.shape[1]) if towards is None else np.asarray(towards, np.float64)

    def loss(theta: FloatArray) -> tuple[float, FloatArray]:
        z = x @ theta[:-1] + theta[-1]
        error = w * (sigmoid(z) - y)
        pull = theta[:-1] - centre
        value = float(np.sum(w * (np.logaddexp(0, z) - y * z)) + 0.5 * strength * pull @ pull)
        return value, np.append(x.T @ error + strength * pull, error.sum())

    found = minimize(loss, np.append(centre, 0.0), jac=True, method="L-BFGS-B", options={"maxiter": 1000})
    return found.x[:-1], float(found.x[-1])
