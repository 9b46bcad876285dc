"""Several networks as one: their logits' mean, by one pooling and one linear layer.

A mean over networks is linear in their last feature maps: the maps laid side by side, with the members' last layers
side by side and divided by their number, give it. So the whole ends as each member does, in global average pooling and
a linear layer, and has class activation maps like any other network.
"""

from collections.abc import Sequence

import torch
from torch import nn

from inference.arrays import StateDict


class Ensemble(nn.Module):
    """The mean of networks that each end in global average pooling and one linear layer [outputs, features]."""

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        heads = [_beheaded(member) for member in members]
        self.members = nn.ModuleList(members)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(sum(head.in_features for head in heads), heads[0].out_features)
        self.maps: list[torch.Tensor] = []
        for member in members:
            _, pool = _last(member, nn.AdaptiveAvgPool2d)
            pool.register_forward_pre_hook(lambda _pool, inputs: self.maps.append(inputs[0]))

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        """[n, channels, S, S] -> logits [n, outputs]."""
        self.maps.clear()
        for member in self.members:
            member(batch)
        logits: torch.Tensor = self.head(self.pool(torch.cat(self.maps, dim=1)).flatten(1))
        return logits


def combined(states: Sequence[StateDict], member: nn.Module) -> StateDict:
    """The state of an `Ensemble` of networks built like `member`, from their own states."""
    head, _ = _last(member, nn.Linear)
    own = (f"{head}.weight", f"{head}.bias")
    result = {f"members.{i}.{name}": tensor for i, state in enumerate(states) for name, tensor in state.items()
              if name not in own}  # fmt: skip
    weight, bias = ([state[name].float() for state in states] for name in own)
    return result | {"head.weight": torch.cat(weight, dim=1) / len(states), "head.bias": torch.stack(bias).mean(0)}


def _beheaded(member: nn.Module) -> nn.Linear:
    """Takes the last linear layer out of a network, and returns it."""
    name, head = _last(member, nn.Linear)
    parent, _, attribute = name.rpartition(".")
    setattr(member.get_submodule(parent), attribute, nn.Identity())
    assert isinstance(head, nn.Linear)
    return head


def _last(network: nn.Module, kind: type[nn.Module]) -> tuple[str, nn.Module]:
    found = [(name, module) for name, module in network.named_modules() if isinstance(module, kind)]
    if not found:
        raise ValueError(f"a {type(network).__name__} has no {kind.__name__}: only networks that end in global average "
                         "pooling and a linear layer can be averaged")  # fmt: skip
    return found[-1]
