"""The contour of a location on a radiograph."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

LINE, EDGE = (230, 159, 0), (0, 0, 0)  # orange on a black edge: seen on black and on white, without colour vision too


def outlined(grey: Image.Image, polygons: Iterable[Sequence[tuple[float, float]]]) -> Image.Image:
    """Return the radiograph in RGB with closed lines on it; polygons are (x, y) in shares of its width and height."""
    drawn = grey.convert("RGB")
    pen, width = ImageDraw.Draw(drawn), max(1, round(max(drawn.size) / 340))
    for polygon in polygons:
        points = [(x * drawn.width, y * drawn.height) for x, y in (*polygon, *polygon[:2])]
        pen.line(points, EDGE, width + 2, joint="curve")
        pen.line(points, LINE, width, joint="curve")
    return drawn


def outlined_pixels(
    pixels: NDArray[np.floating[Any]], polygons: Iterable[Sequence[tuple[float, float]]]
) -> Image.Image:
    """Return a picture, float [rows, columns] in 0..1, in RGB with closed lines on it, (x, y) in its pixels."""
    rows, columns = pixels.shape
    shares = [[(x / columns, y / rows) for x, y in polygon] for polygon in polygons]
    return outlined(Image.fromarray(np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8)), shares)
