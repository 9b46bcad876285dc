"""The anatomy of a drawn chest radiograph: for each point of the detector, the path length of the beam in each tissue.

All lengths are in centimetres. The body is seen from the front: x runs from its middle to the patient's left, y runs
down. A `Map` is float64 [rows, columns].
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Map = NDArray[np.float64]

WIDTH, HEIGHT = 35.0, 43.0  # cm: a detector of 14 x 17 inches, upright
#: cm: the spacings of the grid on which the anatomy is drawn, for large pictures and for small ones
CELL, COARSE_CELL = 0.05, 0.1


@dataclass(frozen=True)
class Body:
    """The properties that differ between patients; lengths in cm. `size` and `heart` are factors, `tilt` is dx/dy.

    The last four say how strong a finding is, if it is drawn.
    """

    size: float
    dome: tuple[float, float]  # y of the top of the diaphragm, right and left
    heart: float
    side: int  # of the finding: -1 is the patient's right, 1 the left
    spot: tuple[float, float]
    tilt: float
    radius: float  # of the mass
    level: float  # of the effusion, above the top of the diaphragm
    meniscus: float  # how far the effusion rises at the wall
    collapse: float  # width of the collapsed lung; 1 is half of the chest

    @staticmethod
    def of(rng: np.random.Generator, large_heart: bool) -> "Body":
        """Draw a patient at random."""
        right = rng.uniform(26.0, 27.6)
        return Body(
            size=rng.uniform(1.09, 1.18),
            dome=(right, right + rng.uniform(0.7, 1.5)),
            heart=rng.uniform(1.36, 1.6) if large_heart else rng.uniform(0.92, 1.06),
            side=int(rng.choice([-1, 1])),
            spot=(rng.uniform(6.5, 9.8), rng.uniform(11.0, 20.0)),
            radius=rng.uniform(1.6, 2.8),
            tilt=rng.uniform(-0.015, 0.015),
            level=rng.uniform(-1.0, 5.0),
            meniscus=rng.uniform(3.5, 7.5),
            collapse=rng.uniform(0.72, 1.03),
        )


def trunk_depth(x: Map, y: Map) -> Map:
    """Path length through neck, shoulders and trunk, whose cross-section is an ellipse at each height."""
    shoulder = step(y, 5.6 + 0.10 * np.abs(x), 1.3)
    half_width = 5.6 + 13.6 * shoulder - 2.6 * step(y, 15.0, 3.5) + 0.6 * step(y, 30.0, 3.0)
    half_depth = 5.8 + 4.0 * shoulder + 1.0 * step(y, 26.0, 3.0)
    inside = np.clip(1 - (x / half_width) ** 2, 0.0, 1.0)
    depth: Map = 2.0 * half_depth * np.sqrt(inside)
    return depth


def cavity_depth(x: Map, y: Map, side: int, body: Body) -> Map:
    """Path length through one half of the chest, between ribs, mediastinum and diaphragm."""
    x = side * x
    outer = _wall(y)
    inner = 2.2 + 0.9 * np.clip((13.0 - y) / 8.0, 0.0, 1.0) ** 2 + 0.7 * step(y, 15.0, 2.0)
    middle, half = (outer + inner) / 2, np.maximum((outer - inner) / 2, 1e-3)
    across = np.clip(1 - np.abs((x - middle) / half) ** 2.6, 0.0, 1.0)
    apex = np.clip((outer - inner) / 7.0, 0.0, 1.0)
    dome = body.dome[(side + 1) // 2]
    floor = dome + 0.75 * np.clip((x - 6.3) / 2.6, -1.6, None) ** 2 * np.where(x > 6.3, 1.0, 0.45)
    floor = np.minimum(floor, dome + 5.2)
    depth = 17.5 * across**0.5 * apex**0.5
    behind = 0.20 * (1 - step(y, floor + 2.5, 0.9))  # the recess of the lung behind the dome of the diaphragm
    lung: Map = depth * np.maximum(1 - step(y, floor, 0.10), behind) * (1 - step(y, 33.5, 0.5))
    return lung


def _wall(y: Map) -> Map:
    """Distance of the chest's inner wall from the middle: the outline of an egg, blunt at the top."""
    rounded = np.sqrt(np.clip(1 - (np.clip(21.0 - y, 0.0, None) / 16.9) ** 2, 0.0, 1.0))
    wall: Map = 13.6 * rounded - 0.05 * np.clip(y - 21.0, 0.0, None)
    return wall


