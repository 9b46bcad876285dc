"""From which probability on a finding is called, for each view in which a radiograph is taken.

A row of configs/calibration.json holds its points in one of two forms (see inference/serving/calibration.py):

    "views": {"PA": {"threshold": 0.4, "near": 0.2}, "AP": null}    format 2; null, or a missing view: no call is made
    "threshold": 0.4, "band": [0.2, 0.5]                            format 1: the same in every view, "band" optional
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from inference.errors import BundleError

PA, AP, UNKNOWN = "PA", "AP", ""
VIEWS = (PA, AP, UNKNOWN)


class Point(NamedTuple):
    """The probability from which on a finding is above its threshold, and that from which on it is near it."""

    threshold: float
    near: float


def points_of(row: Mapping[str, Any], where: str) -> dict[str, Point | None]:
    """Return the point for each of `VIEWS`, or None for a view in which no call is made.

    `where` names the row in the BundleError that is raised unless 0 < near <= threshold < 1.
    """
    if "views" not in row:
        band = row.get("band") or (row["threshold"], row["threshold"])
        if not band[0] <= row["threshold"] <= band[1]:
            raise BundleError(f"{where}: expected the band {list(band)} to hold the threshold {row['threshold']}")
        return dict.fromkeys(VIEWS, _checked(row["threshold"], band[0], where))
    return completed({view: point_of(row["views"].get(view), f"{where}, {view}") for view in (PA, AP)})


def completed(found: Mapping[str, Point | None]) -> dict[str, Point | None]:
    """Return the points of both views, and that of an image of unknown view: the stricter, or none if one has none."""
    both = [point for view in (PA, AP) if (point := found[view])]
    strict = Point(max(p.threshold for p in both), max(p.near for p in both)) if len(both) == 2 else None
    return {PA: found[PA], AP: found[AP], UNKNOWN: strict}


def point_of(content: Mapping[str, Any] | None, where: str) -> Point | None:
    """Return the point that a file holds, None for null. Raises BundleError as `points_of` does."""
    return _checked(content["threshold"], content["near"], where) if content else None


def _checked(threshold: float, near: float, where: str) -> Point:
    if not 0 < near <= threshold < 1:
        raise BundleError(f"{where}: expected 0 < lower edge <= threshold < 1, found {near}, {threshold}")
    return Point(float(threshold), float(near))
