"""The torch engine: bf16 on a GPU, float32 on a CPU (the yardstick for every other engine)."""

import numpy as np
import torch

from inference.bundle import Bundle
from inference.errors import EngineError
from inference.networks import mapped
from inference.preprocess import Image


class TorchEngine:
    """Runs a bundle's network in torch. `device`: auto, cpu, cuda, cuda:1 ...; `threads` 0: as torch chooses."""

    def __init__(self, bundle: Bundle, device: str = "auto", threads: int = 0, precision: str = "auto") -> None:
        self.device = _device(device)
        self.half = precision == "bf16" or (precision == "auto" and self.device.type != "cpu")
        self.name = f"torch {self.device} {'bf16' if self.half else 'float32'}"
        self.threads = threads
        network = mapped(bundle)
        self.head = None if network.head is None else network.head.weight.detach().numpy().copy()
        self.bias = None if network.head is None else network.head.bias.detach().numpy().copy()
        self.network = network.to(self.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def run(self, batch: Image) -> tuple[Image, Image]:
        """float32 [n, channels, S, S] -> outputs float32 [n, outputs], feature map float32 [n, c, h, w] (c may be 0)."""
        if self.threads:
            torch.set_num_threads(self.threads)
        given = torch.from_numpy(batch).to(self.device, memory_format=torch.channels_last)
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            logits, features = self.network(given)
        return _array(logits), _array(features)


def _array(tensor: torch.Tensor) -> Image:
    return np.ascontiguousarray(tensor.float().cpu().numpy())


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name.lower())
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise EngineError(f"torch has no device {name!r} here: {str(error).splitlines()[0]}") from error
    return device
