"""Display Shutter (PS3.3 C.7.6.11): the part of the image that the modality wants hidden is set to black."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from dicom_io.image.header import Header

Turn = Callable[[NDArray[Any]], NDArray[Any]]


@dataclass(frozen=True)
class Shutter:
    """The visible part: inside `rows` and `columns`, where `mask`, bool [rows, columns], is true or None."""

    rows: slice
    columns: slice
    mask: NDArray[np.bool_] | None


def read_shutter(header: Header, rows: int, columns: int) -> Shutter | None:
    """Combine the shutters for a picture of this size; None if there are none, or if they would hide everything.

    Edges and vertices count from 1 and are themselves visible. They are scaled where the picture is smaller than the
    header says.
    """
    shapes = {shape.upper() for shape in header.texts("ShutterShape")}
    visible = np.ones((rows, columns), np.bool_) if shapes & {"CIRCULAR", "POLYGONAL"} else None
    scale = (rows / max(header.rows, 1), columns / max(header.columns, 1))
    across, down = slice(0, rows), slice(0, columns)
    if "RECTANGULAR" in shapes:
        across = _edges(header, "ShutterUpperHorizontalEdge", "ShutterLowerHorizontalEdge", scale[0], rows)
        down = _edges(header, "ShutterLeftVerticalEdge", "ShutterRightVerticalEdge", scale[1], columns)
    if visible is not None:
        if "CIRCULAR" in shapes:
            visible &= _circle(header, scale, rows, columns)
        if "POLYGONAL" in shapes:
            visible &= _polygon(header, scale, rows, columns)
    if across == slice(0, rows) and down == slice(0, columns) and (visible is None or visible.all()):
        return None
    empty = across.start >= across.stop or down.start >= down.stop
    if empty or (visible is not None and not visible[across, down].any()):
        return None  # a shutter with every edge 0 is common, and does not mean that nothing shall be seen
    return Shutter(across, down, visible)


def turned_shutter(shutter: Shutter | None, shape: tuple[int, ...], turn: Turn) -> Shutter | None:
    """Turn a shutter for stored pixels of this shape, [rows, columns], together with them."""
    if shutter is None:
        return None
    visible = np.zeros(shape, np.bool_)
    visible[shutter.rows, shutter.columns] = True
    if shutter.mask is not None:
        visible &= shutter.mask
    visible = turn(visible)
    return Shutter(slice(0, visible.shape[0]), slice(0, visible.shape[1]), visible)


def _edges(header: Header, first: str, last: str, scale: float, size: int) -> slice:
    start, stop = header.integer(first, 1) - 1, header.integer(last, int(size / scale))
    return slice(min(max(int(start * scale), 0), size), min(max(int(np.ceil(stop * scale)), 0), size))


def _circle(header: Header, scale: tuple[float, float], rows: int, columns: int) -> NDArray[np.bool_]:
    center, radius = header.numbers("CenterOfCircularShutter"), header.integer("RadiusOfCircularShutter")
    if len(center) != 2 or radius <= 0:
        return np.ones((rows, columns), np.bool_)
    y = (np.arange(rows) + 0.5) / scale[0] + 0.5 - center[0]
    x = (np.arange(columns) + 0.5) / scale[1] + 0.5 - center[1]
    inside: NDArray[np.bool_] = (y * y)[:, None] + (x * x)[None, :] <= radius * radius
    return inside


def _polygon(header: Header, scale: tuple[float, float], rows: int, columns: int) -> NDArray[np.bool_]:
    vertices = header.numbers("VerticesOfThePolygonalShutter")  # row, column, row, column ...
    corners = [((x - 1) * scale[1], (y - 1) * scale[0]) for y, x in zip(vertices[::2], vertices[1::2], strict=False)]
    if len(corners) < 3:
        return np.ones((rows, columns), np.bool_)
    picture = Image.new("1", (columns, rows), 0)
    ImageDraw.Draw(picture).polygon(corners, fill=1, outline=1)
    return np.asarray(picture, np.bool_)
