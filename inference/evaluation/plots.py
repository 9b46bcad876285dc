"""Plots of an evaluation as SVG: a square with ticks, the names of its axes and a caption."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

Point = tuple[float, float]
SIDE, LEFT, TOP, BELOW = 220, 52, 10, 44  # pixels: the square, and the room around it
STEPS = (0.05, 0.1, 0.2)  # between ticks: the first with which an axis has at most six
_LINE, _MARK, _FAINT = "#1f6f8b", "#b3541e", "#b8c2cc"


@dataclass(frozen=True)
class Plot:
    """What is drawn: points with values from 0, joined by a line, and what helps to read them."""

    points: Sequence[Point]
    x: str  # what the axes show
    y: str
    caption: str = ""
    reference: tuple[Point, Point] | None = None  # a dashed line, for example that of chance
    mark: Point | None = None  # a point to stand out: where the bundle's thresholds are
    dots: bool = False  # each point is drawn as a dot, and the axes end soon after the largest value

    @property
    def top(self) -> float:
        """The value at which both axes end: 1, or with `dots` the first tick that is not below any point."""
        largest = max((value for point in self.points for value in point), default=1.0) if self.dots else 1.0
        step = _step(largest)
        return min(1.0, float(np.ceil(largest / step - 1e-9) * step)) or step


def svg(plot: Plot) -> str:
    """Return the plot as a figure of HTML."""
    top = plot.top
    parts = [_axes(plot, top)]
    if plot.reference:
        (x1, y1), (x2, y2) = (_at((min(x, top), min(y, top)), top) for x, y in plot.reference)
        parts.append(f'<path d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}" stroke="{_FAINT}" stroke-dasharray="4"/>')
    places = [_at(point, top) for point in plot.points]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    parts.append(f'<polyline points="{line}" fill="none" stroke="{_LINE}" stroke-width="2"/>')
    parts += [_dot(x, y, 3, _LINE) for x, y in places if plot.dots]
    if plot.mark:
        parts.append(_dot(*_at(plot.mark, top), 5, _MARK))
    width, height = LEFT + SIDE + 16, TOP + SIDE + BELOW
    return (f'<figure><svg width="{width}" height="{height}" role="img" '
            f'aria-label="{escape(plot.y)} against {escape(plot.x)}">{"".join(parts)}</svg>'
            f"<figcaption>{escape(plot.caption)}</figcaption></figure>")  # fmt: skip


def _step(top: float) -> float:
    return next((step for step in STEPS if top / step <= 5), STEPS[-1])


def _at(point: Point, top: float) -> Point:
    return LEFT + SIDE * point[0] / top, TOP + SIDE * (1 - point[1] / top)


def _dot(x: float, y: float, radius: int, colour: str) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{colour}"/>'


def _axes(plot: Plot, top: float) -> str:
    """Return the frame, the ticks with their values, and the names of the axes."""
    bottom, right = TOP + SIDE, LEFT + SIDE
    parts = [f'<rect x="{LEFT}" y="{TOP}" width="{SIDE}" height="{SIDE}" fill="none" stroke="{_FAINT}"/>']
    step = _step(top)
    for tick in np.arange(0, top + step / 2, step):
        x, y = _at((float(tick), float(tick)), top)
        text = f"{tick:.2f}".rstrip("0").rstrip(".") or "0"
        parts.append(f'<path d="M{x:.1f} {bottom}v4M{LEFT} {y:.1f}h-4" stroke="#4a5866"/>'
                     f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{text}</text>'
                     f'<text x="{LEFT - 7}" y="{y + 4:.1f}" text-anchor="end">{text}</text>')  # fmt: skip
    middle = TOP + SIDE / 2
    parts.append(f'<text x="{(LEFT + right) / 2:.0f}" y="{bottom + 34}" text-anchor="middle">{escape(plot.x)}</text>'
                 f'<text x="14" y="{middle:.0f}" text-anchor="middle" transform="rotate(-90 14 {middle:.0f})">'
                 f"{escape(plot.y)}</text>")  # fmt: skip
    return "".join(parts)
