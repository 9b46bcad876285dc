"""Conversion between logits and probabilities."""

from typing import Any

import numpy as np

from inference.arrays import FloatArray


def sigmoid(logits: FloatArray | float) -> Any:
    """Return 1 / (1 + exp(-x)) as float64, without overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * np.asarray(logits, dtype=np.float64)))


def log_odds(probability: FloatArray | float) -> Any:
    """Return the inverse of `sigmoid` as float64. Probabilities are first kept 1e-7 away from 0 and 1."""
    p = np.clip(np.asarray(probability, dtype=np.float64), 1e-7, 1 - 1e-7)
    return np.log(p) - np.log1p(-p)
