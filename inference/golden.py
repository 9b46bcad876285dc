"""The golden input: a drawn picture, and the probabilities that the network gives for it in plain torch float32.

Running it shows at each start whether the engine still computes what the network was trained to compute.

golden/input.npy       uint8 [rows, columns]
golden/expected.json   {"probabilities": {"Effusion": 0.1234, ...},   sigmoid of the outputs, before calibration; of a
                                                               segmentation, the mean over the places of its maps
                        "tolerance": 0.03}                            largest difference allowed: bf16 is less exact
"""

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt

from inference.bundle import Bundle
from inference.errors import BundleError, SelfCheckFailed
from inference.preprocess import Image, in_colour
from inference.probability import sigmoid

TOLERANCE = 0.03  # of a probability


def draw_picture(rows: int = 160, columns: int = 144) -> npt.NDArray[np.uint8]:
    """Draw two dark fields and a bright middle, uint8 [rows, columns]: enough to exercise every layer."""
    y, x = np.mgrid[-1 : 1 : rows * 1j, -1 : 1 : columns * 1j]
    fields = sum(np.exp(-((((x - side) / 0.28) ** 2 + ((y + 0.1) / 0.55) ** 2) ** 2)) for side in (-0.45, 0.45))
    heart = np.exp(-(((x - 0.15) / 0.3) ** 2 + ((y - 0.35) / 0.3) ** 2))
    ribs = 0.06 * np.sin(16 * y + 5 * x**2) + 0.03 * np.sin(37 * x + 11 * y)
    value = 0.75 - 0.55 * fields + 0.25 * heart + ribs
    return np.asarray(np.clip(value, 0, 1) * 255, dtype=np.uint8)


def write_files(directory: Path, probabilities: dict[str, float], tolerance: float = TOLERANCE) -> None:
    """Write both files into the bundle in `directory`. `probabilities` holds one for each named output."""
    (directory / "golden").mkdir(exist_ok=True)
    np.save(directory / "golden/input.npy", draw_picture())
    content = {"probabilities": probabilities, "tolerance": tolerance}
    (directory / "golden/expected.json").write_text(json.dumps(content, indent=2) + "\n")


def read_input(bundle: Bundle) -> Image:
    """Return the golden picture as display values, float32 [rows, columns] in 0..1, in colour if the bundle takes that.

    Raises BundleError if the bundle has no golden input.
    """
    path = bundle.directory / "golden/input.npy"
    if not path.is_file() or not (bundle.directory / "golden/expected.json").is_file():
        raise BundleError(f"{bundle.directory} has no golden input (golden/input.npy, golden/expected.json)")
    pixels = np.load(path, allow_pickle=False)
    return in_colour(np.asarray(pixels, np.float32) / np.float32(255), bundle.channels)


def compare(bundle: Bundle, logits: Image, engine: str) -> float:
    """Return the largest difference from an expected probability, given the logits [1, outputs] for the golden input.

    `engine` names the engine in the message. Raises SelfCheckFailed if the difference exceeds the bundle's tolerance.
    """
    expected = json.loads((bundle.directory / "golden/expected.json").read_text())
    named = dict(zip(bundle.outputs, (float(p) for p in sigmoid(logits[0])), strict=True))
    gaps = {name: abs(named[name] - p) for name, p in expected["probabilities"].items()}
    worst = max(gaps, key=lambda name: gaps[name])
    if not gaps[worst] <= expected["tolerance"]:
        raise SelfCheckFailed(
            f"the golden input gives {worst} {named[worst]:.4f} in {engine}, expected "
            f"{expected['probabilities'][worst]:.4f} +- {expected['tolerance']}: this engine does not compute "
            'what the network was trained to compute; try model.engine = "torch"'
        )
    return float(gaps[worst])
