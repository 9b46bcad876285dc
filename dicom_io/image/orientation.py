"""Which side of the picture is the patient's left (Patient Orientation, PS3.3 C.7.6.1.1.1), and how it is turned.

A frontal radiograph is displayed with the patient's left on the viewer's right and the head up: L\\F, rows run to the
patient's left and columns to the feet. One that is stored otherwise is turned so before it is classified and shown.
Field of View Rotation and Horizontal Flip (PS3.3 C.8.11.3) play no part: they say how the detector lay to the pixels as
they are stored, and ask for no turn.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dicom_io.image.header import Header

Point = tuple[float, float]  # (x, y)

_LEFT_RIGHT, _FOOT_HEAD = ("L", "R"), ("F", "H")
# PS3.3 C.7.6.1.1.1: at most three of these letters, the principal direction first
_LETTERS = frozenset("LRAPHF")


class Side(Enum):
    """What the header lets us know about the sides of the picture, once it is turned."""

    AS_DISPLAYED = "as displayed"  # stored with the patient's left on the viewer's right, head up
    TURNED = "turned"  # stored otherwise, and turned so
    NOT_FRONTAL = "not frontal"  # stated, but lateral or oblique: left as it is stored
    UNKNOWN = "unknown"  # missing, empty or unreadable: left as it is stored


@dataclass(frozen=True)
class Orientation:
    """How the stored pixels are turned: first rows and columns are exchanged, then the picture is mirrored."""

    side: Side
    transposed: bool = False  # rows become columns
    mirrored: bool = False  # left and right are exchanged
    upended: bool = False  # top and bottom are exchanged

    @property
    def flipped(self) -> bool:
        """Whether left and right are exchanged and nothing else is done."""
        return self.mirrored and not self.transposed and not self.upended

    def turn(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """Return [rows, columns] as displayed: a view, with rows and columns exchanged where `transposed`."""
        turned = pixels.T if self.transposed else pixels
        turned = turned[:, ::-1] if self.mirrored else turned
        return turned[::-1] if self.upended else turned


def orientation(header: Header) -> Orientation:
    """Return what Patient Orientation says, and the turn that it asks for."""
    stated = tuple(value.upper() for value in header.texts("PatientOrientation"))
    if len(stated) != 2 or not all(value and len(value) <= 3 and set(value) <= _LETTERS for value in stated):
        return Orientation(Side.UNKNOWN)
    transposed = stated[0] in _FOOT_HEAD
    across, down = reversed(stated) if transposed else stated
    if across not in _LEFT_RIGHT or down not in _FOOT_HEAD:
        return Orientation(Side.NOT_FRONTAL)
    mirrored, upended = across == "R", down == "H"
    side = Side.TURNED if transposed or mirrored or upended else Side.AS_DISPLAYED
    return Orientation(side, transposed, mirrored, upended)


def reduction(header: Header, shape: tuple[int, ...]) -> int:
    """Return how many stored pixels, a side, one pixel of the picture [rows, columns] was made from."""
    return max(1, round(max(header.rows, header.columns) / max(shape)))


def stored_points(header: Header, shape: tuple[int, int], points: Sequence[Point]) -> list[Point]:
    """Return points of the picture that `decode` gives as points of the pixels that are stored, both (x, y).

    `shape` is that of the picture, [rows, columns], which may be smaller by a whole factor and turned. The top left
    corner of the top left pixel is (0, 0) and the bottom right corner of the last is (Columns, Rows), PS3.3 C.10.5.1.2.
    """
    stated = orientation(header)
    rows, columns = header.rows, header.columns
    shown_rows, shown_columns = (columns, rows) if stated.transposed else (rows, columns)
    factor = reduction(header, shape)
    found = []
    for x, y in points:
        x, y = min(x * factor, shown_columns), min(y * factor, shown_rows)
        x, y = shown_columns - x if stated.mirrored else x, shown_rows - y if stated.upended else y
        found.append((y, x) if stated.transposed else (x, y))
    return found


def stored_mask(header: Header, mask: NDArray[Any]) -> NDArray[Any]:
    """Return a mask [rows, columns] over the picture that `decode` gives as one over the stored pixels.

    That is [Rows, Columns]; the picture may be smaller by a whole factor, and turned. What the picture leaves out at
    the lower and right edge is outside.
    """
    stated = orientation(header)
    turned = mask[::-1] if stated.upended else mask
    turned = turned[:, ::-1] if stated.mirrored else turned
    turned = turned.T if stated.transposed else turned
    factor = reduction(header, mask.shape)
    large = turned.repeat(factor, axis=0).repeat(factor, axis=1)[: header.rows, : header.columns]
    missing = ((0, header.rows - large.shape[0]), (0, header.columns - large.shape[1]))
    return np.pad(large, missing)
