"""Bundles with random weights, which say that they are untrained."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from inference.bundle import Bundle, load_bundle
from inference.bundle_writer import LABELS, base_metadata, write_bundle
from inference.networks import define_network
from inference.preprocess import standard_preprocessing


def densenet121(outputs: int, channels: int = 1) -> dict[str, Any]:
    """The configuration of DenseNet121, the network with which others are usually compared."""
    return {"_target_": "monai.networks.nets.DenseNet121", "spatial_dims": 2, "in_channels": channels,
            "out_channels": outputs}  # fmt: skip


def write_untrained(
    directory: Path, labels: tuple[str, ...] = LABELS, size: int = 128, network: dict[str, Any] | None = None,
    seed: int = 0,
) -> Bundle:  # fmt: skip
    """Write a bundle with random weights into `directory` and load it. The same seed gives the same weights."""
    inference = {"preprocessing": standard_preprocessing(size), "network_def": network or densenet121(len(labels))}
    metadata = base_metadata("untrained", "0", "Random weights: its answers mean nothing.", labels, size, trained=False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        state = _settled(define_network(inference, str(directory)), size).state_dict()
    write_bundle(directory, metadata, inference, state)
    return load_bundle(directory)


def _settled(network: nn.Module, size: int) -> nn.Module:
    """Let the batch norms see some noise, so that activations neither vanish nor explode."""
    channels = next(m for m in network.modules() if isinstance(m, nn.Conv2d)).in_channels
    norms = {m: m.momentum for m in network.modules() if isinstance(m, nn.BatchNorm2d)}
    for norm in norms:
        norm.momentum = None  # the mean over all batches
    network.train()
    with torch.no_grad():
        for _ in range(2):
            network(torch.randn(4, channels, min(size, 96), min(size, 96)))
    for norm, momentum in norms.items():
        norm.momentum = momentum
    return network.eval()
