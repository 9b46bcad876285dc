"""Where in a picture a finding was seen: a contour, or the reason why no location is given.

The page, `hilum predict --explain` and whoever else gives locations ask here. `location_rule` has the bundle's rule.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from inference.arrays import Array, FloatArray
from inference.prediction import ABOVE, Prediction
from inference.serving.classifier import Classifier
from inference.serving.explain import enlarge, grids
from inference.serving.input_place import InputPlace, input_place
from inference.serving.location_rule import LocationRule, outline

Polygon = tuple[tuple[float, float], ...]  # (x, y) in pixels; the top left corner of the picture is (0, 0)

NOT_ABOVE = "the finding is not above its threshold"
UNKNOWN_PLACE = "this model's preprocessing moves pixels in a way that is not known"
MOST_POINTS = 72  # of a polygon


@dataclass(frozen=True)
class Located:
    """Where a finding was seen: polygons in pixels of the picture, or none and the reason."""

    polygons: tuple[Polygon, ...] = ()
    reason: str = ""


def locations(
    classifier: Classifier, image: Array, prediction: Prediction, method: str = "cam", precision: str = "low"
) -> dict[str, Located]:
    """Return for each finding of the prediction where it was seen in the picture, or why no location is given.

    `image`, `method` and `precision` are those of `explain.grids`, which is run only if a contour may be drawn: of a
    finding above its threshold. Raises what it raises.
    """
    above = [f.finding for f in prediction.findings if f.call == ABOVE]
    others = {f.finding: Located(reason=NOT_ABOVE) for f in prediction.findings}
    return others | locate(classifier, image, above, method, precision)


def locate(
    classifier: Classifier, image: Array, findings: Iterable[str], method: str = "cam", precision: str = "low"
) -> dict[str, Located]:
    """Return for each of these findings where the map of the picture speaks for it, or why no location is given.

    Polygons are in pixels of `image`, float32 [rows, columns] in 0..1. Raises what `explain.grids` raises.
    """
    rule = classifier.location if method == "cam" else LocationRule(classifier.bundle, method, precision)
    reasons = {finding: rule.why_not(finding) for finding in findings}
    place = None if all(reasons.values()) else input_place(classifier.bundle, image.shape[:2])
    if place is None:
        return {finding: Located(reason=reason or UNKNOWN_PLACE) for finding, reason in reasons.items()}
    maps, labels = grids(classifier, image, method, precision), classifier.bundle.labels
    found = {}
    for finding, reason in reasons.items():
        if reason:
            found[finding] = Located(reason=reason)
            continue
        z = enlarge(rule.scaled(finding, maps[labels.index(finding)])[None], classifier.bundle.input_size)[0]
        found[finding] = _located(rule, finding, z, place, image.shape[:2])
    return found


def _located(rule: LocationRule, finding: str, z: Array, place: InputPlace, shape: tuple[int, int]) -> Located:
    polygon, reason = outline(z, float(rule.findings[finding]["least"]))
    if reason:
        return Located(reason=reason)
    inside = np.clip(place.to_picture(thinned(polygon)), 0, (shape[1], shape[0]))
    return Located((tuple((round(float(x), 1), round(float(y), 1)) for x, y in inside),))


def thinned(polygon: FloatArray) -> FloatArray:
    """Return at most MOST_POINTS of a polygon's points, evenly."""
    return polygon[:: -(-len(polygon) // MOST_POINTS)]


def with_locations(answer: dict[str, Any], found: Mapping[str, Located]) -> dict[str, Any]:
    """Return the object of `hilum predict --json` with the location of each finding.

    Each finding gets "location", a list of polygons [[x, y], ...], or null and "location_reason".
    """
    if not answer.get("findings"):
        return answer
    return answer | {"findings": [row | _location_json(found[row["finding"]]) for row in answer["findings"]]}


def _location_json(located: Located) -> dict[str, Any]:
    if located.polygons:
        return {"location": [[[x, y] for x, y in polygon] for polygon in located.polygons]}
    return {"location": None, "location_reason": located.reason}
