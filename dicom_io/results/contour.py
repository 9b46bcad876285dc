"""The contour of a location on a radiograph, and the outlines of structures."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

LINE, EDGE = (230, 159, 0), (0, 0, 0)  # orange on a black edge: seen on black and on white, without colour vision too
#: Of structures, in turn: orange, sky blue, bluish green, yellow (Okabe and Ito), told apart without colour vision too.
COLOURS = (LINE, (86, 180, 233), (0, 158, 115), (240, 228, 66))


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
    rows, columns = pixels.shape[:2]
    shares = [[(x / columns, y / rows) for x, y in polygon] for polygon in polygons]
    return outlined(Image.fromarray(np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8)), shares)


def edged(grey: Image.Image, masks: Sequence[NDArray[np.bool_]]) -> Image.Image:
    """Return the radiograph in RGB with a line round each mask, bool [rows, columns] of any size; colours take turns.

    The line lies inside the mask.
    """
    drawn = np.array(grey.convert("RGB"))
    width = max(1, round(max(grey.size) / 340))
    for number, mask in enumerate(masks):
        sized = np.asarray(Image.fromarray(mask).resize(grey.size, Image.Resampling.NEAREST))
        edge = sized & ~_shrunk(sized, width)
        drawn[sized & ~_shrunk(sized, width + 2)] = EDGE
        drawn[edge] = COLOURS[number % len(COLOURS)]
    return Image.fromarray(drawn)


def _shrunk(mask: NDArray[np.bool_], width: int) -> NDArray[np.bool_]:
    """The mask without what is within `width` pixels of its edge; the picture's border is no edge."""
    for _ in range(width):
        wide = np.pad(mask, 1, mode="edge")
        mask = wide[:-2, 1:-1] & wide[2:, 1:-1] & wide[1:-1, :-2] & wide[1:-1, 2:] & mask
    return mask


def edged_pixels(pixels: NDArray[np.floating[Any]], masks: Sequence[NDArray[np.bool_]]) -> Image.Image:
    """Return a picture, float [rows, columns] in 0..1, in RGB with a line round each mask of its size."""
    return edged(Image.fromarray(np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8)), masks)
