"""Translating the names that torchvision, TorchXRayVision and CheXNet give the tensors of a DenseNet into MONAI's."""

import re
from typing import Any

from inference.arrays import StateDict
from inference.errors import ImportRefused

_PREFIXES = ("module.", "model.", "densenet121.", "densenet.", "backbone.")
_LAYER = re.compile(r"^(features\.denseblock\d+\.denselayer\d+)\.(norm|relu|conv)\.?([12])\.(\w+)$")
_BLOCKS = re.compile(r"^features\.denseblock(\d+)\.denselayer(\d+)\.layers\.conv1\.weight$")
_HEAD = re.compile(r"^classifier(\.0)?\.(weight|bias)$")
DENSENET121 = (6, 12, 24, 16)


def to_monai(state: StateDict, where: str) -> StateDict:
    """Return the tensors under MONAI's names. `where` names the file in messages.

    Raises ImportRefused if they are not those of a DenseNet.
    """
    renamed = {_rename(_bare(name)): tensor for name, tensor in state.items()}
    kept = {name: t for name, t in renamed.items() if name.startswith(("features.", "class_layers.out."))}
    needed = ("features.conv0.weight", "class_layers.out.weight", "class_layers.out.bias")
    missing = [name for name in needed if name not in kept]
    if missing:
        raise ImportRefused(
            f"{where} does not hold a DenseNet: {', '.join(missing)} (in MONAI's naming) not found among {len(state)} "
            f"tensors, the first of which are {', '.join(sorted(state)[:3])}. A DenseNet121 in torchvision's, "
            "TorchXRayVision's or MONAI's naming is expected; import any other network as ONNX or as a MONAI bundle"
        )
    return kept


def network_def(state: StateDict) -> dict[str, Any]:
    """Return the configuration of the MONAI network for these tensors, which have MONAI's names.

    The sizes of the network follow from the number of the tensors and their shapes.
    """
    layers = [m for m in map(_BLOCKS.match, state) if m]
    blocks = [sum(int(m[1]) == block for m in layers) for block in range(1, max(int(m[1]) for m in layers) + 1)]
    conv0, head = state["features.conv0.weight"], state["class_layers.out.weight"]
    growth, narrow = state["features.denseblock1.denselayer1.layers.conv2.weight"].shape[:2]
    sizes = {"spatial_dims": 2, "in_channels": conv0.shape[1], "out_channels": head.shape[0]}
    if tuple(blocks) == DENSENET121 and (growth, narrow, conv0.shape[0]) == (32, 128, 64):
        return {"_target_": "monai.networks.nets.DenseNet121", **sizes}
    return {"_target_": "monai.networks.nets.DenseNet", **sizes, "block_config": blocks, "growth_rate": growth,
            "bn_size": narrow // growth, "init_features": conv0.shape[0]}  # fmt: skip


def _bare(name: str) -> str:
    while (prefix := next((p for p in _PREFIXES if name.startswith(p)), None)) is not None:
        name = name[len(prefix) :]
    return name


def _rename(name: str) -> str:
    if match := _LAYER.match(name):  # torchvision before 2018 wrote norm.1 for norm1
        return f"{match[1]}.layers.{match[2]}{match[3]}.{match[4]}"
    if match := _HEAD.match(name):
        return f"class_layers.out.{match[2]}"
    return name
