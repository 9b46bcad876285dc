"""From logits to calibrated probabilities and calls, and how both are fitted.

configs/calibration.json:

    {"findings": {"Effusion": {"scale": 1.1, "offset": -0.2,      probability = sigmoid(scale * logit + offset)
                               "threshold": 0.21,                 operating point
                               "band": [0.17, 0.26],              present from the upper edge on, absent below the
                                                                  lower one, undetermined between; default: no band
                               "prevalence": 0.12}, ...},         for the reader, not used
     "pathology": {"weights": {"Effusion": 0.4, ...},             sigmoid(sum of weight * logit of that output + offset)
                   "offset": -1.0, "threshold": 0.5, "band": [0.45, 0.55]}}

A finding that is not named there gets sigmoid(logit) and the threshold 0.5. Without "pathology" its probability is the
highest one of any finding, and it is called present when a finding is; that is no calibrated figure.
Platt, "Probabilistic outputs for support vector machines", 1999; with offset 0 it is temperature scaling (Guo 2017).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.optimize import minimize

from inference.bundle import Bundle
from inference.errors import BundleError
from inference.prediction import Finding, Prediction, most_likely
from inference.probability import Array, log_odds, sigmoid

PRESENT, ABSENT, UNDETERMINED = "present", "absent", "undetermined"
_DEFAULT: dict[str, Any] = {"scale": 1.0, "offset": 0.0, "threshold": 0.5}


def call(probability: float, threshold: float, band: Sequence[float] | None) -> str:
    """`present`, `absent` or `undetermined`."""
    low, high = band if band else (threshold, threshold)
    if probability >= high:
        return PRESENT
    return ABSENT if probability < low else UNDETERMINED


# ---- applying


class Calibration:
    """A bundle's calibration, ready to be applied. Raises BundleError for one that does not fit the bundle."""

    def __init__(self, bundle: Bundle) -> None:
        self.labels, self.outputs = bundle.labels, bundle.outputs
        table = bundle.calibration.get("findings", {})
        self.rows = {label: _DEFAULT | dict(table.get(label, {})) for label in self.labels}
        self.pathology: Mapping[str, Any] | None = bundle.calibration.get("pathology")
        self.where = f"{bundle.directory}/configs/calibration.json"
        self._check()
        self.columns = [self.outputs.index(label) for label in self.labels]
        self.scale = np.array([float(row["scale"]) for row in self.rows.values()])
        self.offset = np.array([float(row["offset"]) for row in self.rows.values()])

    def _check(self) -> None:
        strays = set(self.pathology["weights"]) - set(self.outputs) if self.pathology else set()
        if strays:
            raise BundleError(f"{self.where}: pathology weighs {sorted(strays)}, which are no outputs of the network")
        named = dict(self.rows) | ({"pathology": dict(self.pathology)} if self.pathology else {})
        for name, row in named.items():
            low, high = row.get("band") or (row["threshold"], row["threshold"])
            if not 0 < low <= row["threshold"] <= high < 1:
                raise BundleError(f"{self.where}: {name}: expected 0 < band's lower edge <= threshold <= upper edge "
                                  f"< 1, found {low}, {row['threshold']}, {high}")  # fmt: skip

    def probabilities(self, logits: Array) -> Array:
        """logits [n, outputs] -> calibrated probabilities [n, labels]."""
        result: Array = sigmoid(logits[:, self.columns] * self.scale + self.offset)
        return result

    def pathology_probabilities(self, logits: Array) -> Array:
        """logits [n, outputs] -> the probability of any pathology [n]."""
        if not self.pathology:
            highest: Array = self.probabilities(logits).max(axis=1)
            return highest
        weights = np.array([float(self.pathology["weights"].get(name, 0.0)) for name in self.outputs])
        result: Array = sigmoid(logits @ weights + float(self.pathology["offset"]))
        return result

    def predictions(self, logits: Array) -> list[Prediction]:
        """logits [n, outputs] -> an analysed Prediction for each row."""
        rows = zip(self.probabilities(logits), self.pathology_probabilities(logits), strict=True)
        return [self._prediction([float(p) for p in row], float(any_)) for row, any_ in rows]

    def _prediction(self, row: Sequence[float], pathology: float) -> Prediction:
        findings = tuple(self._finding(label, p) for label, p in zip(self.labels, row, strict=True))
        verdict = self._pathology_call(pathology, findings)
        return Prediction(True, "", verdict, pathology, most_likely(findings), findings)

    def _finding(self, label: str, probability: float) -> Finding:
        row = self.rows[label]
        threshold = float(row["threshold"])
        margin = float(log_odds(probability) - log_odds(threshold))
        return Finding(label, probability, threshold, call(probability, threshold, row.get("band")), margin)

    def _pathology_call(self, probability: float, findings: Sequence[Finding]) -> bool | None:
        if self.pathology:
            verdict = call(probability, float(self.pathology["threshold"]), self.pathology.get("band"))
        else:
            calls = {finding.call for finding in findings}
            verdict = next((c for c in (PRESENT, UNDETERMINED) if c in calls), ABSENT)
        return {PRESENT: True, ABSENT: False}.get(verdict)


# ---- fitting


def fit_platt(logits: Array, targets: Array, weights: Array | None = None) -> tuple[float, float]:
    """(scale, offset) of least cross-entropy. `logits`, `targets` (0 or 1), `weights`: [n].

    A slight pull towards scale 1 keeps a finding with few positives from being turned round.
    """
    fitted, offset = fit_logistic(logits[:, None], targets, weights, towards=np.ones(1), strength=1.0)
    return float(fitted[0]), offset


def fit_logistic(
    inputs: Array, targets: Array, weights: Array | None = None, towards: Array | None = None, strength: float = 1.0
) -> tuple[Array, float]:
    """Logistic regression of `targets` [n] on `inputs` [n, d], weights pulled to `towards`: (weights [d], offset)."""
    x, y = np.asarray(inputs, np.float64), np.asarray(targets, np.float64)
    w = np.ones(len(y)) if weights is None else np.asarray(weights, np.float64)
    centre = np.zeros(x.shape[1]) if towards is None else np.asarray(towards, np.float64)

    def loss(theta: Array) -> tuple[float, Array]:
        z = x @ theta[:-1] + theta[-1]
        error = w * (sigmoid(z) - y)
        pull = theta[:-1] - centre
        value = float(np.sum(w * (np.logaddexp(0, z) - y * z)) + 0.5 * strength * pull @ pull)
        return value, np.append(x.T @ error + strength * pull, error.sum())

    found = minimize(loss, np.append(centre, 0.0), jac=True, method="L-BFGS-B", options={"maxiter": 1000})
    return found.x[:-1], float(found.x[-1])


def fit_threshold(probabilities: Array, targets: Array) -> float:
    """The operating point where sensitivity + specificity is largest (Youden 1950), between two seen probabilities."""
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
    probabilities: Array, targets: Array, groups: Sequence[Any], threshold: float, share: float = 0.8,
    rounds: int = 200, seed: int = 0,
) -> tuple[float, float]:  # fmt: skip
    """The band around `threshold`: where the operating point falls for other patients.

    The central `share` of the operating points of `rounds` bootstrap samples by group (patient). Inside it, the call
    would depend on which patients the threshold was fitted on, so it is undetermined.
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