def heart_depth(x: Map, y: Map, body: Body) -> Map:
    """Path length through heart, aortic arch and great vessels, which displace the lungs."""
    grown = body.heart
    muscle = ellipsoid(x, y, 1.9 + 1.6 * (grown - 1), 21.8, 6.9 * grown, 5.2 * grown**0.6, 0.52, 8.4)
    atrium = ellipsoid(x, y, -1.9 - 0.7 * (grown - 1), 21.6, 2.7 * grown, 4.6, 0.1, 6.0)
    arch = ellipsoid(x, y, 1.9, 12.9, 1.9, 1.9, 0.0, 6.0)
    artery = ellipsoid(x, y, 2.6, 15.9, 1.7, 2.0, 0.3, 5.0)
    cava = ellipsoid(x, y, -1.9, 13.5, 1.0, 5.0, 0.0, 5.0)
    depth: Map = np.maximum.reduce([muscle, atrium, arch, artery, cava])
    return depth


def ellipsoid(x: Map, y: Map, cx: float, cy: float, a: float, b: float, turn: float, depth: float) -> Map:
    """Path length through an ellipsoid: centre (cx, cy), half axes a, b and `depth`, turned by `turn` radians."""
    u = (x - cx) * np.cos(turn) + (y - cy) * np.sin(turn)
    v = -(x - cx) * np.sin(turn) + (y - cy) * np.cos(turn)
    inside: Map = 2 * depth * np.sqrt(np.clip(1 - (u / a) ** 2 - (v / b) ** 2, 0.0, 1.0))
    return inside


def trachea_air(x: Map, y: Map) -> Map:
    """Path length through the air in the trachea and the two main bronchi."""
    tube = 2.6 * np.sqrt(np.clip(1 - ((x + 0.2) / 0.85) ** 2, 0.0, 1.0)) * (1 - step(y, 13.6, 0.4))
    spread = 0.62 * np.clip(y - 13.2, 0.0, None)
    bronchi = sum(1.9 * np.sqrt(np.clip(1 - ((x + 0.2 - s * spread) / 0.7) ** 2, 0.0, 1.0)) for s in (-1, 1))
    return np.maximum(tube, bronchi * step(y, 13.3, 0.2) * (1 - step(y, 17.0, 0.7)))


def stomach_air(x: Map, y: Map, body: Body) -> Map:
    """Path length through the air bubble of the stomach, under the left dome of the diaphragm."""
    return 0.5 * ellipsoid(x, y, 6.6, body.dome[1] + 2.6, 2.4, 1.3, 0.1, 4.0)


def bone_depth(x: Map, y: Map, body: Body, trunk: Map) -> Map:
    """Path length through spine, ribs and shoulder girdle; at most 0.6 of the trunk's depth at each point."""
    spine = np.clip(1 - (x / 1.9) ** 2, 0.0, 1.0) ** 0.6 * (1.5 + 0.45 * np.cos(2 * np.pi * y / 2.45))
    spine += 0.6 * np.exp(-((x / 0.35) ** 2)) * (np.cos(2 * np.pi * (y - 0.8) / 2.45) > 0.55)
    drawn = _drawn_bones(body, x.shape)
    bones: Map = np.minimum(spine + drawn, 0.6 * trunk)
    return bones


def _drawn_bones(body: Body, shape: tuple[int, ...]) -> Map:
    """Ribs, collar bones, shoulder blades and the heads of the upper arms, drawn as tubes with a hard shell."""
    along = np.linspace(0.0, 1.0, 30)
    collar = np.stack([1.6 + 13.8 * along, 8.3 - 2.2 * along - 1.1 * np.sin(2 * np.pi * along)], 1)
    blade = np.stack([13.2 + 2.0 * along, 19.0 - 11.0 * along], 1)
    bones = np.zeros(shape)
    for number in range(10):
        bones += _tube(_rib(number), 1.15 - 0.035 * abs(number - 4), 1.5, body, shape)
    bones += _tube(collar, 1.15, 2.3, body, shape)
    bones += _tube(blade, 0.8, 1.2, body, shape)
    bones += _tube(np.array([[17.0, 8.2], [17.6, 9.0]]), 4.4, 2.0, body, shape)
    return blurred(bones, 0.06, cell_of(shape))


