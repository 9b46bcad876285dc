"""Reading PNG and JPEG files."""

import io

import numpy as np
from PIL import Image as Pillow

from inference.errors import DataError
from inference.preprocess import Image


def display_values(content: bytes, name: str, channels: int = 1) -> Image:
    """Return the content of a PNG or JPEG file as float32 [rows, columns], from 0 (black) to 1 (white).

    With three `channels`: as float32 [rows, columns, 3], red, green and blue.

    Both forms of a radiograph, such a file and a DICOM file without a window, give the same values, bit for bit: of 8
    bits 0 is black and 255 white, and of more bits the picture's smallest value is black and its largest white. Colour
    becomes its luminance. `name` names the file in messages. Raises DataError if the content cannot be read as a
    picture.
    """
    try:
        picture = Pillow.open(io.BytesIO(content))
        if channels == 3:
            return np.asarray(picture.convert("RGB"), np.float32) / np.float32(255)
        if not picture.mode.startswith("I"):
            return np.asarray(picture.convert("L"), np.float32) / np.float32(255)
        values = np.asarray(picture, np.float64)
    except (OSError, ValueError, Pillow.DecompressionBombError) as error:
        raise DataError(f"{name} is not a readable PNG or JPEG file: {error}") from error
    low, high = values.min(), values.max()
    return np.asarray((values - low) / max(high - low, 1), np.float32)
