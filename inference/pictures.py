"""PNG and JPEG files as pictures."""

import io

import numpy as np
from PIL import Image as Pillow

from inference.errors import DataError
from inference.preprocess import Image


def display_values(content: bytes, name: str) -> Image:
    """A PNG or JPEG file as float32 [rows, columns] in 0..1. Raises DataError.

    As DICOM files without a window are shown, so that both forms of a radiograph give the same values, bit for bit: 8
    bits are 0..255 of what is shown, and of more bits the picture's smallest value is black and its largest white.
    """
    try:
        picture = Pillow.open(io.BytesIO(content))
        if not picture.mode.startswith("I"):
            return np.asarray(picture.convert("L"), np.float32) / np.float32(255)
        values = np.asarray(picture, np.float64)
    except (OSError, ValueError, Pillow.DecompressionBombError) as error:
        raise DataError(f"{name} is no readable PNG or JPEG: {error}") from error
    low, high = values.min(), values.max()
    return np.asarray((values - low) / max(high - low, 1), np.float32)
