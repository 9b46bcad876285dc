"""What an engine gives for a batch."""

from typing import NamedTuple

import numpy as np

from inference.arrays import Array


class Outputs(NamedTuple):
    """float32 arrays; features and maps are empty (c = 0, k = 0) where the network's end is not understood."""

    logits: Array  # [n, k]; probabilities for a network that gives those
    features: Array  # [n, c], what the network's last layer sees
    maps: Array  # [n, k, h, w], class activation: the mean of a map is its share of the logit


def join(parts: list[Outputs]) -> Outputs:
    """Several batches' outputs as one."""
    return parts[0] if len(parts) == 1 else Outputs(*(np.concatenate(column) for column in zip(*parts, strict=True)))
