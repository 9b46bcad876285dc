"""Several networks as one that returns the mean of their logits.

The mean of the members' logits is linear in their last feature maps. It is therefore computed by concatenating the
feature maps, followed by one global average pooling and one linear layer, whose weights are those of the members' last
layers divided by the number of members. The ensemble thus ends as each member does, and has class activation maps like
any other network.
"""

# Do not move or rename this module or `Ensemble`: bundles name `inference.ensemble.Ensemble` in configs/inference.json.
# The configuration of a pinned bundle is used as it is, so an alias in inference/allowed.py would not help.
# The names of the attributes are the names of the tensors in the bundles' weights.

from collections.abc import Sequence

import torch
from torch import nn

from inference.arrays import StateDict


class Ensemble(nn.Module):
    """The mean of networks that each end in global average pooling and one linear layer [outputs, features].

    Takes the last linear layer out of each member. Raises ValueError for a member that does not end so.
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        heads = [_beheaded(member) for member in members]
        self.sizes = [head.in_features for head in heads]  # how many features of the last layer are each member's
        self.members = nn.ModuleList(members)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(sum(self.sizes), heads[0].out_features)
        self.maps: list[torch.Tensor] = []
        for member in members:
            _, pool = _last(member, nn.AdaptiveAvgPool2d)
            pool.register_forward_pre_hook(lambda _pool, inputs: self.maps.append(inputs[0]))

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        """Return the logits [n, outputs] for pictures [n, channels, S, S]."""
        self.maps.clear()
        for member in self.members:
            member(batch)
        logits: torch.Tensor = self.head(self.pool(torch.cat(self.maps, dim=1)).flatten(1))
        return logits


def combined(states: Sequence[StateDict], member: nn.Module) -> StateDict:
    """Return the weights of an `Ensemble` from the weights of its members, all of which are built like `member`.

    Raises ValueError if `member` has no linear layer.
    """
    head, _ = _last(member, nn.Linear)
    own = (f"{head}.weight", f"{head}.bias")
    result = {f"members.{i}.{name}": tensor for i, state in enumerate(states) for name, tensor in state.items()
              if name not in own}  # fmt: skip
    weight, bias = ([state[name].float() for state in states] for name in own)
    return result | {"head.weight": torch.cat(weight, dim=1) / len(states), "head.bias": torch.stack(bias).mean(0)}


def _beheaded(member: nn.Module) -> nn.Linear:
    """Replace the last linear layer of a network by the identity, and return the layer."""
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
