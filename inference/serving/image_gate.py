"""The gate: a small model of the bundle that refuses pictures for which the network was not made.

It judges by statistics of the picture and by features that the network computes anyway.

configs/gate.json:

    {"features": ["statistics", "penultimate"],   in this order; see `describe`
     "second": ["statistics", "texture"],         optional: the features of a second network; the lowest score counts
     "third": ["statistics", "penultimate"],      optional: those of a third one
     "threshold": 0.5,                            pictures with a lower score are refused
     "expects": "a frontal chest radiograph of an adult"}   completes "the picture does not look like"
    {} or no file: every picture passes.

models/gate.safetensors, float32; the tensors of the second network are named second.mean and so on:

    mean [d], scale [d]                           z = (features - mean) / scale, limited to +-10
    weight0 [h, d], bias0 [h], weight1 ...        layers with ReLU between them, the last one with one output;
                                                  the score is its sigmoid. One layer is a logistic regression.
    centre [p], whiten [k, p]  (optional)         d = |whiten @ (penultimate - centre)| / sqrt(k), appended to the
                                                  features before `mean` and `scale` (Mahalanobis distance, Lee 2018)
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from inference.arrays import Array
from inference.bundle import Bundle
from inference.errors import BundleError, BundleNotFound
from inference.outputs import Outputs
from inference.probability import sigmoid

THUMBNAIL, TEXTURE = 12, 8  # cells along a side
#: The gate's networks: the key of each one's features in configs/gate.json, and how its tensors' names begin.
JUDGES = {"features": "", "second": "second.", "third": "third."}
FLAT = 0.01  # standard deviations between neighbouring pixels: real radiographs have more noise inside the body
_OUTPUTS: dict[str, Callable[[Outputs], Array]] = {"penultimate": lambda o: o.features, "logits": lambda o: o.logits}


class ImageGate:
    """A bundle's gate. Raises BundleError if its parts do not fit together, BundleNotFound if one is missing."""

    def __init__(self, bundle: Bundle) -> None:
        self.config: dict[str, Any] = bundle.gate
        self.threshold = float(self.config.get("threshold", 0.5))
        self.expects = str(self.config.get("expects", "a frontal chest radiograph of an adult"))
        self.features = {key: list(self.config[key]) for key in JUDGES if key in self.config}
        self.tensors: dict[str, Array] = {}
        if self.config:
            self._load(bundle)

    def _load(self, bundle: Bundle) -> None:
        path = bundle.directory / "models/gate.safetensors"
        if not path.is_file():
            raise BundleNotFound(f"{path} is missing, but configs/gate.json is there")
        named = {name for names in self.features.values() for name in names}
        if not self.features.get("features") or named - set(_KINDS):
            raise BundleError(f"{bundle.directory}/configs/gate.json: the features are {self.features}, "
                              f"expected some of {', '.join(_KINDS)}")  # fmt: skip
        self.tensors = load_file(path)

    def scores(self, batch: Array, outputs: Outputs) -> Array:
        """Return a score in 0..1 for each picture, [n]: how much it looks like what the network was made for.

        `batch` is the network's input [n, channels, S, S], and `outputs` are its outputs for it. Without a gate every
        score is 1. Raises BundleError if the gate was fitted to another network.
        """
        if not self.config:
            return np.ones(len(batch), np.float32)
        scores = [apply_gate(own_tensors(self.tensors, judge), describe(names, batch, outputs), outputs.features)
                  for judge, names in self.features.items()]  # fmt: skip
        lowest: Array = np.min(scores, axis=0).astype(np.float32)
        return lowest

    def reason(self, score: float) -> str:
        """Return why a picture with this score is refused; "" if it passes."""
        if score >= self.threshold:
            return ""
        return f"the picture does not look like {self.expects} (score {score:.2f}, needs {self.threshold:.2f})"


def own_tensors(tensors: dict[str, Array], judge: str) -> dict[str, Array]:
    """Return the tensors of one of `JUDGES`, without what its names begin with."""
    prefix = JUDGES[judge]
    own = {name: tensor for name, tensor in tensors.items() if name.startswith(prefix) and (prefix or "." not in name)}
    return {name.removeprefix(prefix): tensor for name, tensor in own.items()}


def describe(features: list[str], batch: Array, outputs: Outputs) -> Array:
    """Return the features [n, d] in the given order.

    There are "statistics" and "texture" of the picture, and the network's "penultimate" features and "logits".
    """
    parts = [_PICTURES[name](batch) if name in _PICTURES else _OUTPUTS[name](outputs) for name in features]
    return np.concatenate(parts, axis=1).astype(np.float32)


def statistics(batch: Array) -> Array:
    """Return statistics of the network's input [n, channels, S, S], [n, THUMBNAIL ** 2 + 21].

    They do not depend on brightness and contrast.
    """
    return np.stack([_statistics(picture.mean(axis=0)) for picture in batch])


