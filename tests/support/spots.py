"""A bundle whose network knows one thing: how bright each place of the picture is.

Its map of "Mass" is the brightness of each cell, so that a bright spot, and nothing else, determines logit and map.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from inference.bundle import Bundle, load_bundle
from inference.bundle_writer import base_metadata, write_bundle
from inference.networks import define_network
from inference.training.location.drawn_lesions import Marked

LABELS = ("Effusion", "Cardiomegaly", "Mass")
NETWORK: dict[str, Any] = {
    "_target_": "monai.networks.nets.DenseNet", "spatial_dims": 2, "in_channels": 1, "out_channels": 3,
    "init_features": 8, "growth_rate": 4, "block_config": [2, 2],
}  # fmt: skip
SPOT = 0.9
SQUASHED: dict[str, Any] = {
    "_target_": "monai.transforms.Compose",
    "transforms": [
        {"_target_": "monai.transforms.EnsureChannelFirst", "channel_dim": "no_channel"},
        {"_target_": "monai.transforms.Resize", "spatial_size": [64, 64], "mode": "area"},
    ],
}


def spot_bundle(directory: Path, preprocessing: dict[str, Any], size: int = 64) -> Bundle:
    """A bundle with this preprocessing. The logit of Mass is 60 times the brightness, less 3; others are -3."""
    network = define_network({"network_def": NETWORK}, "spots")
    state = {name: torch.zeros_like(tensor) for name, tensor in network.state_dict().items()}
    for name in state:
        if name.endswith("running_var"):
            state[name] += 1
    _let_through(state)
    metadata = base_metadata("spots", "1", "A network that sees bright spots.", LABELS, size, True)
    write_bundle(directory, metadata, {"preprocessing": preprocessing, "network_def": NETWORK}, state)
    return load_bundle(directory)


def _let_through(state: dict[str, torch.Tensor]) -> None:
    """Set the weights so that the first channel carries the brightness from the first to the last layer."""
    for name, tensor in state.items():
        if tensor.ndim == 4 and ("conv0" in name or "transition" in name):
            tensor[0, 0, tensor.shape[2] // 2, tensor.shape[3] // 2] = 1
        if "norm" in name and name.endswith("weight"):
            tensor[0] = 1
    state["class_layers.out.weight"][LABELS.index("Mass"), 0] = 60
    state["class_layers.out.bias"] -= 3


def picture_with_spot(rows: int, columns: int, x: float, y: float, radius: float) -> np.ndarray:
    """A picture, float32 [rows, columns], nearly black with faint noise and a bright disc around (x, y)."""
    down, across = np.mgrid[0:rows, 0:columns] + 0.5
    noise = np.random.default_rng(abs(int(x + 1000 * y))).uniform(0.0, 0.02, (rows, columns))
    return np.where(np.hypot(across - x, down - y) < radius, SPOT, noise).astype(np.float32)


def marked_spots(count: int, rows: int = 64, columns: int = 64, astray: bool = False) -> Iterator[Marked]:
    """Pictures with a spot, each of another patient, and a box around it or, `astray`, around another place."""
    rng = np.random.default_rng(3)
    for number in range(count):
        (x, y), away = rng.uniform(10, (columns - 10, rows - 10)), rng.uniform(10, (columns - 10, rows - 10))
        left, top = (away if astray else (x, y)) - np.array(9)
        picture = picture_with_spot(rows, columns, float(x), float(y), 9)
        yield Marked(picture, "Mass", f"patient {number}", (float(left), float(top), 18.0, 18.0))


def without_spot(count: int) -> list[tuple[np.ndarray, str]]:
    """Pictures without a spot, each of another patient."""
    return [(picture_with_spot(64, 64, number, -50, 1), f"other {number}") for number in range(count)]
