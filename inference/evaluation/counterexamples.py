"""Counter-examples for the gate: pictures that might reach the network but are not frontal chest radiographs of adults.

There are few real pictures of this kind, so most are made: radiographs that are turned, upside down, inverted or cut,
and drawn pictures that look like photographs, pages, limbs or noise.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from inference.preprocess import Image


def counterexamples(
    chests: Sequence[Image], rng: np.random.Generator, per_kind: int
) -> Iterator[tuple[str, int, Image]]:  # fmt: skip
    """Yield (kind, index of the chest from which it was made, picture), `per_kind` of each kind in `KINDS`."""
    for kind, make in KINDS.items():
        for i in rng.choice(len(chests), per_kind, replace=per_kind > len(chests)):
            yield kind, int(i), np.asarray(make(chests[i], rng), np.float32).clip(0, 1)


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


Maker = Callable[[Image, np.random.Generator], Any]  # makes a counter-example of a chest
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
}
