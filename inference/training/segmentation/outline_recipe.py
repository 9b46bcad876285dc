"""How a network that outlines structures is trained."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


def small_unet() -> dict[str, Any]:
    """Return the configuration of a U-Net that learns on one processor, which has 0.8 million weights."""
    return {"_target_": "monai.networks.nets.UNet", "spatial_dims": 2, "in_channels": 1,
            "channels": [16, 32, 64, 96, 128], "strides": [2, 2, 2, 2], "num_res_units": 2}  # fmt: skip


@dataclass(frozen=True)
class OutlineRecipe:
    """Everything that can be chosen about the training of a segmentation."""

    task: str = "segmentation"
    network: dict[str, Any] = field(default_factory=small_unet)
    size: int = 160  # pixels a side of the bundle's input
    channels: int = 1  # of the pictures: 3 for colour
    epochs: int = 16
    batch: int = 8
    learning_rate: float = 3e-3
    weight_decay: float = 1e-4
    #: The structures whose regions are counted, each with the smallest region that counts, as a share of the picture.
    counted: Mapping[str, float] = field(default_factory=dict)
    share_of: tuple[str, ...] = ()  # the structures to whose area those of the others are compared; (): the picture
    seed: int = 0

    def network_def(self, outputs: int) -> dict[str, Any]:
        """Return the network's MONAI configuration with this number of outputs."""
        return {**self.network, "in_channels": self.channels, "out_channels": outputs}

    def to_json(self) -> dict[str, Any]:
        """Return the recipe as JSON values."""
        content: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return content
