"""Draw a lateral chest radiograph of no real patient: a picture that a model of frontal radiographs must refuse.

The body is seen from its side: x runs from the breastbone to the back, y runs down, in centimetres from the middle and
from the upper edge of the detector.
"""

import numpy as np
from numpy.typing import NDArray

from dicom_io.phantom.anatomy import COARSE_CELL, Map, blurred, ellipsoid, grid, step
from dicom_io.phantom.exposure import BONE, LUNG_DENSITY, SOFT, exposed


def draw_lateral(seed: int, rows: int = 2500, columns: int = 2048) -> NDArray[np.uint16]:
    """Return 12-bit values, uint16 [rows, columns], for MONOCHROME2. The same arguments give the same values.

    Half of the patients face to the left.
    """
    rng = np.random.default_rng(seed)
    y, x = grid(COARSE_CELL)
    size = rng.uniform(0.95, 1.2)
    x = (x + rng.uniform(-2.0, 2.0)) * rng.choice([-1, 1]) / size
    y = 3.0 + (y - 2.0) / size
    trunk = _trunk(x, y, rng.uniform(11.0, 14.5), rng.uniform(9.0, 14.0))
    air = np.minimum(_lungs(x, y, rng.uniform(25.0, 27.5), rng.uniform(0.25, 0.5)), 0.9 * trunk)
    heart = ellipsoid(x, y, -3.4, 21.5, 5.2 * rng.uniform(0.9, 1.3), 4.4, -0.5, 4.0)
    hila = ellipsoid(x, y, 0.6, 16.0, 2.2, 2.6, 0.2, 1.4)
    arch = ellipsoid(x, y, 1.2, 12.2, 2.4, 2.2, 0.0, 1.0)
    lung = np.maximum(air - np.maximum.reduce([heart, hila, arch]), 0.0)
    bones = np.minimum(_bones(x, y, rng.uniform(1.8, 2.4)), 0.6 * trunk)
    depth = SOFT * np.maximum(trunk - lung * (1 - LUNG_DENSITY), 0.0) + (BONE - SOFT) * bones
    return exposed(blurred(depth, 0.035, COARSE_CELL), rows, columns, rng)


def _trunk(x: Map, y: Map, half: float, width: float) -> Map:
    """Path length through neck, raised arms and trunk, which is wider from side to side than from front to back."""
    shoulder = step(y, 8.0, 2.0)
    half_depth = 6.0 + (half - 6.0) * shoulder
    across = np.clip(1 - (x / half_depth) ** 2, 0.0, 1.0)
    arms = ellipsoid(x, y, -2.0, 3.0, 9.0, 5.0, -0.5, 5.0)
    depth: Map = (12.0 + width * shoulder) * np.sqrt(across) + arms
    return depth


def _lungs(x: Map, y: Map, dome: float, slope: float) -> Map:
    """Path length through both lungs, between breastbone and spine, above a diaphragm that falls towards the back."""
    inside = np.clip(1 - np.abs((x - 0.3) / 8.6) ** 2.6 - np.abs((y - 19.0) / 14.0) ** 3.0, 0.0, 1.0)
    right = step(y, dome + slope * np.clip(x, -6.0, None), 0.12)
    left = step(y, dome + 1.3 + slope * np.clip(x, -6.0, None), 0.12)
    lungs: Map = 20.0 * np.sqrt(inside) * (1 - 0.5 * right - 0.5 * left)
    return lungs


def _bones(x: Map, y: Map, period: float) -> Map:
    """Path length through the vertebrae at the back, the breastbone, the shoulder blades and the slanting ribs."""
    curved = x - 7.2 - 1.2 * np.sin((y - 6.0) / 9.0)
    spine = (
        3.0 * np.clip(1 - (curved / 1.8) ** 2, 0.0, 1.0) ** 0.4 * (0.8 + 0.3 * (np.cos(2 * np.pi * y / period) > -0.6))
    )
    breast = 1.5 * np.clip(1 - ((x + 9.0 - 0.06 * (y - 12.0)) / 0.6) ** 2, 0.0, 1.0) * step(y, 10.0, 1.0)
    ribs = 0.9 * np.clip(np.cos(2 * np.pi * (y - 0.75 * x) / 2.6) - 0.55, 0.0, 1.0) * step(y, 7.0, 1.0)
    blades = 1.6 * np.clip(1 - ((x - 4.6 + 0.2 * (y - 13.0)) / 1.0) ** 2, 0.0, 1.0) * (1 - step(y, 17.0, 1.0))
    total: Map = spine + breast * (1 - step(y, 24.0, 1.0)) + ribs * (1 - step(y, 29.0, 1.5)) + blades
    return total
