"""What the numbers are that a foreign network gives: logits, or probabilities that are such already.

A network that ends in a sigmoid must not get a second one: every finding would be more likely than not.
"""

import numpy as np

from inference import golden
from inference.arrays import Array
from inference.bundle import OUTPUT_KINDS, Bundle
from inference.bundle_writer import network_answers
from inference.errors import ImportRefused

_FACTORS = (1.0, -1.0, 10.0, -10.0, 100.0)  # of the input: logits leave 0 to 1 for some of these
_ROUNDING = 1e-3


def ensure_known(kind: str) -> None:
    """Raise ImportRefused unless `kind` is one that a bundle can state, or ""."""
    if kind and kind not in OUTPUT_KINDS:
        raise ImportRefused(f"--output is {kind!r}, expected one of {', '.join(OUTPUT_KINDS)}")


def check_outputs(bundle: Bundle, stated: bool) -> None:
    """Run the network of a bundle on drawn pictures and raise ImportRefused if its numbers are not what it says.

    Probabilities must lie from 0 to 1. Logits may lie there only if they were `stated` to be logits: whatever is put
    in, only numbers from 0 to 1 come out of a network that ends in a sigmoid or softmax.
    """
    plain, every = network_answers(bundle, _pictures(), _FACTORS)
    if not np.isfinite(plain).all():
        raise ImportRefused("for drawn pictures the network gives numbers that are not finite")
    low, high = float(plain.min()), float(plain.max())
    if bundle.output_kind == "probabilities":
        if low < -_ROUNDING or high > 1 + _ROUNDING:
            raise ImportRefused(f"for drawn pictures the network gives numbers from {low:.3g} to {high:.3g}, which are "
                                "no probabilities: give --output logits or --output softmax")  # fmt: skip
        return
    if stated:
        return
    if every.min() >= -_ROUNDING and every.max() <= 1 + _ROUNDING:
        raise ImportRefused(
            "whatever picture it is given, the network gives numbers from 0 to 1, so it seems to give probabilities, "
            "but hilum finds no sigmoid or softmax at its end: give --output probabilities, or --output logits if a "
            "sigmoid (softmax: if a softmax) belongs after its last layer"
        )


def _pictures() -> list[Array]:
    """Return four drawn pictures, display values from 0 to 1."""
    drawn = np.asarray(golden.draw_picture(256, 256), np.float32) / np.float32(255)
    grain = np.random.default_rng(0).random((256, 256), dtype=np.float32)
    return [drawn, 1 - drawn, grain, np.linspace(0, 1, 256, dtype=np.float32)[None].repeat(256, axis=0)]
