"""An image on its way through the analysis: as it was read, and as a model sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from daemon.analysis.routing import Route
from dicom_io.image.header import Header
from dicom_io.image.selection import Projection, Sign, Verdict
from storage.records import Instance

if TYPE_CHECKING:  # the receiver and the couriers must not load torch
    from inference.prediction import Prediction
    from inference.serving.segmenter import Model


@dataclass(frozen=True)
class ReadImage:
    """One image as it was read: its header, and either its pixels or the reason why it has none."""

    instance: Instance
    header: Header
    verdicts: Mapping[str, Verdict]
    """By the name of each model, whether the image is for it."""
    pixels: np.ndarray | None = None
    """float32 [rows, columns], 0 (black) to 1 (white); None too where it is for no model."""
    refusal: str = ""
    """Why it cannot be decoded."""


@dataclass(frozen=True)
class ExaminedImage:
    """One image as a model sees it: its header, and either its pixels or the reason why it has none."""

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

    @property
    def in_scope(self) -> bool:
        return self.verdict != "ignored"


@dataclass(frozen=True)
class ModelOpinion:
    """What one model makes of the images of a study."""

    route: Route
    classifier: Model
    images: tuple[ExaminedImage, ...]
