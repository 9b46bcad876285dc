"""A site's own calibration of a bundle: a file beside it, which `hilum evaluate --site` fits to readers' verdicts.

    {"format": 1,
     "model": {"name": "...", "version": "...", "digest": "sha256:..."},   the bundle; with another it is not used
     "findings": {"Effusion": {"map": {"kind": "platt", "scale": 0.8, "offset": -1.2},
                               "views": {"PA": {"threshold": 0.31, "near": 0.12}}},
                  "Any finding": {"map": {"kind": "isotonic", "from": [-3.1, -0.2], "to": [-2.0, 0.4]}}},
     "evidence": {...}}                                                   what it was decided on, for information only

A map turns the log-odds of the bundle's probability into those of the site's. "platt": scale * log-odds + offset, the
scale above 0. "isotonic": straight lines between points of which both coordinates grow, and slope 1 beyond them. Both
grow strictly, so that a threshold which goes through the same map calls the same images.

"views" holds the site's thresholds, as probabilities of the bundle: they go through the map, and so do the bundle's own
in a view that is missing. What a finding that is missing says stays as it is.

The digest is the SHA-256 of the file.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from inference.arrays import FloatArray
from inference.bundle import Bundle
from inference.errors import BundleError, DigestMismatch
from inference.prediction import ANY_FINDING
from inference.probability import log_odds, sigmoid
from inference.serving.operating_points import AP, PA, Point, completed, point_of

FORMAT = 1
MOST_BYTES = 1_000_000


@dataclass(frozen=True)
class SiteCalibration:
    """A site's calibration, ready to be applied; without arguments the one that changes nothing."""

    digest: str = ""
    maps: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    views: Mapping[str, Mapping[str, Point]] = field(default_factory=dict)

    def probability(self, name: str, shipped: float) -> float:
        """Return the site's probability of a finding for that of the bundle."""
        if name not in self.maps:
            return shipped
        return float(sigmoid(mapped(self.maps[name], log_odds(shipped))))

    def points(self, name: str, shipped: Mapping[str, Point | None]) -> dict[str, Point | None]:
        """Return the points of a finding by view for those of the bundle."""
        chosen = {**shipped, **self.views[name]} if name in self.views else shipped
        local = {view: self._point(name, point) for view, point in chosen.items()}
        return completed(local) if name in self.views else local

    def _point(self, name: str, point: Point | None) -> Point | None:
        return Point(*(self.probability(name, edge) for edge in point)) if point else None


def mapped(site_map: Mapping[str, Any], logits: FloatArray | float) -> Any:
    """Return the log-odds after a map, as float64."""
    z = np.asarray(logits, np.float64)
    if site_map["kind"] == "platt":
        return site_map["scale"] * z + site_map["offset"]
    start, end = (np.asarray(site_map[key], np.float64) for key in ("from", "to"))
    inside = np.clip(z, start[0], start[-1])
    return np.interp(inside, start, end) + (z - inside)


def load_site_calibration(path: Path, pinned: str, bundle: Bundle) -> SiteCalibration:
    """Read and check the file at `path`, whose digest has to be `pinned`, for a bundle.

    Raises DigestMismatch, and BundleError if the file is missing, was fitted for another bundle or is not valid.
    """
    try:
        content = path.read_bytes() if path.stat().st_size <= MOST_BYTES else b""
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}") from error
    digest = f"sha256:{sha256(content).hexdigest()}"
    if digest.removeprefix("sha256:") != pinned.lower().removeprefix("sha256:"):
        raise DigestMismatch(f"{path} has the digest {digest}, but {pinned or 'none'} is pinned: it was changed, or it "
                             "is not the file that was meant")  # fmt: skip
    try:
        return _checked(json.loads(content), digest, bundle, str(path))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise BundleError(f"{path} is no site calibration: {type(error).__name__}: {error}") from error


def _checked(content: Mapping[str, Any], digest: str, bundle: Bundle, where: str) -> SiteCalibration:
    if content["format"] != FORMAT:
        raise BundleError(f"{where} has the format {content['format']}, expected {FORMAT}")
    fitted = content["model"]["digest"]
    if fitted != bundle.digest:
        raise BundleError(f"{where} was fitted for the bundle {fitted}, but the bundle in use is {bundle.digest}: fit "
                          "it anew with hilum evaluate --site, or leave it out")  # fmt: skip
    strays = sorted(set(content["findings"]) - {*bundle.labels, ANY_FINDING})
    if strays:
        raise BundleError(f"{where} names {strays}, which are no findings of the bundle")
    maps = {name: row["map"] for name, row in content["findings"].items() if row.get("map")}
    for name, site_map in maps.items():
        _check_map(site_map, f"{where}: {name}")
    views = {name: _points(row["views"], f"{where}: {name}")
             for name, row in content["findings"].items() if row.get("views")}  # fmt: skip
    return SiteCalibration(digest, maps, views)


def _points(views: Mapping[str, Any], where: str) -> dict[str, Point]:
    if set(views) - {PA, AP}:
        raise BundleError(f"{where}: found the views {sorted(views)}, expected some of PA and AP")
    found = {view: point_of(content, f"{where}, {view}") for view, content in views.items()}
    return {view: point for view, point in found.items() if point}


def _check_map(site_map: Mapping[str, Any], where: str) -> None:
    kind = site_map["kind"]
    if kind == "platt":
        good = np.isfinite(site_map["offset"]) and 0 < site_map["scale"] < np.inf
    elif kind == "isotonic":
        start, end = (np.asarray(site_map[key], np.float64) for key in ("from", "to"))
        grows = [bool(np.all(np.diff(edge) > 0)) and bool(np.isfinite(edge).all()) for edge in (start, end)]
        good = all(grows) and start.ndim == 1 and start.shape == end.shape and len(start) > 0
    else:
        raise BundleError(f"{where}: found a map of the kind {kind!r}, expected platt or isotonic")
    if not good:
        raise BundleError(f"{where}: expected a map that grows, with finite numbers")