def _rib(number: int) -> Map:
    """Centre line [points, 2] of a left rib, from the spine at the back round the side to the cartilage in front."""
    turn = np.linspace(0.02, 0.80 if number else 0.7, 60) * np.pi
    top = 5.0 + 2.35 * number
    drop = 3.4 + 0.62 * number
    reach = float(_wall(np.asarray(top + drop / 2 + 0.6))) + 0.5
    across = 1.7 + (reach - 1.7) * np.sin(turn) ** 0.9
    return np.stack([across, top + drop * (1 - np.cos(turn)) / 2], 1)


def _tube(line: Map, width: float, depth: float, body: Body, shape: tuple[int, ...]) -> Map:
    """Path length through a bone along `line` and one along its mirror image; most of the `depth` is at the edges."""
    pair = [line, line * np.array([-1.0, 1.0])]
    shell = _strokes(pair, width, body, shape)
    core = _strokes(pair, 0.62 * width, body, shape)
    bone: Map = depth * (0.75 * shell - 0.36 * core)
    return bone


def vessel_depth(rng: np.random.Generator, body: Body, shape: tuple[int, ...]) -> Map:
    """Path length through the blood vessels, which leave the hilum, divide at five levels and get thinner outwards."""
    ends = [
        (np.array([side * 3.2, 16.6 + 1.2 * angle]), angle, side)
        for side in (-1, 1)
        for angle in np.linspace(-1.25, 1.45, 9) + rng.normal(0, 0.08, 9)
    ]
    drawn, width = np.zeros(shape), 0.62
    for _ in range(5):
        lines = [_branch(rng, *end) for end in ends]
        drawn += 2.2 * width * _strokes(lines, width, body, shape)
        ends = [
            (line[-1], angle + turn * rng.uniform(0.15, 0.45), side)
            for line, (_start, angle, side) in zip(lines, ends, strict=True)
            for turn in (-1, 1)
        ]
        width *= 0.68
    return blurred(drawn, 0.05, cell_of(shape))


def _branch(rng: np.random.Generator, start: Map, angle: float, side: int) -> Map:
    """Centre line [7, 2] of one piece of a vessel, slightly bent at random."""
    bend = angle + np.cumsum(rng.normal(0, 0.07, 6))
    steps = np.stack([side * np.cos(bend), np.sin(bend)], 1) * rng.uniform(1.7, 2.7) / 6
    return np.concatenate([start[None], start + np.cumsum(steps, 0)])


def _strokes(lines: list[Map], width: float, body: Body, shape: tuple[int, ...]) -> Map:
    """Draw the lines, 1 on a background of 0; lines and `width` are in cm before the body is scaled by its size."""
    canvas, cell = Image.new("L", (shape[1], shape[0]), 0), cell_of(shape)
    draw = ImageDraw.Draw(canvas)
    for line in lines:
        y = 2.0 + (line[:, 1] - 3.0) * body.size
        x = line[:, 0] * body.size - body.tilt * (y - 20)
        points = [((px + WIDTH / 2) / cell, py / cell) for px, py in zip(x, y, strict=True)]
        draw.line(points, fill=255, width=max(round(width * body.size / cell), 1), joint="curve")
    return np.asarray(canvas) / 255.0


def grid(cell: float) -> tuple[Map, Map]:
    """Return y and x of each point of the detector, in cm from its upper edge and from its middle."""
    rows, columns = round(HEIGHT / cell), round(WIDTH / cell)
    y, x = np.mgrid[0:rows, 0:columns] * cell
    return y, x - WIDTH / 2


def cell_of(shape: tuple[int, ...]) -> float:
    """Return the spacing of a grid of this shape, in cm."""
    return HEIGHT / shape[0]


def step(values: Map, edge: Map | float, softness: float) -> Map:
    """Rise smoothly from 0 below the edge to 1 above it, over a distance of about `softness`."""
    return 1 / (1 + np.exp(np.clip(-(values - edge) / (0.4 * softness), -60.0, 60.0)))


def blurred(values: Map, centimetres: float, cell: float) -> Map:
    """Blur by a Gaussian with this standard deviation; the image is continued by its mirror image at the edges."""
    pad = min(int(3 * centimetres / cell) + 1, min(values.shape) - 1)
    wide = np.pad(values, pad, mode="reflect")
    fy, fx = np.fft.fftfreq(wide.shape[0], cell)[:, None], np.fft.rfftfreq(wide.shape[1], cell)[None]
    soft = np.fft.irfft2(np.fft.rfft2(wide) * np.exp(-2 * (np.pi * centimetres) ** 2 * (fy**2 + fx**2)), wide.shape)
    return soft[pad:-pad, pad:-pad]
