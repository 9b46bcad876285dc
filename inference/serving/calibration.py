"""Turning logits into calibrated probabilities and calls. `inference.training.fit_calibration` fits the parameters.

configs/calibration.json:

    {"findings": {"Effusion": {"scale": 1.1, "offset": -0.2,      probability = sigmoid(scale * logit + offset)
                               "threshold": 0.21,                 operating point
                               "band": [0.17, 0.26],              present from the upper edge on, absent below the
                                                                  lower edge, else undetermined; default: no band
                               "prevalence": 0.12}, ...},         for information only
     "pathology": {"weights": {"Effusion": 0.4, ...},             sigmoid(sum of weight * logit of that output + offset)
                   "offset": -1.0, "threshold": 0.5, "band": [0.45, 0.55]}}

A finding that is not named there has the probability sigmoid(logit) and the threshold 0.5. Without "pathology", the
probability of any pathology is the highest one of the findings, which is not calibrated, and pathology is called
present if a finding is. Platt, "Probabilistic outputs for support vector machines", 1999; with offset 0 this is
temperature scaling (Guo 2017).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from inference.arrays import FloatArray
from inference.bundle import Bundle
from inference.errors import BundleError
from inference.prediction import Finding, Prediction, most_likely
from inference.probability import log_odds, sigmoid

PRESENT, ABSENT, UNDETERMINED = "present", "absent", "undetermined"
_DEFAULT: dict[str, Any] = {"scale": 1.0, "offset": 0.0, "threshold": 0.5}


def call(probability: float, threshold: float, band: Sequence[float] | None) -> str:
    """Return PRESENT, ABSENT or UNDETERMINED. `band` is (lower edge, upper edge), or None for no band."""
    low, high = band if band else (threshold, threshold)
    if probability >= high:
        return PRESENT
    return ABSENT if probability < low else UNDETERMINED


class Calibration:
    """A bundle's calibration, ready to be applied. Raises BundleError if it does not fit the bundle."""

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
            raise BundleError(f"{self.where}: pathology weighs {sorted(strays)}, which are not outputs of the network")
        named = dict(self.rows) | ({"pathology": dict(self.pathology)} if self.pathology else {})
        for name, row in named.items():
            low, high = row.get("band") or (row["threshold"], row["threshold"])
            if not 0 < low <= row["threshold"] <= high < 1:
                raise BundleError(f"{self.where}: {name}: expected 0 < band's lower edge <= threshold <= upper edge "
                                  f"< 1, found {low}, {row['threshold']}, {high}")  # fmt: skip

    def probabilities(self, logits: FloatArray) -> FloatArray:
        """Return the calibrated probabilities [n, labels] for logits [n, outputs]."""
        result: FloatArray = sigmoid(logits[:, self.columns] * self.scale + self.offset)
        return result

    def pathology_probabilities(self, logits: FloatArray) -> FloatArray:
        """Return the probability of any pathology [n] for logits [n, outputs]."""
        if not self.pathology:
            highest: FloatArray = self.probabilities(logits).max(axis=1)
            return highest
        weights = np.array([float(self.pathology["weights"].get(name, 0.0)) for name in self.outputs])
        result: FloatArray = sigmoid(logits @ weights + float(self.pathology["offset"]))
        return result

    def predictions(self, logits: FloatArray) -> list[Prediction]:
        """Return a Prediction with `analysed` True for each row of logits [n, outputs]."""
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
