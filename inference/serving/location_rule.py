"""The rule by which a bundle gives a location: for which findings a contour is drawn, and where.

A contour is drawn only for findings whose maps were shown to point better than the finding's usual place does, on boxes
of patients to whom nothing was fitted. `inference.training.location.fit_location` measures that and writes the bundle's
part:

configs/location.json   optional; without it the bundle gives no location

    {"cam": {"boxes": "boxes of lesions that were drawn into real radiographs",   what the maps were compared with
             "findings": {"Mass": {
                 "scale": 1.7,         z = (map - mean) / scale: the map's cells against those of training pictures
                 "least": 2.1,         no contour where the highest z of a picture is lower
                 "boxes": 400, "patients": 390, "contours": 260,    boxes, their patients, boxes with a contour
                 "hits": 0.31, "usual_hits": 0.12,                  share of these contours, and of the usual place,
                                                                    whose centre is inside the box
                 "gain": 0.19, "gain_interval": [0.13, 0.25],       the difference; 95 %, bootstrap by patient
                 "drawn": true}}},     whether contours of this finding are drawn
     "occlusion": {"precision": "low", ...}}   the same for the other method

models/location.safetensors, float32, for each method M and finding F:

    M.F.mean [h, w]    the mean map of training pictures, in the map's own cells
    M.F.usual [n, n]   the usual place: the share of other patients' boxes that cover each part of the network's input

The contour encloses the part of z around its peak where z is at least half of it.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from inference.arrays import Array, FloatArray
from inference.bundle import Bundle
from inference.errors import BundleError, BundleNotFound
from inference.serving.contour import area, contour_of_peak

NEVER_COMPARED = "this model's maps were never compared with boxes"
NO_PEAK = "in this picture no place stands out enough"
#: Shares of the picture. A smaller contour is noise, and a larger one does not name a place.
SMALLEST, LARGEST = 0.005, 0.25
LEVEL = 0.5  # of the peak


class LocationRule:
    """The bundle's rule for one method. Raises BundleError if its parts do not fit, BundleNotFound if one is missing.

    `precision` is that of occlusion. Maps of another method or precision than the bundle's were never compared.
    """

    def __init__(self, bundle: Bundle, method: str = "cam", precision: str = "") -> None:
        self.where = f"{bundle.directory}/configs/location.json"
        part = bundle.location.get(method, {})
        if not isinstance(part, dict) or not isinstance(part.get("findings", {}), dict):
            raise BundleError(f"{self.where}: {method} holds no object with findings")
        if method == "occlusion" and precision and part.get("precision") != precision:
            part = {}
        self.maps = "maps" if method == "cam" else f"maps by occlusion ({precision})"
        self.boxes = str(part.get("boxes", ""))
        self.findings: dict[str, dict[str, Any]] = dict(part.get("findings", {}))
        self.means = self._means(bundle, method) if self.findings else {}
        for label, row in self.findings.items():
            self._check(bundle, label, row)

    def _means(self, bundle: Bundle, method: str) -> dict[str, Array]:
        path = bundle.directory / "models/location.safetensors"
        if not path.is_file():
            raise BundleNotFound(f"{path} is missing, but configs/location.json is there")
        tensors = load_file(path)
        missing = [label for label in self.findings if f"{method}.{label}.mean" not in tensors]
        if missing:
            raise BundleError(f"{path} has no mean map of {', '.join(missing)}, which {self.where} names")
        return {label: tensors[f"{method}.{label}.mean"] for label in self.findings}

    def _check(self, bundle: Bundle, label: str, row: Mapping[str, Any]) -> None:
        if label not in bundle.labels:
            raise BundleError(f"{self.where} names {label}, which is not among the bundle's labels")
        try:
            numbers = [float(row[key]) for key in ("scale", "least", "hits", "usual_hits", "boxes", "contours")]
            drawn, (low, high) = row["drawn"], map(float, row["gain_interval"] or (-1, 1))
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError(f"{self.where}, {label}: {type(error).__name__}: {error}") from error
        if not np.isfinite([*numbers, low, high]).all() or numbers[0] <= 0 or low > high:
            raise BundleError(f"{self.where}, {label}: scale is {row['scale']}, gain_interval {row['gain_interval']}, "
                              "expected finite numbers, a scale above 0 and an interval in order")  # fmt: skip
        if drawn and low <= 0:
            raise BundleError(f"{self.where}, {label}: drawn is true, but gain_interval is {row['gain_interval']}: a "
                              "contour needs an interval above 0; fit it with `hilum model location`")  # fmt: skip

    def why_not(self, finding: str) -> str:
        """Return why contours of this finding are never drawn; "" if they are."""
        if not self.findings:
            return NEVER_COMPARED.replace("maps", self.maps)
        row = self.findings.get(finding)
        if row is None:
            return f"this model's {self.maps} of {finding} were never compared with boxes"
        if row["drawn"]:
            return ""
        if not row["contours"]:
            return f"the map stands out on none of {row['boxes']} {self.boxes}"
        return (f"on {row['contours']} {self.boxes} the map points at {100 * row['hits']:.0f} %, and the finding's "
                f"usual place at {100 * row['usual_hits']:.0f} %: it is not shown to be better")  # fmt: skip

    def scaled(self, finding: str, grid: Array) -> Array:
        """Return z of a finding's map [h, w]. Raises BundleError if the map has other cells than the mean."""
        mean, row = self.means[finding], self.findings[finding]
        if grid.shape != mean.shape:
            raise BundleError(f"{self.where} is for maps of {list(mean.shape)} cells, this network gives "
                              f"{list(grid.shape)}")  # fmt: skip
        return np.asarray((grid - mean) / np.float32(row["scale"]), np.float32)


def outline(z: Array, least: float) -> tuple[FloatArray, str]:
    """Return the contour around the peak of z [rows, columns], [n, 2], (x, y) in its pixels, and ""; or why not."""
    peak = float(z.max())
    if peak < max(least, 1e-6):
        return np.zeros((0, 2)), NO_PEAK
    polygon = contour_of_peak(z, LEVEL * peak)
    share = abs(area(polygon)) / z.size
    if share < SMALLEST or share > LARGEST:
        extent = "less" if share < SMALLEST else "more"
        limit = SMALLEST if share < SMALLEST else LARGEST
        return polygon, f"in this picture the map stands out in {extent} than {100 * limit:g} % of it"
    return polygon, ""
