"""How large a pixel of a projection radiograph is, and in which plane (PS3.3 10.7.1.1)."""

from dataclasses import dataclass
from math import isclose
from typing import Literal

from dicom_io.image.header import Header

_LARGEST = 10.0  # mm: a larger spacing is a mistake


@dataclass(frozen=True)
class Spacing:
    """The distance between the centres of pixels in mm, from row to row and from column to column.

    `plane` says where it holds: in the "patient", because the image was calibrated or corrected for magnification, or
    at the "detector", where everything is larger than in the patient.
    """

    row: float
    column: float
    plane: Literal["patient", "detector"]


def spacing(header: Header) -> Spacing | None:
    """Return what the header says; None where it says nothing, or not in which plane.

    Pixel Spacing is calibrated where Pixel Spacing Calibration Type says so, or where it differs from Imager Pixel
    Spacing. Where it is the same, or missing, Imager Pixel Spacing holds, which is at the detector. Pixel Spacing alone
    leaves open whether it was corrected.
    """
    pixel, imager = _pair(header, "PixelSpacing"), _pair(header, "ImagerPixelSpacing")
    calibrated = header.text("PixelSpacingCalibrationType").upper() in ("FIDUCIAL", "GEOMETRY")
    if pixel and (calibrated or (imager and not _alike(pixel, imager))):
        return Spacing(*pixel, "patient")
    return Spacing(*imager, "detector") if imager else None


def _pair(header: Header, keyword: str) -> tuple[float, float] | None:
    found = header.numbers(keyword)
    return (found[0], found[1]) if len(found) == 2 and all(0 < value <= _LARGEST for value in found) else None


def _alike(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return all(isclose(a, b, rel_tol=1e-4) for a, b in zip(one, other, strict=True))