def _statistics(picture: Array) -> Array:
    spread = float(picture.std()) or 1.0
    z = (picture - picture.mean()) / spread
    small = _thumbnail(z, THUMBNAIL)
    across, down = np.abs(np.diff(z, axis=1)), np.abs(np.diff(z, axis=0))
    shape = [
        _correlation(z, z[:, ::-1]),  # the left and the right of a chest are alike
        _correlation(z, z[::-1]),  # its top and bottom are not
        _correlation(z, z.T if z.shape[0] == z.shape[1] else z),
        across.mean(), down.mean(), across.std(), down.std(),
        _correlation(z[:, 1:], z[:, :-1]), _correlation(z[1:], z[:-1]),  # low for noise
        float((z == z.min()).mean()), float((z == z.max()).mean()),
        float((across == 0).mean()),
    ]  # fmt: skip
    quantiles = np.quantile(z, [0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99])
    return np.concatenate([small.ravel(), quantiles, shape]).astype(np.float32)


def texture(batch: Array) -> Array:
    """Return how rough the network's input [n, channels, S, S] is in each part of it, [n, 2 * TEXTURE ** 2 + 4].

    In each cell of a grid: the mean difference between neighbouring pixels, and the share of pixels that hardly differ
    from theirs, as under a square that was put over the body, or where the picture was clipped. Then the strength of
    details of four sizes in the whole picture, of which the mean of two pictures has less.
    """
    return np.stack([_texture(picture.mean(axis=0)) for picture in batch])


def _texture(picture: Array) -> Array:
    z = (picture - picture.mean()) / (float(picture.std()) or 1.0)
    slope = np.hypot(np.diff(z, axis=1)[:-1], np.diff(z, axis=0)[:, :-1])
    details = [np.abs(z[size:, size:] + z[:-size, :-size] - z[size:, :-size] - z[:-size, size:]).mean()
               for size in (1, 2, 4, 8)]  # fmt: skip
    cells = [_thumbnail(slope, TEXTURE).ravel(), _thumbnail(slope < FLAT, TEXTURE).ravel()]
    return np.concatenate([*cells, details]).astype(np.float32)


_PICTURES: dict[str, Callable[[Array], Array]] = {"statistics": statistics, "texture": texture}
_KINDS = (*_PICTURES, *_OUTPUTS)


def _thumbnail(z: Array, cells: int) -> Array:
    """Return the means over the cells of a grid of `cells` x `cells`."""
    rows = np.linspace(0, z.shape[0], cells + 1).astype(int)
    columns = np.linspace(0, z.shape[1], cells + 1).astype(int)
    total = np.pad(z.astype(np.float64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))[np.ix_(rows, columns)]
    sums = total[1:, 1:] - total[:-1, 1:] - total[1:, :-1] + total[:-1, :-1]
    area = np.outer(np.diff(rows), np.diff(columns))
    return np.asarray(sums / np.maximum(area, 1), dtype=np.float32)


def _correlation(a: Array, b: Array) -> float:
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / scale if scale > 0 else 0.0


def apply_gate(tensors: dict[str, Array], features: Array, pooled: Array) -> Array:
    """Return the scores [n] for features [n, d] and penultimate features [n, p], as the module's docstring says.

    Raises BundleError if the number of features is not the one that the gate was fitted to.
    """
    if "whiten" in tensors:
        distance = np.linalg.norm((pooled - tensors["centre"]) @ tensors["whiten"].T, axis=1, keepdims=True)
        features = np.concatenate([features, distance / np.sqrt(len(tensors["whiten"]))], axis=1)
    if features.shape[1] != len(tensors["mean"]):
        raise BundleError(f"models/gate.safetensors is for {len(tensors['mean'])} features, this network gives "
                          f"{features.shape[1]}")  # fmt: skip
    value = np.clip((features - tensors["mean"]) / tensors["scale"], -10, 10)
    layers = sum(name.startswith("weight") for name in tensors)
    for i in range(layers):
        # not with @, for which BLAS wakes threads that then wait for longer than the sum takes
        value = np.einsum("nd,hd->nh", value, tensors[f"weight{i}"]) + tensors[f"bias{i}"]
        value = np.maximum(value, 0) if i + 1 < layers else value
    scores: Array = sigmoid(value[:, 0]).astype(np.float32)
    return scores


def save_gate(tensors: dict[str, Array], directory: Path, config: dict[str, Any]) -> None:
    """Write a fitted gate into the bundle in `directory`, replacing an earlier one."""
    plain = {name: np.ascontiguousarray(tensor, np.float32) for name, tensor in tensors.items()}
    save_file(plain, directory / "models/gate.safetensors")
    (directory / "configs/gate.json").write_text(json.dumps(config, indent=2) + "\n")
