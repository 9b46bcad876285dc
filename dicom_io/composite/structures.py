"""The structures that a model outlines: their coded concepts, from `structures.toml`, and what was measured of them."""

import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dicom_io.composite.codes import LOCAL_SCHEME, SITES, Code, UnknownFinding

Mask = NDArray[np.bool_]

# CID 7150, CID 244
CATEGORIES = {
    "anatomy": Code("91723000", "SCT", "Anatomical Structure"),
    "abnormality": Code("49755003", "SCT", "Morphologically Abnormal Structure"),
}
SIDES = {"right": Code("24028007", "SCT", "Right"), "left": Code("7771000", "SCT", "Left")}

# TID 1419: what is measured of a structure. Count and share are concepts that no standard scheme has
AREA = Code("42798000", "SCT", "Area")
COUNT = Code("REGIONS", LOCAL_SCHEME, "Number of separate regions")
SHARE_OF_PICTURE = Code("AREASHAREIMAGE", LOCAL_SCHEME, "Share of the area of the image")
SHARE_OF_STRUCTURES = Code("AREASHARE", LOCAL_SCHEME, "Share of the area of other structures")
SQUARE_MILLIMETRE = Code("mm2", "UCUM", "square millimeter")
PIXELS = Code("{pixels}", "UCUM", "pixels")

#: The plane in which millimetres hold (PS3.3 10.7.1.1): the patient, where the image is calibrated to it; the detector,
#: which is behind the patient, so that lengths in the patient are smaller; "" where the header does not let us know.
Plane = Literal["patient", "detector", ""]


@dataclass(frozen=True)
class CodedStructure:
    """A structure: name for a reader, category, type, side, and the part of the body in which it lies."""

    display: str
    category: Code
    kind: Code
    side: Code | None
    site: Code


@dataclass(frozen=True)
class OutlinedStructure:
    """What a model outlined of one structure in an image."""

    structure: str
    mask: Mask = field(compare=False, repr=False)  # [rows, columns] of the picture as it is shown
    area_pixels: int  # pixels of the image as it is stored
    count: int | None = None  # how many separate regions; None where they are not counted
    share: float | None = None  # 0..1, of the area of `share_of`; None where that is empty
    share_of: str = "picture"  # or labels of the model joined by " + "
    area_mm2: float | None = None
    plane: Plane = ""  # the plane in which square millimetres hold; "" where there are none
    stored: Callable[[], Mask] = field(default=lambda: np.zeros((0, 0), bool), compare=False, repr=False)
    """Returns the mask in the pixels of the image as it is stored, [Rows, Columns]."""

    @property
    def parts(self) -> str:
        """What of it makes another result."""
        return f"{self.structure} {self.count} {self.area_pixels}"


def _key(label: str) -> str:
    return "".join(c for c in label.casefold() if c not in " _-")


@cache
def structures() -> dict[str, CodedStructure]:
    """Return the table of `structures.toml`, keyed by `_key` of each name and label; the file is read once."""
    rows = tomllib.loads(files("dicom_io.composite").joinpath("structures.toml").read_text(encoding="utf-8"))
    table: dict[str, CodedStructure] = {}
    for name, row in rows.items():
        kind = Code(row["code"], row["scheme"], row["meaning"])
        side = SIDES[row["side"]] if "side" in row else None
        coded = CodedStructure(name, CATEGORIES[row["category"]], kind, side, SITES[row["site"]])
        for label in (name, *row.get("labels", ())):
            table[_key(label)] = coded
    return table


def coded_structure(label: str) -> CodedStructure:
    """Return the coded concepts of a model's `label`. Raises UnknownFinding."""
    check_structures([label])
    return structures()[_key(label)]


def check_structures(labels: Iterable[str]) -> None:
    """Raise UnknownFinding for labels without a coded concept; called at the start, not only when a result is due."""
    unknown = [label for label in labels if _key(label) not in structures()]
    if unknown:
        raise UnknownFinding(
            f"no coded concept for {', '.join(map(repr, unknown))}: add each to dicom_io/composite/structures.toml, "
            f"with a local code of the scheme {LOCAL_SCHEME} where no verified one exists"
        )
