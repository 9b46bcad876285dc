"""Where a pixel of the network's input lies in the picture that was preprocessed.

Bundles bring their own transforms. Those that move pixels (crop, pad, resize) are run on pictures whose values are the
coordinates of their pixels; the others are left out, because they change values only.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from inference.arrays import Array, FloatArray
from inference.bundle import Bundle
from inference.preprocess import build_from, in_colour, preprocess

_MOVING = ("CenterSpatialCrop", "CentreSquare", "EnsureChannelFirst", "RepeatChannel", "Resize", "ResizeWithPadOrCrop",
           "SpatialPad", "SqueezeDim")  # fmt: skip
_STAYING = ("AdjustContrast", "CastToType", "ClipIntensityPercentiles", "EnsureType", "GaussianSharpen",
            "GaussianSmooth", "HistogramNormalize", "Identity", "MedianSmooth", "NormalizeIntensity", "ScaleIntensity",
            "ScaleIntensityRange", "ScaleIntensityRangePercentiles", "ToTensor")  # fmt: skip


@dataclass(frozen=True)
class InputPlace:
    """From the network's input to the picture: x and y times `scale` plus `offset`, each (x, y) in pixels."""

    scale: tuple[float, float]
    offset: tuple[float, float]

    def to_picture(self, points: FloatArray) -> FloatArray:
        """Return points [n, 2] of the network's input as points of the picture, (x, y) in pixels."""
        return np.asarray(points * np.array(self.scale) + np.array(self.offset))

    def to_input(self, points: FloatArray) -> FloatArray:
        """Return points [n, 2] of the picture as points of the network's input, (x, y) in pixels."""
        return np.asarray((points - np.array(self.offset)) / np.array(self.scale))


def input_place(bundle: Bundle, shape: tuple[int, int]) -> InputPlace | None:
    """Return where the network's input lies in a picture of this `shape` (rows, columns).

    None if the bundle's preprocessing has a transform of which it is not known whether it moves pixels.
    """
    steps = _moving_steps(bundle.inference.get("preprocessing", {}))
    if steps is None:
        return None
    transform = build_from({"_target_": "monai.transforms.Compose", "transforms": steps}) if steps else _unchanged
    rows, columns = (np.arange(side, dtype=np.float32) + np.float32(0.5) for side in shape)
    places = (np.ascontiguousarray(np.broadcast_to(one, shape)) for one in (rows[:, None], columns))
    y, x = (in_colour(place, bundle.channels) for place in places)
    down, across = preprocess(transform, y)[0], preprocess(transform, x)[0]
    (scale_x, offset_x), (scale_y, offset_y) = _line(across[across.shape[0] // 2]), _line(down[:, down.shape[1] // 2])
    return InputPlace((scale_x, scale_y), (offset_x, offset_y))


def _moving_steps(config: Any) -> list[dict[str, Any]] | None:
    """Return those steps of a Compose that move pixels; None if a step is not known, or it is no Compose."""
    if not isinstance(config, dict) or _name(config) != "Compose" or not isinstance(config.get("transforms"), list):
        return None
    steps = [step for step in config["transforms"] if not (isinstance(step, dict) and step.get("_disabled_"))]
    if not all(isinstance(step, dict) and _name(step) in (*_MOVING, *_STAYING) for step in steps):
        return None
    return [step for step in steps if _name(step) in _MOVING]


def _name(step: dict[str, Any]) -> str:
    return str(step.get("_target_", "")).rpartition(".")[2]


def _unchanged(picture: torch.Tensor) -> torch.Tensor:
    return picture[None]


def _line(values: Array) -> tuple[float, float]:
    """Return (scale, offset) of the line through values at pixel centres, from the middle, where nothing is padded."""
    first, last = len(values) * 3 // 8, max(len(values) * 5 // 8, len(values) * 3 // 8 + 1)
    if last >= len(values):
        return float(values[0]) * 2, 0.0  # a side of one pixel
    scale = float(values[last] - values[first]) / (last - first)
    return scale, float(values[first]) - scale * (first + 0.5)
