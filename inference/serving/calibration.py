"""Turning logits into calibrated probabilities and calls. `inference.training` fits the parameters.

configs/calibration.json:

    {"format": 2,
     "findings": {"Effusion": {"scale": 1.1, "offset": -0.2,      probability = sigmoid(scale * logit + offset)
                               "assessed": true,                  false: no call is ever made
                               "auroc": [0.83, 0.81, 0.85],       in cross-validation, with its interval
                               "prevalence": 0.12,                for information only
                               "views": {"PA": {"threshold": 0.41, "near": 0.2, ...},
                                         "AP": null}}, ...},      see inference/serving/operating_points.py
     "pathology": {"weights": {"Effusion": 0.4, ...},             sigmoid(sum of weight * logit of that output + offset)
                   "offset": -1.0, "views": {...}},
     "most_likely": "probability",                                or "score", or null: see inference/prediction.py
     "evidence": {...}}                                           how often calls were right, for information only

A finding is above its threshold if its probability reaches the threshold for the image's view, near it if it reaches
the lower edge "near", else below. Any finding is above if it reaches its own threshold or if one of the findings is
above, and near likewise. The two can therefore never contradict each other.

Format 1, without "format", is what is known of imported models: one "threshold" for all views, by default 0.5, and
perhaps a "band". Nobody evaluated the calls then, which `Bundle.evaluated` tells. A finding that is not named in the
file has the probability sigmoid(logit). Without "pathology", the probability of any finding is the highest one of the
findings, which is not calibrated. Platt, "Probabilistic outputs for support vector machines", 1999; with offset 0 this
is temperature scaling (Guo 2017).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from inference.arrays import FloatArray
from inference.bundle import Bundle
from inference.errors import BundleError
from inference.prediction import (
    ABOVE,
    ANY_FINDING,
    BELOW,
    NEAR,
    NOT_ASSESSED,
    Finding,
    Prediction,
    most_likely,
)
from inference.probability import log_odds, sigmoid
from inference.serving.operating_points import VIEWS, Point, points_of
from inference.serving.site_calibration import SiteCalibration

FORMAT = 2
_DEFAULT: dict[str, Any] = {"scale": 1.0, "offset": 0.0}
_RULES = (None, "probability", "score")


class Calibration:
    """A bundle's calibration, ready to be applied. Raises BundleError if it does not fit the bundle.

    `site` is the site's own, which goes on top of the bundle's.
    """

    def __init__(self, bundle: Bundle, site: SiteCalibration | None = None) -> None:
        self.site = site or SiteCalibration()
        self.labels, self.outputs, content = bundle.labels, bundle.outputs, bundle.calibration
        self.where = f"{bundle.directory}/configs/calibration.json"
        default = _DEFAULT | ({"assessed": False} if bundle.evaluated else {"threshold": 0.5})
        table = content.get("findings", {})
        self.rows = {label: default | dict(table.get(label, {})) for label in self.labels}
        self.pathology: Mapping[str, Any] | None = content.get("pathology")
        self.rule: str | None = content.get("most_likely")
        self._check(content)
        self.columns = [self.outputs.index(label) for label in self.labels]
        self.scale = np.array([float(row["scale"]) for row in self.rows.values()])
        self.offset = np.array([float(row["offset"]) for row in self.rows.values()])
        shipped = {label: self._points(label, row) for label, row in self.rows.items()}
        shipped[ANY_FINDING] = self._own_points()
        every = [self.site.points(name, points) for name, points in shipped.items()]
        self.points = {view: tuple(points[view] for points in every) for view in VIEWS}  # the last is of any finding

    @property
    def names(self) -> tuple[str, ...]:
        """The findings of the bundle, and any finding."""
        return (*self.labels, ANY_FINDING)

    @property
    def called(self) -> tuple[str, ...]:
        """Those among `names` on which a call is made, in one view at least; any finding is above where one is."""
        columns = zip(*(self.points[view] for view in VIEWS), strict=True)
        found = [name for name, points in zip(self.names, columns, strict=True) if any(points)]
        return tuple(found) if not found or ANY_FINDING in found else (*found, ANY_FINDING)

    def _check(self, content: Mapping[str, Any]) -> None:
        if content.get("format", 1) not in (1, FORMAT):
            raise BundleError(f"{self.where} has the format {content['format']}, expected at most {FORMAT}: a later "
                              "hilum wrote it")  # fmt: skip
        if self.rule not in _RULES:
            raise BundleError(f"{self.where}: most_likely is {self.rule!r}, expected one of {_RULES}")
        strays = set(self.pathology["weights"]) - set(self.outputs) if self.pathology else set()
        if strays:
            raise BundleError(f"{self.where}: pathology weighs {sorted(strays)}, which are not outputs of the network")

    def _points(self, label: str, row: Mapping[str, Any]) -> dict[str, Point | None]:
        if not row.get("assessed", True):
            return dict.fromkeys(VIEWS)
        return points_of(row, f"{self.where}: {label}")

    def _own_points(self) -> dict[str, Point | None]:
        return points_of(self.pathology, f"{self.where}: pathology") if self.pathology else dict.fromkeys(VIEWS)

    def probabilities(self, logits: FloatArray) -> FloatArray:
        """Return the calibrated probabilities [n, labels] for logits [n, outputs]."""
        result: FloatArray = sigmoid(logits[:, self.columns] * self.scale + self.offset)
        return result

    def pathology_probabilities(self, logits: FloatArray) -> FloatArray:
        """Return the probability of any finding [n] for logits [n, outputs]."""
        if not self.pathology:
            highest: FloatArray = self.probabilities(logits).max(axis=1)
            return highest
        weights = np.array([float(self.pathology["weights"].get(name, 0.0)) for name in self.outputs])
        result: FloatArray = sigmoid(logits @ weights + float(self.pathology["offset"]))
        return result

    def predictions(self, logits: FloatArray, views: Sequence[str] = ()) -> list[Prediction]:
        """Return a Prediction with `analysed` True for each row of logits [n, outputs].

        `views` holds "PA", "AP" or "" (unknown) for each row; anything else counts as unknown, and so do all views if
        none is given.
        """
        both = np.column_stack([self.probabilities(logits), self.pathology_probabilities(logits)])
        return [self.prediction(row, view) for row, view in zip(both, views or [""] * len(both), strict=True)]

    def prediction(self, probabilities: npt.ArrayLike, view: str) -> Prediction:
        """Return the Prediction for the bundle's calibrated probabilities [labels + 1], the last of any finding."""
        row = [float(p) for p in np.asarray(probabilities)]
        names, points = (*self.labels, ANY_FINDING), self.points[view if view in VIEWS else ""]
        local = list(map(self.site.probability, names, row))
        if not self.pathology:
            local[-1] = max(local[:-1])
        *found, own = map(_judged, names, local, points, row if self.site.digest else [None] * len(row))
        overall = _overall(own, found)
        likely = most_likely(found, self.rule) if overall.call == ABOVE else None
        return Prediction(True, "", overall, likely, tuple(found))


def _judged(name: str, probability: float, point: Point | None, shipped: float | None) -> Finding:
    if point is None:
        return Finding(name, probability, None, NOT_ASSESSED, None, shipped)
    margin = float(log_odds(probability) - log_odds(point.threshold))
    return Finding(name, probability, point.threshold, _call(probability, point), margin, shipped)


def _call(probability: float, point: Point) -> str:
    if probability >= point.threshold:
        return ABOVE
    return NEAR if probability >= point.near else BELOW


def _overall(own: Finding, findings: Sequence[Finding]) -> Finding:
    """Return any finding with the highest call and the highest score of its own and those of the findings."""
    every = [own, *findings]
    call = next((c for c in (ABOVE, NEAR, BELOW) if any(f.call == c for f in every)), NOT_ASSESSED)
    margin = max((f.margin for f in every if f.margin is not None), default=None)
    return replace(own, call=call, margin=margin)
