"""Draw a frontal chest radiograph of no real patient.

`anatomy` gives the path length of the beam in soft tissue, air and bone, and `exposure` the picture that follows from
it. The body is seen from the front, so that the patient's right is on the left of the picture.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from dicom_io.phantom.anatomy import (
    CELL,
    COARSE_CELL,
    Body,
    Map,
    blurred,
    bone_depth,
    cavity_depth,
    grid,
    heart_depth,
    step,
    stomach_air,
    trachea_air,
    trunk_depth,
    vessel_depth,
)
from dicom_io.phantom.exposure import BITS, BONE, LUNG_DENSITY, SOFT, exposed

DrawnFinding = Literal["none", "effusion", "pneumothorax", "cardiomegaly", "mass"]
FINDINGS: tuple[DrawnFinding, ...] = get_args(DrawnFinding)
__all__ = ["BITS", "FINDINGS", "Ball", "DrawnFinding", "Regions", "draw_chest", "draw_thorax"]
_SMALL = 512  # rows: a smaller picture is drawn on the coarse grid, four times as fast
LUNG_FIELD = 4.0  # cm of air-filled chest in the beam: more than behind the dome of the diaphragm
_CLEAR = 0.6  # cm between the edges of two round opacities, so that they can be told apart
_TRIES = 60  # places that are tried for each round opacity


def draw_thorax(seed: int, finding: DrawnFinding = "none", rows: int = 2500, columns: int = 2048) -> NDArray[np.uint16]:
    """Return 12-bit values, uint16 [rows, columns], for MONOCHROME2: bright where little radiation passes.

    The same arguments give the same values. Raises ValueError if `finding` is not one of FINDINGS.
    """
    return draw_chest(seed, finding, 0, rows, columns)[0]


@dataclass(frozen=True)
class Ball:
    """A round opacity: its centre and radius in cm, in the coordinates of the body."""

    x: float
    y: float
    radius: float


@dataclass(frozen=True)
class Regions:
    """What is where in a drawing: each mask is bool [rows, columns].

    A lung field is where the beam meets at least LUNG_FIELD of that half of the chest, less heart and fluid; round
    opacities, and air beside a collapsed lung, belong to it.
    """

    right_lung: NDArray[np.bool_]
    left_lung: NDArray[np.bool_]
    opacities: tuple[NDArray[np.bool_], ...]  # one for each round opacity; they do not touch


def draw_chest(
    seed: int, finding: DrawnFinding = "none", opacities: int = 0, rows: int = 2500, columns: int = 2048
) -> tuple[NDArray[np.uint16], Regions]:
    """Return the drawing of `draw_thorax` with so many round opacities more in its lungs, and where everything is.

    There are fewer where no place is found for one that lies in a lung field and clear of the others. Without any, the
    values are those of `draw_thorax`. Raises ValueError as it does.
    """
    if finding not in FINDINGS:
        raise ValueError(f"finding {finding!r}, expected one of {', '.join(FINDINGS)}")
    rng = np.random.default_rng(seed)
    cell = COARSE_CELL if rows < _SMALL else CELL
    body = Body.of(rng, large_heart=finding == "cardiomegaly")
    y, x = grid(cell)
    x = (x + body.tilt * (y - 20)) / body.size
    y = 3.0 + (y - 2.0) / body.size
    right, left = (_lung(x, y, side, body, finding) >= LUNG_FIELD for side in (-1, 1))
    mass = [Ball(body.side * body.spot[0], body.spot[1], body.radius)] if finding == "mass" else []
    balls = _placed(mass, opacities, x, y, right | left, np.random.default_rng((seed, 2)))
    optical_depth = _optical_depth(x, y, body, finding, balls, cell, rng)
    drawn = exposed(optical_depth, rows, columns, rng)
    sized = (_resized(mask, rows, columns) for mask in (right, left, *(_ball(x, y, ball) > 0 for ball in balls)))
    right, left, *found = sized
    return drawn, Regions(right, left, tuple(found))


def _placed(
    balls: Sequence[Ball], more: int, x: Map, y: Map, field: NDArray[np.bool_], rng: np.random.Generator
) -> list[Ball]:
    """Return the balls and up to so many `more`, each wholly in the field and clear of the others."""
    placed, inside = list(balls), np.argwhere(field)
    for _ in range(more):
        radius = rng.uniform(0.8, 2.0)
        for _ in range(_TRIES):
            row, column = inside[rng.integers(len(inside))]
            ball = Ball(float(x[row, column]), float(y[row, column]), radius)
            apart = all(np.hypot(ball.x - o.x, ball.y - o.y) > 1.06 * (radius + o.radius) + _CLEAR for o in placed)
            if apart and field[_ball(x, y, ball) > 0].all():
                placed.append(ball)
                break
    return placed


def _resized(mask: NDArray[np.bool_], rows: int, columns: int) -> NDArray[np.bool_]:
    """Return the mask with this number of rows and columns: each has the value at its centre."""
    down = ((np.arange(rows) + 0.5) * mask.shape[0] / rows).astype(int)
    across = ((np.arange(columns) + 0.5) * mask.shape[1] / columns).astype(int)
    resized: NDArray[np.bool_] = mask[down[:, None], across]
    return resized


def _lung(x: Map, y: Map, side: int, body: Body, finding: DrawnFinding) -> Map:
    """Path length through one half of the chest, less heart and fluid."""
    cavity = cavity_depth(x, y, side, body)
    fluid = _fluid(x, y, side, body) if finding == "effusion" and side == body.side else 0.0
    lung: Map = np.maximum(cavity * (1 - fluid) - heart_depth(x, y, body), 0.0)
    return lung


def _optical_depth(
    x: Map, y: Map, body: Body, finding: DrawnFinding, balls: Sequence[Ball], cell: float, rng: np.random.Generator
) -> Map:
    """Attenuation coefficient times path length, summed over the tissues, on a grid of this spacing."""
    trunk = trunk_depth(x, y)
    air = trachea_air(x, y) + stomach_air(x, y, body)
    vessels = vessel_depth(rng, body, x.shape)
    for side in (-1, 1):
        lung = _lung(x, y, side, body, finding)
        if finding == "pneumothorax" and side == body.side:
            air += _free_air(x, y, side, lung, body)
            vessels = np.where(side * x > 0, vessels * _collapsed(x, y, side, body), vessels)
        air += lung * (1 - LUNG_DENSITY)
    filled = np.clip(air / 4.0, 0.0, 1.0)  # vessels are visible where lung surrounds them
    soft = np.maximum(trunk - air, 0.0) + vessels * filled
    for ball in balls:
        soft += _ball(x, y, ball)
    depth: Map = SOFT * soft + (BONE - SOFT) * bone_depth(x, y, body, trunk)
    return blurred(depth, 0.035, cell)


def _ball(x: Map, y: Map, ball: Ball) -> Map:
    """Path length through a round mass."""
    edge = ball.radius * (1 + 0.06 * np.sin(5 * np.arctan2(y - ball.y, x - ball.x)))  # slightly lobed
    inside: Map = 2 * np.sqrt(np.clip(edge**2 - (x - ball.x) ** 2 - (y - ball.y) ** 2, 0.0, None))
    return inside


def _fluid(x: Map, y: Map, side: int, body: Body) -> Map:
    """Share of the chest's depth that an effusion fills: its surface is level, and rises at the wall in a meniscus."""
    wall = np.clip(13.6 - side * x, 0.0, None)
    surface = body.dome[(side + 1) // 2] - body.level - body.meniscus * np.exp(-wall / 3.2)
    return step(y, surface, 0.55)


def _collapsed(x: Map, y: Map, side: int, body: Body) -> Map:
    """1 inside the lung collapsed by a pneumothorax, whose edge is away from the top and the outer wall; else 0."""
    half = 5.7 * body.collapse
    u, v = (side * x - (half - 0.5)) / half, (y - 20.2) / (11.6 * (0.5 + 0.5 * body.collapse))
    return 1 - step(np.abs(u) ** 2.3 + np.abs(v) ** 2.3, 1.0, 0.012)


def _free_air(x: Map, y: Map, side: int, lung: Map, body: Body) -> Map:
    """Path length of the air that replaces lung beside the collapsed lung, less the thin line of the pleura."""
    inside = _collapsed(x, y, side, body)
    line = 4 * inside * (1 - inside) * np.clip(lung / 4.0, 0.0, 1.0)
    return lung * LUNG_DENSITY * (1 - inside) - 0.5 * line
