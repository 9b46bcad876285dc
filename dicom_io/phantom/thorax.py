"""Draw a frontal chest radiograph of no real patient.

`anatomy` gives the path length of the beam in soft tissue, air and bone, and `exposure` the picture that follows from
it. The body is seen from the front, so that the patient's right is on the left of the picture.
"""

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
__all__ = ["BITS", "FINDINGS", "DrawnFinding", "draw_thorax"]
_SMALL = 512  # rows: a smaller picture is drawn on the coarse grid, four times as fast


def draw_thorax(seed: int, finding: DrawnFinding = "none", rows: int = 2500, columns: int = 2048) -> NDArray[np.uint16]:
    """Return 12-bit values, uint16 [rows, columns], for MONOCHROME2: bright where little radiation passes.

    The same arguments give the same values. Raises ValueError if `finding` is not one of FINDINGS.
    """
    if finding not in FINDINGS:
        raise ValueError(f"finding {finding!r}, expected one of {', '.join(FINDINGS)}")
    rng = np.random.default_rng(seed)
    cell = COARSE_CELL if rows < _SMALL else CELL
    optical_depth = _optical_depth(Body.of(rng, large_heart=finding == "cardiomegaly"), finding, cell, rng)
    return exposed(optical_depth, rows, columns, rng)


def _optical_depth(body: Body, finding: DrawnFinding, cell: float, rng: np.random.Generator) -> Map:
    """Attenuation coefficient times path length, summed over the tissues, on a grid of this spacing."""
    y, x = grid(cell)
    x = (x + body.tilt * (y - 20)) / body.size
    y = 3.0 + (y - 2.0) / body.size
    trunk = trunk_depth(x, y)
    heart = heart_depth(x, y, body)
    air = trachea_air(x, y) + stomach_air(x, y, body)
    vessels = vessel_depth(rng, body, x.shape)
    for side in (-1, 1):
        cavity = cavity_depth(x, y, side, body)
        fluid = _fluid(x, y, side, body) if finding == "effusion" and side == body.side else 0.0
        lung = np.maximum(cavity * (1 - fluid) - heart, 0.0)
        if finding == "pneumothorax" and side == body.side:
            air += _free_air(x, y, side, lung, body)
            vessels = np.where(side * x > 0, vessels * _collapsed(x, y, side, body), vessels)
        air += lung * (1 - LUNG_DENSITY)
    filled = np.clip(air / 4.0, 0.0, 1.0)  # vessels are visible where lung surrounds them
    soft = np.maximum(trunk - air, 0.0) + vessels * filled
    if finding == "mass":
        soft += _ball(x, y, body.side * body.spot[0], body.spot[1], body.radius)
    depth: Map = SOFT * soft + (BONE - SOFT) * bone_depth(x, y, body, trunk)
    return blurred(depth, 0.035, cell)


def _ball(x: Map, y: Map, cx: float, cy: float, radius: float) -> Map:
    """Path length through a round mass."""
    edge = radius * (1 + 0.06 * np.sin(5 * np.arctan2(y - cy, x - cx)))  # slightly lobed
    inside: Map = 2 * np.sqrt(np.clip(edge**2 - (x - cx) ** 2 - (y - cy) ** 2, 0.0, None))
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
