"""What is made of the maps of a segmentation: for each structure its threshold, and whether its regions are counted.

    configs/structures.json
        {"structures": {"Right lung": {"threshold": 0.5},
                        "Round opacity": {"threshold": 0.4, "counted": true, "least_area": 0.0003}},
         "share_of": ["Right lung", "Left lung"]}

"threshold" (default 0.5) is the probability from which a pixel belongs to the structure. Regions of a structure
(connected pixels, corners included) with less than "least_area", a share of the picture's area (default 0), are
dropped; the others are counted where "counted" is true. "share_of" names the structures to whose area together the
areas of the others are compared; without it, areas are compared to the picture's. Every structure is one of the
bundle's labels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import label as labelled

from inference.arrays import Array
from inference.bundle import Bundle
from inference.errors import BundleError
from inference.prediction import Outlined

Mask = npt.NDArray[np.bool_]
_AROUND = np.ones((3, 3), bool)  # a pixel touches those at its corners too


@dataclass(frozen=True)
class Structure:
    """How one structure is taken from its map."""

    label: str
    threshold: float = 0.5
    counted: bool = False
    least_area: float = 0.0  # share of the picture

    def outlined(self, probabilities: Array) -> tuple[Mask, int]:
        """Return the mask of a map of probabilities [rows, columns], and in how many regions it falls."""
        return without_small(probabilities >= np.float32(self.threshold), self.least_area)


def without_small(mask: Mask, least_area: float) -> tuple[Mask, int]:
    """Return a mask without regions of less than `least_area`, a share of its size, and how many regions are left."""
    regions, number = labelled(mask, _AROUND)
    sizes = np.bincount(regions.ravel(), minlength=number + 1)
    kept = sizes >= least_area * mask.size
    kept[0] = False
    return kept[regions], int(kept.sum())


class Structures:
    """The structures of a bundle in the order of its labels. Raises BundleError if configs/structures.json is wrong."""

    def __init__(self, bundle: Bundle) -> None:
        self.where = f"{bundle.directory}/configs/structures.json"
        given, share_of = bundle.structures.get("structures", {}), bundle.structures.get("share_of", [])
        if not isinstance(given, dict) or not isinstance(share_of, list):
            raise BundleError(f'{self.where}: "structures" must be an object and "share_of" a list')
        strays = sorted({*map(str, given), *map(str, share_of)} - set(bundle.labels))
        if strays:
            raise BundleError(f"{self.where} names {strays}, which are not among the labels {list(bundle.labels)}")
        self.share_of = tuple(map(str, share_of))
        self.all = tuple(self._structure(label, given.get(label, {})) for label in bundle.labels)
        self.places = [bundle.outputs.index(label) for label in bundle.labels]

    def _structure(self, label: str, given: dict[str, Any]) -> Structure:
        try:
            structure = Structure(label, **given)
            fits = 0 < structure.threshold < 1 and 0 <= structure.least_area < 1 and structure.counted in (True, False)
        except TypeError as error:
            raise BundleError(f"{self.where}, {label!r}: {error}") from error
        if not fits:
            raise BundleError(f"{self.where}, {label!r}: expected a threshold within 0..1, a least_area from 0 to "
                              f"below 1 and counted true or false, found {given}")  # fmt: skip
        return structure

    def outlined(self, probabilities: Array) -> list[Outlined]:
        """Return each structure in maps of probabilities [outputs, rows, columns]."""
        found = [s.outlined(probabilities[place]) for s, place in zip(self.all, self.places, strict=True)]
        masks = [mask for mask, _ in found]
        return [
            Outlined(s.label, mask, number if s.counted else None, int(mask.sum()), *self._share(s, mask, masks))
            for s, (mask, number) in zip(self.all, found, strict=True)
        ]

    def _share(self, structure: Structure, mask: Mask, masks: Sequence[Mask]) -> tuple[float | None, str]:
        """The area as a share of the whole, and what that whole is; no share of nothing."""
        if not self.share_of or structure.label in self.share_of:
            return float(mask.mean()), "picture"
        whole = np.logical_or.reduce([m for s, m in zip(self.all, masks, strict=True) if s.label in self.share_of])
        within = (mask & whole).sum() / whole.sum() if whole.any() else None
        return None if within is None else float(within), " + ".join(self.share_of)
