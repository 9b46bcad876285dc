"""An image on its way through the analysis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dicom_io.image.header import Header
from dicom_io.image.selection import Projection, Sign
from storage.records import Instance

if TYPE_CHECKING:  # the receiver and the couriers must not load torch
    from inference.prediction import Prediction


@dataclass(frozen=True)
class ExaminedImage:
    """One image on its way through the analysis: its header, and either its pixels or the reason why it has none."""

    instance: Instance
    header: Header
    verdict: str
    """"analysed", "ignored" (out of scope by its header) or "refused" (in scope, but cannot be analysed)."""
    reason: str = ""
    pixels: np.ndarray | None = None
    """float32 [rows, columns], 0 (black) to 1 (white)."""
    prediction: Prediction | None = None
    sign: Sign = "chest"
    view: Projection = ""
    remark: str = ""
