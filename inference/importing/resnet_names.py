"""Recognising a ResNet's tensors in torchvision's and timm's naming, which is MONAI's, or in that of transformers."""

import re
from typing import Any

from inference.arrays import StateDict
from inference.errors import ImportRefused

_PREFIXES = ("module.", "model.")
#: From a name of transformers' ResNetForImageClassification to MONAI's.
_RENAMED = (
    (r"^resnet\.embedder\.embedder\.convolution\.", "conv1."),
    (r"^resnet\.embedder\.embedder\.normalization\.", "bn1."),
    (r"^classifier\.1\.", "fc."),
)
_BLOCK = re.compile(r"^resnet\.encoder\.stages\.(\d+)\.layers\.(\d+)\.(layer\.(\d+)|shortcut)\.(conv|norm)\w*\.(\w+)$")


def is_resnet(state: StateDict) -> bool:
    """Whether the tensors have the names of a ResNet's, in one of the namings."""
    names = set(as_monai_names(state))
    return {"conv1.weight", "layer1.0.conv1.weight", "fc.weight", "fc.bias"} <= names


def as_monai_names(state: StateDict) -> StateDict:
    """Return the tensors under MONAI's names, as far as they are a ResNet's."""
    return {_renamed(name): tensor for name, tensor in state.items()}


def network_def(state: StateDict, where: str) -> dict[str, Any]:
    """Return the configuration of the MONAI network for these tensors, which have MONAI's names.

    The sizes of the network follow from the number of the tensors and their shapes. `where` names the source in
    messages. Raises ImportRefused for a relative of the ResNet that MONAI's class cannot hold.
    """
    blocks = [
        sum(re.fullmatch(rf"layer{n}\.\d+\.conv1\.weight", name) is not None for name in state) for n in (1, 2, 3, 4)
    ]
    deep = "layer1.0.conv3.weight" in state
    stem, head = state["conv1.weight"], state["fc.weight"]
    planes = [int(state[f"layer{n}.0.conv1.weight"].shape[0]) for n in (1, 2, 3, 4) if blocks[n - 1]]
    strange = [name for name in state if ".se." in name or ".downsample.2" in name]
    if 0 in blocks or strange or stem.shape[-1] != 7 or state["layer1.0.conv2.weight"].shape[1] != planes[0]:
        raise ImportRefused(f"{where} holds a relative of the ResNet (grouped convolutions, another stem or "
                            "squeeze-and-excitation), which hilum does not build: import it as ONNX")  # fmt: skip
    return {"_target_": "monai.networks.nets.ResNet", "block": "bottleneck" if deep else "basic", "layers": blocks,
            "block_inplanes": planes, "spatial_dims": 2, "n_input_channels": int(stem.shape[1]), "conv1_t_size": 7,
            "conv1_t_stride": 2, "num_classes": int(head.shape[0]), "bias_downsample": False}  # fmt: skip


def _renamed(name: str) -> str:
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    if match := _BLOCK.match(name):
        stage, layer, _, part, kind, tensor = match.groups()
        place = (
            f"{ {'conv': 'conv', 'norm': 'bn'}[kind] }{int(part) + 1}" if part else f"downsample.{int(kind == 'norm')}"
        )
        return f"layer{int(stage) + 1}.{layer}.{place}.{tensor}"
    for pattern, replacement in _RENAMED:
        name = re.sub(pattern, replacement, name)
    return name
