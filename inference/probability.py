"""Between logits and probabilities."""

from typing import Any

import numpy as np

from inference.arrays import FloatArray


def sigmoid(logits: FloatArray | float) -> Any:
    """1 / (1 + exp(-x)) without overflow, float64."""
    return 0.5 * (1.0 + np.tanh(0.5 * np.asarray(logits, dtype=np.float64)))


def log_odds(probability: FloatArray | float) -> Any:
    """The inverse of `sigmoid`; probabilities are kept 1e-7 away from 0 and 1."""
    p = np.clip(np.asarray(probability, dtype=np.float64), 1e-7, 1 - 1e-7)
    return np.log(p) - np.log1p(-p)
