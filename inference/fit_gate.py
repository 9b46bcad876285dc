"""Fitting the gate: frontal chest radiographs of adults against everything that might reach the network by mistake.

Real pictures of something else are few, so most of the counter-examples are made: radiographs turned, upside down,
inverted, cut to a part, and pictures that no X-ray made. What is real is given by the caller.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inference.engine import Classifier
from inference.gate import apply, describe, save
from inference.metrics import auroc
from inference.preprocess import Image, preprocess_all

Array = npt.NDArray[np.float32]
FEATURES = ["statistics", "penultimate"]


def fit_gate(
    classifier: Classifier, chests: Sequence[Image], others: Sequence[Image], *, groups: Sequence[Any] = (),
    passing: float = 0.98, seed: int = 0, hidden: int = 32,
) -> dict[str, Any]:  # fmt: skip
    """Fit the gate of the classifier's bundle and write it there; returns what it is worth on a fifth held out.

    chests: frontal chest radiographs of adults; others: real pictures of something else; both float32 [rows, columns]
    in 0..1. groups: the patient of each chest. passing: the share of held-out chests that shall pass.
    """
    rng = np.random.default_rng(seed)
    held = _held_out(groups or list(range(len(chests))), rng)
    train, test = [[p for p, h in zip(chests, held, strict=True) if h == side] for side in (False, True)]
    made, made_test = (counterexamples(part, rng, per_kind=min(300, len(part))) for part in (train, test))
    split = rng.random(len(others)) < 0.2
    real, real_test = [[p for p, h in zip(others, split, strict=True) if h == side] for side in (False, True)]
    negatives = [p for _, p in made] + [view for picture in real for view in variants(picture, rng)]
    negatives_test = [p for _, p in made_test] + real_test
    positives = [*train, *(relit(p, rng) for p in train)]
    tensors = _fit(features_of(classifier, positives), features_of(classifier, negatives), hidden, seed)
    scores = [_scores(tensors, features_of(classifier, part)) for part in (test, negatives_test)]
    threshold = float(np.quantile(scores[0], 1 - passing))
    config = {"features": FEATURES, "threshold": round(threshold, 6),
              "expects": "a frontal chest radiograph of an adult"}  # fmt: skip
    save(tensors, classifier.bundle.directory, config)
    kinds = [k for k, _ in made_test] + ["another picture"] * (len(negatives_test) - len(made_test))
    return _worth(scores[0], scores[1], kinds, threshold)


def _worth(chests: Array, others: Array, kinds: list[str], threshold: float) -> dict[str, Any]:
    refused = {kind: float(np.mean([s < threshold for s, k in zip(others, kinds, strict=True) if k == kind]))
               for kind in sorted(set(kinds))}  # fmt: skip
    both = np.concatenate([chests, others])
    area = auroc(both, (np.arange(len(both)) < len(chests)).astype(np.float32))
    return {"auroc": area, "threshold": threshold, "chests": len(chests), "chests_passed":
            float((chests >= threshold).mean()), "others": len(others), "refused": refused}  # fmt: skip


def _held_out(groups: Sequence[Any], rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    names, codes = np.unique(np.asarray(groups).astype(str), return_inverse=True)
    result: npt.NDArray[np.bool_] = (rng.random(len(names)) < 0.2)[codes]
    return result


def features_of(classifier: Classifier, pictures: Sequence[Image]) -> Array:
    """What the gate looks at, [n, d], for pictures of any size."""
    parts = []
    for i in range(0, len(pictures), 128):
        batch = preprocess_all(classifier.transform, pictures[i : i + 128])
        parts.append(describe(FEATURES, batch, classifier.run(batch)))
    return np.concatenate(parts)


def _fit(positives: Array, negatives: Array, hidden: int, seed: int) -> dict[str, Array]:
    """A small network with one hidden layer; both classes weigh the same."""
    torch.manual_seed(seed)
    x = np.concatenate([positives, negatives])
    mean, scale = x.mean(0), np.maximum(x.std(0), 1e-3)
    z = torch.from_numpy(np.clip((x - mean) / scale, -10, 10))
    y = torch.cat([torch.ones(len(positives)), torch.zeros(len(negatives))])
    weight = torch.where(y > 0, len(y) / (2 * len(positives)), len(y) / (2 * len(negatives)))
    network = nn.Sequential(nn.Linear(z.shape[1], hidden), nn.ReLU(), nn.Linear(hidden, 1))
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=0.05)
    for _ in range(15):
        for rows in torch.randperm(len(z)).split(256):  # type: ignore[no-untyped-call]
            noisy = z[rows] + 0.1 * torch.randn_like(z[rows])
            loss = F.binary_cross_entropy_with_logits(network(noisy)[:, 0], y[rows], weight[rows])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    first, last = network[0], network[2]
    layers = {"weight0": first.weight, "bias0": first.bias, "weight1": last.weight, "bias1": last.bias}
    tensors = {name: np.asarray(cast(Tensor, t).detach().numpy(), np.float32) for name, t in layers.items()}
    return tensors | {"mean": np.asarray(mean, np.float32), "scale": np.asarray(scale, np.float32)}


def _scores(tensors: dict[str, Array], features: Array) -> Array:
    return apply(tensors, features, np.zeros((len(features), 0), np.float32))


# ---- counter-examples


def counterexamples(chests: Sequence[Image], rng: np.random.Generator, per_kind: int) -> list[tuple[str, Image]]:
    """(kind, picture): `per_kind` of each kind, made of the chests or of nothing."""
    result = []
    for kind, make in KINDS.items():
        for i in rng.choice(len(chests), per_kind, replace=per_kind > len(chests)):
            result.append((kind, np.asarray(make(chests[i], rng), np.float32).clip(0, 1)))
    return result


def variants(picture: Image, rng: np.random.Generator) -> list[Image]:
    """A real picture of something else, also inverted, turned, mirrored, cut and relit."""
    turned = [np.rot90(picture, int(k)) for k in (1, 2, 3)]
    cuts = [_cut(picture, rng, 0.45, 0.9) for _ in range(3)]
    views = [picture, 1 - picture, picture[:, ::-1], *turned, *cuts, relit(picture, rng)]
    return [np.ascontiguousarray(view) for view in views]


def relit(picture: Image, rng: np.random.Generator) -> Image:
    """The same as another station shows it: gamma, window, a black frame, a marker, a few per cent cut off, noise."""
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
    """Noise with the spectrum of a photograph (1 / f ** steepness)."""
    y, x = np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side), indexing="ij")
    spectrum = np.fft.fft2(rng.normal(size=(side, side))) / np.maximum(np.hypot(x, y), 1 / side) ** steepness
    field = np.fft.ifft2(spectrum).real
    return np.asarray((field - field.min()) / np.ptp(field), np.float32)


def _photograph(rng: np.random.Generator) -> Image:
    """Things with edges before a background: discs and boxes, each with its own texture."""
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
    """Lines of something like print."""
    picture = np.full((128, 96), rng.choice([0.0, 1.0]))
    for top in range(6, 122, int(rng.integers(5, 10))):
        ink = rng.random(96) < 0.5
        picture[top : top + 3, ink & (np.arange(96) > 6) & (np.arange(96) < rng.integers(30, 92))] = 1 - picture[0, 0]
    return np.asarray(picture, np.float32)


def _limb(rng: np.random.Generator) -> Image:
    """One or two bright bars with a brighter edge before black, slanted: a long bone."""
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


Maker = Callable[[Image, np.random.Generator], Any]
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


def read_pictures(directory: Path, suffixes: Sequence[str] = (".png", ".jpg", ".jpeg")) -> list[Image]:
    """Every picture below a folder, in the order of names, as display values."""
    from inference.data import display_values

    paths = sorted(p for p in directory.rglob("*") if p.suffix.lower() in suffixes)
    return [display_values(p.read_bytes(), p.name) for p in paths]
