"""Lesions drawn into real chest radiographs, whose place is known: boxes where no boxes of patients are at hand.

They are a proxy. They are plainer than disease, and where they lie follows the drawing and not the patients. A map that
does not find them will hardly find a patient's; a map that finds them may still miss a patient's.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from inference.arrays import Array, FloatArray
from inference.preprocess import Image

Mask = npt.NDArray[np.bool_]
Box = tuple[float, float, float, float]  # x, y of the top left corner, width, height, in pixels of the picture


@dataclass(frozen=True)
class Marked:
    """A picture, a finding in it, and the box around it."""

    picture: Image
    finding: str
    patient: str
    box: Box


@dataclass(frozen=True)
class _Lung:
    """A lung field of a picture: where it is, and what it looks like."""

    mask: Mask
    top: int
    bottom: int
    left: int
    right: int
    outer: int  # -1 if the chest wall is on the left of the picture, 1 if on the right

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def width(self) -> int:
        return self.right - self.left


def lesions(
    pictures: Sequence[tuple[Image, str]], findings: Sequence[str], each: int, rng: np.random.Generator
) -> Iterator[Marked]:
    """Yield `each` drawings of each finding of `DRAWN` in `findings`, each into one of the (picture, patient).

    Pictures in which no two lung fields are recognised are passed over, so that there may be fewer.
    """
    fields = [(picture, patient, found) for picture, patient in pictures if (found := lung_fields(picture))]
    for finding in [f for f in findings if f in DRAWN]:
        for i in rng.permutation(len(fields))[:each]:
            picture, patient, found = fields[int(i)]
            lung = found[int(rng.integers(2))]
            changed, region = DRAWN[finding](picture, lung, rng)
            if region.any():
                yield Marked(np.clip(changed, 0, 1).astype(np.float32), finding, patient, box_around(region))


def box_around(region: Mask) -> Box:
    """Return the box around the true pixels, of which there is at least one."""
    rows, columns = np.flatnonzero(region.any(axis=1)), np.flatnonzero(region.any(axis=0))
    return (float(columns[0]), float(rows[0]), float(columns[-1] + 1 - columns[0]), float(rows[-1] + 1 - rows[0]))


def lung_fields(picture: Image) -> list[_Lung]:
    """Return both lung fields, that on the left of the picture first; [] unless both are recognised.

    A lung field is darker than what lies around it, does not reach the sides, and has 3 to 25 % of the picture's area.
    """
    side, columns = min(picture.shape), picture.shape[1]
    fine, coarse = (ndimage.gaussian_filter(picture.astype(np.float32), side / n) for n in (64, 5))
    dark = ndimage.binary_opening(fine < coarse, iterations=max(1, side // 42))
    parts, count = ndimage.label(dark)
    beside = set(np.unique(parts[:, [0, -1]])) | {0}
    found: dict[int, _Lung] = {}
    for number in (n for n in range(1, count + 1) if n not in beside):
        mask = parts == number
        half = -1 if ndimage.center_of_mass(mask)[1] < columns / 2 else 1
        x, y, width, height = map(int, box_around(mask))
        if 0.03 <= mask.mean() <= 0.25 and (half not in found or mask.sum() > found[half].mask.sum()):
            found[half] = _Lung(mask, y, y + height, x, x + width, half)
    return [found[-1], found[1]] if len(found) == 2 else []


def _grid(picture: Image) -> tuple[FloatArray, FloatArray]:
    y, x = np.mgrid[0 : picture.shape[0], 0 : picture.shape[1]]
    return y + 0.5, x + 0.5


def _spot(lung: _Lung, rng: np.random.Generator, above: float = 0.0, below: float = 1.0) -> tuple[float, float]:
    """Return a random (row, column) in the lung field between two shares of its height."""
    places = np.argwhere(lung.mask)
    share = (places[:, 0] - lung.top) / lung.height
    inside = places[(share >= above) & (share <= below)]
    row, column = (inside if len(inside) else places)[rng.integers(len(inside) or len(places))]
    return float(row) + 0.5, float(column) + 0.5


def _ball(picture: Image, lung: _Lung, rng: np.random.Generator, radius: float) -> tuple[Array, Mask]:
    row, column = _spot(lung, rng)
    y, x = _grid(picture)
    distance = np.hypot(y - row, x - column) / (radius * (1 + 0.08 * np.sin(3 * np.arctan2(y - row, x - column))))
    thickness = np.sqrt(np.clip(1 - distance**2, 0, 1))
    return np.asarray(picture + rng.uniform(0.12, 0.3) * thickness, np.float32), thickness > 0


def _mass(picture: Image, lung: _Lung, rng: np.random.Generator) -> tuple[Array, Mask]:
    return _ball(picture, lung, rng, rng.uniform(0.13, 0.28) * lung.width)


def _nodule(picture: Image, lung: _Lung, rng: np.random.Generator) -> tuple[Array, Mask]:
    return _ball(picture, lung, rng, rng.uniform(0.05, 0.12) * lung.width)


def _patch(
    picture: Image, lung: _Lung, rng: np.random.Generator, strength: tuple[float, float], size: tuple[float, float]
) -> tuple[Array, Mask]:
    """A cloud of soft blobs within the lung field, twice as often in its lower half."""
    row, column = _spot(lung, rng, *((0.5, 1.0) if rng.random() < 2 / 3 else (0.0, 0.5)))
    y, x = _grid(picture)
    radius, cloud = rng.uniform(*size) * lung.width, np.zeros(picture.shape)
    for _ in range(12):
        r, c = rng.normal((row, column), radius / 2)
        cloud += np.exp(-((y - r) ** 2 + (x - c) ** 2) / (2 * (radius * rng.uniform(0.2, 0.45)) ** 2))
    cloud = cloud / cloud.max() * ndimage.gaussian_filter(lung.mask.astype(np.float64), 1.5)
    return np.asarray(picture + rng.uniform(*strength) * cloud, np.float32), cloud > 0.3


def _dense(picture: Image, lung: _Lung, rng: np.random.Generator) -> tuple[Array, Mask]:
    return _patch(picture, lung, rng, (0.2, 0.4), (0.3, 0.6))


def _faint(picture: Image, lung: _Lung, rng: np.random.Generator) -> tuple[Array, Mask]:
    return _patch(picture, lung, rng, (0.1, 0.25), (0.35, 0.7))


def _fluid(picture: Image, lung: _Lung, rng: np.random.Generator) -> tuple[Array, Mask]:
    """The lower part of the lung field is as bright as what lies below it; its edge rises towards the chest wall."""
    y, x = _grid(picture)
    wall = (lung.right - x) if lung.outer > 0 else (x - lung.left)
    depth = rng.uniform(0.12, 0.5) * lung.height
    surface = lung.bottom - depth - 0.6 * depth * np.exp(-np.clip(wall, 0, None) / (0.25 * lung.width))
    filled = lung.mask * ndimage.gaussian_filter((y > surface).astype(np.float64), 1.5)
    bright = float(np.quantile(picture, rng.uniform(0.75, 0.9)))
    soft = ndimage.gaussian_filter(filled, 1.0)
    return np.asarray(picture + soft * np.clip(bright - picture, 0, None), np.float32), filled > 0.5


def _free_air(picture: Image, lung: _Lung, rng: np.random.Generator) -> tuple[Array, Mask]:
    """A rim of the lung field, at its top and its outer side, without vessels, with a thin line towards the lung."""
    y, x = _grid(picture)
    rim = rng.uniform(0.12, 0.4) * lung.width
    middle = (lung.left + lung.right) / 2 - lung.outer * rim / 2
    u = (x - middle) / ((lung.width - rim) / 2)
    v = (y - (lung.bottom + 0.1 * lung.height)) / (1.1 * lung.height - rim)
    outside = np.abs(u) ** 2.2 + np.abs(v) ** 2.2
    free = lung.mask & (outside > 1) & ((x - middle) * lung.outer > -0.5 * lung.width)
    line = np.exp(-(((outside - 1) / 0.06) ** 2)) * lung.mask
    air = ndimage.gaussian_filter(picture, 3.0) - rng.uniform(0.06, 0.16)
    soft = ndimage.gaussian_filter(free.astype(np.float64), 0.7)
    return np.asarray(picture * (1 - soft) + air * soft + 0.12 * line, np.float32), free


def _plate(picture: Image, lung: _Lung, rng: np.random.Generator) -> tuple[Array, Mask]:
    """A bright band across the lower half of the lung field, slightly tilted."""
    row, column = _spot(lung, rng, 0.55, 0.95)
    y, x = _grid(picture)
    tilt = rng.uniform(-0.35, 0.35)
    along = (x - column) * np.cos(tilt) + (y - row) * np.sin(tilt)
    across = -(x - column) * np.sin(tilt) + (y - row) * np.cos(tilt)
    length, thickness = rng.uniform(0.25, 0.45) * lung.width, rng.uniform(0.03, 0.08) * lung.height
    band = np.exp(-((along / length) ** 4) - (across / thickness) ** 2) * lung.mask
    return np.asarray(picture + rng.uniform(0.15, 0.35) * ndimage.gaussian_filter(band, 0.7), np.float32), band > 0.3


def _rind(picture: Image, lung: _Lung, rng: np.random.Generator) -> tuple[Array, Mask]:
    """A bright seam along the outer side of the lung field."""
    y, x = _grid(picture)
    columns = np.where(lung.mask, x, np.nan)
    rows = lung.mask.any(axis=1)
    edge = np.zeros(picture.shape[0])
    edge[rows] = np.nanmax(columns[rows], axis=1) if lung.outer > 0 else np.nanmin(columns[rows], axis=1)
    inwards = (edge[:, None] - x) * lung.outer
    top = lung.top + rng.uniform(0.0, 0.5) * lung.height
    seam = lung.mask & (inwards < rng.uniform(0.08, 0.18) * lung.width)
    seam &= (y >= top) & (y <= top + rng.uniform(0.3, 0.5) * lung.height)
    soft = ndimage.gaussian_filter(seam.astype(np.float64), 0.8)
    return np.asarray(picture + rng.uniform(0.15, 0.35) * soft, np.float32), seam


#: The findings that can be drawn. A large heart, and what has no place of its own, cannot.
DRAWN: dict[str, Callable[[Image, _Lung, np.random.Generator], tuple[Array, Mask]]] = {
    "Atelectasis": _plate, "Consolidation": _dense, "Effusion": _fluid, "Infiltration": _faint, "Mass": _mass,
    "Nodule": _nodule, "Pleural_Thickening": _rind, "Pneumonia": _dense, "Pneumothorax": _free_air,
}  # fmt: skip
