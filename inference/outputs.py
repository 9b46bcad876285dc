"""What an engine returns for a batch of pictures."""

from typing import NamedTuple

import numpy as np

from inference.arrays import Array


class Outputs(NamedTuple):
    """The results for n pictures, float32.

    Features and maps are empty (c = 0, k = 0) for a network that does not end in average pooling and a linear layer. A
    network that outlines structures has no features, and its maps are what it gives for each structure and place.
    """

    logits: Array  # [n, k]; probabilities, for a network that ends in a sigmoid or softmax
    features: Array  # [n, c], the input of the network's last layer
    maps: Array  # [n, k, h, w]: the logit is the mean of its map plus a constant


def join(parts: list[Outputs]) -> Outputs:
    """Join the outputs of several batches, at least one, in their order."""
    return parts[0] if len(parts) == 1 else Outputs(*(np.concatenate(column) for column in zip(*parts, strict=True)))
