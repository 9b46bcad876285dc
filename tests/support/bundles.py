"""Small bundles for tests, whose networks are made, exported and run within a second."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from inference.bundle import Bundle, load_bundle
from tests.support.untrained import write_untrained

LABELS = ("Effusion", "Cardiomegaly", "Mass")
SMALL: dict[str, Any] = {
    "_target_": "monai.networks.nets.DenseNet", "spatial_dims": 2, "in_channels": 1, "out_channels": 3,
    "init_features": 16, "growth_rate": 8, "block_config": [2, 2, 2],
}  # fmt: skip


def small_bundle(directory: Path, network: dict[str, Any] | None = None, seed: int = 0) -> Bundle:
    """An untrained bundle of three findings and 64 x 64 pixels."""
    return write_untrained(directory, LABELS, size=64, network=network or SMALL, seed=seed)


def sure_bundle(directory: Path, assessed: tuple[str, ...] = LABELS, **offsets: float) -> Bundle:
    """A bundle whose answers to any picture are known: an offset of 20 is above the threshold, one of -20 below it."""
    small_bundle(directory)
    rows = {
        label: {"scale": 0.01, "offset": offsets.get(label, -20.0), "threshold": 0.5, "assessed": label in assessed}
        for label in LABELS
    }
    (directory / "configs" / "calibration.json").write_text(json.dumps({"findings": rows}))
    return load_bundle(directory)


def narrow_resnet(width: int = 8) -> dict[str, Any]:
    """An 18-layer residual network an eighth as wide as the usual one, which learns in seconds."""
    return {"_target_": "monai.networks.nets.ResNet", "block": "basic", "layers": [2, 2, 2, 2],
            "block_inplanes": [width, 2 * width, 4 * width, 8 * width], "spatial_dims": 2, "n_input_channels": 1,
            "conv1_t_size": 7, "conv1_t_stride": 2}  # fmt: skip


def noise(count: int, rows: int = 90, columns: int = 70, seed: int = 1) -> list[np.ndarray]:
    """Pictures of smooth noise, float32 [rows, columns] in 0..1."""
    rng = np.random.default_rng(seed)
    coarse = rng.random((count, rows // 10, columns // 10))
    return [np.kron(picture, np.ones((10, 10))).astype(np.float32) for picture in coarse]


def as_settings(bundle: Bundle) -> dict[str, str]:
    """The environment variables with which the daemon runs this bundle."""
    return {"HILUM__MODEL__BUNDLE": str(bundle.directory), "HILUM__MODEL__DIGEST": bundle.digest}
