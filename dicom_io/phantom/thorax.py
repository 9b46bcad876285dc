"""Draw a chest radiograph of no real patient, by a simple simulation of the physics.

`anatomy` gives the path length of the beam in soft tissue, air and bone. From it follow the attenuation (Beer and
Lambert's law), the scattered radiation, the quantum noise and the logarithmic response of the detector. The body is
seen from the front, so that the patient's right is on the left of the picture.
"""

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dicom_io.phantom.anatomy import (
    CELL,
    HEIGHT,
    WIDTH,
    Body,
    Map,
    blurred,
    bone_depth,
    cavity_depth,
    heart_depth,
    step,
    stomach_air,
    trachea_air,
    trunk_depth,
    vessel_depth,
)

DrawnFinding = Literal["none", "effusion", "pneumothorax", "cardiomegaly", "mass"]
FINDINGS: tuple[DrawnFinding, ...] = get_args(DrawnFinding)
BITS = 12

_SOFT, _BONE, _LUNG_DENSITY = 0.20, 0.52, 0.26  # 1/cm at the effective energy of 120 kVp; lung relative to water
_QUANTA = 60_000.0  # quanta that reach a pixel of 0.17 mm beside the patient
_SCATTER = 0.25  # share of the radiation behind the grid; it spreads over centimetres


def draw_thorax(seed: int, finding: DrawnFinding = "none", rows: int = 2500, columns: int = 2048) -> NDArray[np.uint16]:
    """Return 12-bit values, uint16 [rows, columns], for MONOCHROME2: bright where little radiation passes.

    The same arguments give the same values. Raises ValueError if `finding` is not one of FINDINGS.
    """
    if finding not in FINDINGS:
        raise ValueError(f"finding {finding!r}, expected one of {', '.join(FINDINGS)}")
    rng = np.random.default_rng(seed)
    optical_depth = _optical_depth(Body.of(rng, large_heart=finding == "cardiomegaly"), finding, rng)
    transmitted = np.exp(-optical_depth)
    light = (1 - _SCATTER) * transmitted + _SCATTER * blurred(transmitted, 2.5)
    exposed = np.asarray(Image.fromarray(light.astype(np.float32)).resize((columns, rows), Image.Resampling.BICUBIC))
    return _detected(np.maximum(exposed, 1e-4), rng)


def _detected(light: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.uint16]:
    """Add quantum noise (Poisson, which is normal at these counts), take the logarithm, and process for presentation.

    As in every modality, large differences (lung against abdomen) are reduced more than small ones.
    """
    noise = rng.standard_normal(light.shape, dtype=np.float32)
    counted = np.maximum(light + noise * np.sqrt(light / np.float32(_QUANTA)), np.float32(5e-5))
    depth = -np.log(counted)
    coarse = Image.fromarray(-np.log(light)).resize((175, 215), Image.Resampling.BOX)
    base = blurred(np.asarray(coarse, np.float64), 1.6, HEIGHT / 215).astype(np.float32)
    base = np.asarray(Image.fromarray(base).resize(light.shape[::-1], Image.Resampling.BICUBIC))
    flattened = np.float32(2.2) * np.tanh((base - np.float32(2.2)) / np.float32(2.6)) + np.float32(1.15) * (
        depth - base
    )
    shown = np.clip((flattened + np.float32(2.0)) / np.float32(4.1), 0.0, 1.0)
    stored: NDArray[np.uint16] = np.rint(shown * (2**BITS - 1)).astype(np.uint16)
    return stored


def _optical_depth(body: Body, finding: DrawnFinding, rng: np.random.Generator) -> Map:
    """Attenuation coefficient times path length, summed over the tissues, on the grid of `anatomy`."""
    y, x = np.mgrid[0.0:HEIGHT:CELL, -WIDTH / 2 : WIDTH / 2 : CELL]
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
            air += _free_air(x, y, side, lung)
            vessels = np.where(side * x > 0, vessels * _collapsed(x, y, side), vessels)
        air += lung * (1 - _LUNG_DENSITY)
    filled = np.clip(air / 4.0, 0.0, 1.0)  # vessels are visible where lung surrounds them
    soft = np.maximum(trunk - air, 0.0) + vessels * filled
    if finding == "mass":
        soft += _ball(x, y, body.side * body.spot[0], body.spot[1], body.radius)
    depth: Map = _SOFT * soft + (_BONE - _SOFT) * bone_depth(x, y, body, trunk)
    return blurred(depth, 0.035)


def _ball(x: Map, y: Map, cx: float, cy: float, radius: float) -> Map:
    """Path length through a round mass."""
    edge = radius * (1 + 0.06 * np.sin(5 * np.arctan2(y - cy, x - cx)))  # slightly lobed
    inside: Map = 2 * np.sqrt(np.clip(edge**2 - (x - cx) ** 2 - (y - cy) ** 2, 0.0, None))
    return inside


def _fluid(x: Map, y: Map, side: int, body: Body) -> Map:
    """Share of the chest's depth that an effusion fills: its surface is level, and rises at the wall in a meniscus."""
    wall = np.clip(13.6 - side * x, 0.0, None)
    surface = body.dome[(side + 1) // 2] - 2.2 - 6.5 * np.exp(-wall / 3.2)
    return step(y, surface, 0.55)


def _collapsed(x: Map, y: Map, side: int) -> Map:
    """1 inside the lung collapsed by a pneumothorax, whose edge is away from the top and the outer wall; else 0."""
    u, v = (side * x - 5.2) / 5.7, (y - 20.2) / 11.6
    return 1 - step(np.abs(u) ** 2.3 + np.abs(v) ** 2.3, 1.0, 0.012)


def _free_air(x: Map, y: Map, side: int, lung: Map) -> Map:
    """Path length of the air that replaces lung beside the collapsed lung, less the thin line of the pleura."""
    inside = _collapsed(x, y, side)
    line = 4 * inside * (1 - inside) * np.clip(lung / 4.0, 0.0, 1.0)
    return lung * _LUNG_DENSITY * (1 - inside) - 0.5 * line
