"""Counter-examples for the gate: pictures that might reach the network but are not frontal chest radiographs of adults.

There are few real pictures of this kind, so most are made: radiographs that are turned, upside down, inverted, cut,
covered, clipped or narrowed, two in one picture, and drawn pictures that look like photographs, pages, limbs or noise.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from PIL import Image as Pillow

from inference.preprocess import Image

AVERAGED = "two averaged"


def counterexamples(
    chests: Sequence[Image], rng: np.random.Generator, per_kind: int, groups: Sequence[Any] = (),
    averaged: int | None = None,
) -> Iterator[tuple[str, int, Image]]:  # fmt: skip
    """Yield (kind, index of the chest from which it was made, picture), `per_kind` of each kind.

    Of the kind `AVERAGED` there are `averaged`, if that is given. A picture made of two chests is made of two in the
    same group; `groups` has one for each chest.
    """
    groups = groups or [None] * len(chests)
    beside = {group: [i for i, other in enumerate(groups) if other == group] for group in set(groups)}
    for kind in (*KINDS, *PAIRED):
        number = averaged if kind == AVERAGED and averaged is not None else per_kind
        for i in rng.choice(len(chests), number, replace=number > len(chests)):
            other = chests[int(rng.choice(beside[groups[i]]))] if kind in PAIRED else chests[i]
            made = PAIRED[kind](chests[i], other, rng) if kind in PAIRED else KINDS[kind](chests[i], rng)
            yield kind, int(i), np.asarray(made, np.float32).clip(0, 1)


def variants(picture: Image, rng: np.random.Generator) -> list[Image]:
    """Return a picture inverted, mirrored, turned in three ways, cut in three ways, and `relit`."""
    turned = [np.rot90(picture, int(k)) for k in (1, 2, 3)]
    cuts = [_cut(picture, rng, 0.45, 0.9) for _ in range(3)]
    views = [1 - picture, picture[:, ::-1], *turned, *cuts, relit(picture, rng)]
    return [np.ascontiguousarray(view) for view in views]


def relit(picture: Image, rng: np.random.Generator) -> Image:
    """Return a picture as another station might show it.

    It has another gamma and window, noise, a few per cent cut off at the edges and, at times, a black frame or a
    marker.
    """
    low, high = np.sort(rng.uniform([0, 0.85], [0.15, 1.1]))
    result = np.clip((picture - low) / (high - low), 0, 1) ** np.exp(rng.uniform(-0.5, 0.5))
    result = _cut(result, rng, 0.88, 1.0)
    if rng.random() < 0.3:
        result = np.pad(result, [(int(n), int(m)) for n, m in rng.integers(0, max(2, len(result) // 8), (2, 2))])
    if rng.random() < 0.3:
        side = max(1, len(result) // 16)
        result = result.copy()
        result[side : 2 * side, side : 2 * side] = 1.0
    return np.asarray(np.clip(result + rng.normal(0, rng.uniform(0, 0.03), result.shape), 0, 1), np.float32)


def _cut(picture: Image, rng: np.random.Generator, least: float, most: float) -> Image:
    rows, columns = (max(4, int(n * rng.uniform(least, most))) for n in picture.shape)
    top, left = rng.integers(0, picture.shape[0] - rows + 1), rng.integers(0, picture.shape[1] - columns + 1)
    return picture[top : top + rows, left : left + columns]


def _cloud(rng: np.random.Generator, side: int = 96, steepness: float = 1.0) -> Image:
    """Draw noise with the spectrum of a photograph (1 / f ** steepness), [side, side]."""
    y, x = np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side), indexing="ij")
    spectrum = np.fft.fft2(rng.normal(size=(side, side))) / np.maximum(np.hypot(x, y), 1 / side) ** steepness
    field = np.fft.ifft2(spectrum).real
    return np.asarray((field - field.min()) / np.ptp(field), np.float32)


def _photograph(rng: np.random.Generator) -> Image:
    """Draw discs and boxes before a background, each with a texture of its own."""
    picture, side = _cloud(rng, steepness=rng.uniform(0.8, 2)), 96
    y, x = np.mgrid[0:side, 0:side]
    for _ in range(int(rng.integers(2, 9))):
        cy, cx, ry, rx = *rng.uniform(0, side, 2), *rng.uniform(4, 40, 2)
        disc = ((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 < 1
        box = (np.abs(y - cy) < ry) & (np.abs(x - cx) < rx)
        inside = disc if rng.random() < 0.5 else box
        picture = np.where(inside, rng.uniform(0, 1) + 0.3 * (_cloud(rng) - 0.5), picture)
    return np.asarray(np.clip(picture, 0, 1), np.float32)


def _page(rng: np.random.Generator) -> Image:
    """Draw lines that look like print."""
    picture = np.full((128, 96), rng.choice([0.0, 1.0]))
    for top in range(6, 122, int(rng.integers(5, 10))):
        ink = rng.random(96) < 0.5
        picture[top : top + 3, ink & (np.arange(96) > 6) & (np.arange(96) < rng.integers(30, 92))] = 1 - picture[0, 0]
    return np.asarray(picture, np.float32)


def _limb(rng: np.random.Generator) -> Image:
    """Draw two slanted bright bars in a less bright one before black: the bones of a limb."""
    side = 96
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    angle = rng.uniform(-0.6, 0.6)
    across = x * np.cos(angle) + y * np.sin(angle) + rng.uniform(-0.2, 0.2)
    flesh = np.clip(1 - (np.abs(across) / rng.uniform(0.35, 0.7)) ** 4, 0, 1) * rng.uniform(0.2, 0.5)
    bones = sum(np.exp(-(((across - c) / rng.uniform(0.06, 0.16)) ** 4)) for c in rng.uniform(-0.3, 0.3, 2))
    return np.asarray(np.clip(flesh + 0.5 * bones + 0.05 * _cloud(rng), 0, 1), np.float32)


def _ramp(rng: np.random.Generator) -> Image:
    slope = np.linspace(0, 1, 64)[:, None] ** rng.uniform(0.3, 3) * np.ones(64)
    return np.asarray(np.rot90(slope, int(rng.integers(4))), np.float32)


def _resized(picture: Image, shape: tuple[int, ...]) -> Image:
    """Return a picture with this many rows and columns."""
    as_file = Pillow.fromarray(np.asarray(picture, np.float32))
    return np.asarray(as_file.resize((shape[1], shape[0]), Pillow.Resampling.BILINEAR))


def _covered(picture: Image, rng: np.random.Generator) -> Image:
    """Return a picture with a square of one grey value, mostly black, over the mediastinum."""
    result = relit(picture, rng).copy()
    rows, columns = result.shape
    side = int(min(rows, columns) * rng.uniform(0.18, 0.4))
    top = int((rows - side) * rng.uniform(0.3, 0.7))
    left = int((columns - side) * rng.uniform(0.38, 0.62))
    result[top : top + side, left : left + side] = 0.0 if rng.random() < 0.7 else rng.uniform(0, 1)
    return result


def _clipped(picture: Image, rng: np.random.Generator) -> Image:
    """Return a picture whose darkest third to half is all black, or at times whose brightest is all white."""
    bright = rng.random() < 0.2
    values = 1 - picture if bright else picture
    level = float(np.quantile(values, rng.uniform(0.35, 0.5)))
    clipped = np.clip((values - level) / max(1 - level, 1e-3), 0, 1)
    return np.asarray(1 - clipped if bright else clipped, np.float32)


def _narrowed(picture: Image, rng: np.random.Generator) -> Image:
    """Return a picture narrowed to about half of its width, or lowered to half of its height, between black."""
    rows, columns = picture.shape
    narrow = int(columns * rng.uniform(0.4, 0.6))
    small = _resized(picture, (rows, narrow))
    left = int((columns - narrow) * rng.uniform(0.2, 0.8))
    return np.pad(small, [(0, 0), (left, columns - narrow - left)])


def _side_by_side(picture: Image, other: Image, rng: np.random.Generator) -> Image:
    """Return two pictures beside each other, at times one above the other, at times with a gap."""
    axis = int(rng.random() < 0.75)
    gap = np.zeros((picture.shape[0], int(rng.integers(0, max(2, picture.shape[1] // 12)))), np.float32)
    first, second = relit(picture, rng), _resized(relit(other, rng), picture.shape)
    first = _resized(first, picture.shape)
    return np.concatenate([first, gap, second], 1) if axis else np.concatenate([first, second], 0)


def _averaged(picture: Image, other: Image, rng: np.random.Generator) -> Image:
    """Return the mean of two pictures, each of which has at least a third of the weight."""
    share = rng.uniform(0.35, 0.65)
    return share * picture + (1 - share) * _resized(other, picture.shape)


Maker = Callable[[Image, np.random.Generator], Any]  # makes a counter-example of a chest
PairMaker = Callable[[Image, Image, np.random.Generator], Any]  # makes one of two chests
KINDS: dict[str, Maker] = {
    "turned by 90": lambda p, rng: np.rot90(relit(p, rng), int(rng.choice([1, 3]))),
    "upside down": lambda p, rng: relit(p, rng)[::-1, :: int(rng.choice([1, -1]))],
    "inverted": lambda p, rng: 1 - relit(p, rng),
    "a part": lambda p, rng: _cut(relit(p, rng), rng, 0.2, 0.55),
    "half": lambda p, rng: relit(p, rng)[:, : p.shape[1] // 2] if rng.random() < 0.5 else p[: p.shape[0] // 2],
    "squeezed beside black": lambda p, rng: np.pad(p[:, :: int(rng.integers(3, 6))], [(0, 0), (0, p.shape[1] // 2)]),
    "shuffled": lambda p, rng: rng.permutation(rng.permutation(p, axis=0), axis=1),
    "noise": lambda p, rng: rng.normal(0.5, rng.uniform(0.05, 0.4), (96, 96)),
    "clouds": lambda p, rng: _cloud(rng, steepness=rng.uniform(0.5, 3)),
    "photograph": lambda p, rng: _photograph(rng),
    "page": lambda p, rng: _page(rng),
    "limb": lambda p, rng: _limb(rng),
    "ramp": lambda p, rng: _ramp(rng),
    "nearly blank": lambda p, rng: rng.uniform(0, 1) + rng.normal(0, 0.004, (96, 96)),
    "covered in the middle": _covered,
    "clipped": _clipped,
    "narrowed between black": _narrowed,
}
PAIRED: dict[str, PairMaker] = {"two side by side": _side_by_side, AVERAGED: _averaged}
