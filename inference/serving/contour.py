"""The contour around the peak of a map: a closed polygon along which the map has one value."""

import numpy as np
import numpy.typing as npt

from inference.arrays import Array, FloatArray

#: A place [row, column, 0 or 1] on the grid's lines: 0 between a cell and its right neighbour, 1 between it and the
#: one below.
_Edge = tuple[int, int, int]

#: For each pattern of corners inside (top left 8, top right 4, bottom right 2, bottom left 1): the pieces of the line,
#: from side to side, with the inside on the left. Where two opposite corners are inside, they are kept apart.
_PIECES: dict[int, tuple[tuple[str, str], ...]] = {
    8: (("L", "T"),), 4: (("T", "R"),), 2: (("R", "B"),), 1: (("B", "L"),),
    12: (("L", "R"),), 6: (("T", "B"),), 3: (("R", "L"),), 9: (("B", "T"),),
    7: (("T", "L"),), 11: (("R", "T"),), 13: (("B", "R"),), 14: (("L", "B"),),
    10: (("L", "T"), ("R", "B")), 5: (("T", "R"), ("B", "L")),
}  # fmt: skip
_SIDES = {"T": (0, 0, 0), "B": (1, 0, 0), "L": (0, 0, 1), "R": (0, 1, 1)}


def contour_of_peak(values: Array, level: float) -> FloatArray:
    """Return the outer contour at `level` of the part of a map [rows, columns] that holds its peak, [n, 2].

    The points are (x, y) in pixels of the map, whose top left corner is (0, 0) and whose pixels' centres are at .5.
    The contour is closed: its last point is followed by its first. It is empty unless the peak is above `level`.
    """
    if not values.max() > level:
        return np.zeros((0, 2))
    wide = np.pad(values.astype(np.float64), 1, mode="edge")  # so that a contour reaches the map's edge
    loops = _loops(np.pad(wide, 1, constant_values=min(float(values.min()), level) - 1e6), level)
    row, column = np.unravel_index(int(values.argmax()), values.shape)
    around = [loop for loop in loops if contains(loop, column + 0.5, row + 0.5)]
    outer = np.clip(max(around, key=lambda loop: abs(area(loop))), 0, values.shape[::-1])
    return np.asarray(outer[(outer != np.roll(outer, 1, axis=0)).any(axis=1)])


def _loops(padded: FloatArray, level: float) -> list[FloatArray]:
    """Return all closed lines at `level` (marching squares, Lorensen and Cline 1987)."""
    inside = padded > level
    pattern = 8 * inside[:-1, :-1] + 4 * inside[:-1, 1:] + 2 * inside[1:, 1:] + inside[1:, :-1]
    following: dict[_Edge, _Edge] = {}
    for row, column in np.argwhere((pattern > 0) & (pattern < 15)):
        for start, end in _PIECES[int(pattern[row, column])]:
            following[_edge(row, column, start)] = _edge(row, column, end)
    loops = []
    while following:
        edge = next(iter(following))
        places = []
        while edge in following:
            places.append(_crossing(padded, edge, level))
            edge = following.pop(edge)
        loops.append(np.array(places))
    return loops


def _edge(row: int, column: int, side: str) -> _Edge:
    down, across, kind = _SIDES[side]
    return int(row) + down, int(column) + across, kind


def _crossing(padded: FloatArray, edge: _Edge, level: float) -> tuple[float, float]:
    """Return where the line crosses an edge, (x, y) in pixels of the map without its frame of two."""
    row, column, downwards = edge
    here, there = padded[row, column], padded[row + downwards, column + 1 - downwards]
    share = float((level - here) / (there - here))
    return column - 1.5 + share * (1 - downwards), row - 1.5 + share * downwards


def area(polygon: FloatArray) -> float:
    """Return the area of a polygon [n, 2], in square pixels; its sign says in which direction the points run."""
    x, y = polygon.T
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2)


def centroid(polygon: FloatArray) -> tuple[float, float]:
    """Return the centre of gravity (x, y) of a polygon [n, 2] whose area is not 0."""
    x, y = (polygon - polygon[0]).T
    cross = x * np.roll(y, -1) - np.roll(x, -1) * y
    weight = 3 * cross.sum()
    across, down = (float(((v + np.roll(v, -1)) * cross).sum() / weight) for v in (x, y))
    return across + float(polygon[0, 0]), down + float(polygon[0, 1])


def contains(polygon: FloatArray, x: float, y: float) -> bool:
    """Whether (x, y) lies in a polygon [n, 2]: a ray from there crosses its sides an odd number of times."""
    x1, y1 = polygon.T
    x2, y2 = np.roll(polygon, -1, axis=0).T
    crossed = (y1 > y) != (y2 > y)
    with np.errstate(divide="ignore", invalid="ignore"):
        place = x1 + (y - y1) * (x2 - x1) / (y2 - y1)
    hits: npt.NDArray[np.bool_] = crossed & (place > x)
    return bool(hits.sum() % 2)
