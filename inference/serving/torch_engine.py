"""The torch engine: bf16 on a GPU, float32 on a CPU, with which every other engine is compared."""

import numpy as np
import torch

from inference.arrays import Array
from inference.bundle import Bundle
from inference.errors import EngineError
from inference.networks import mapped
from inference.outputs import Outputs


class TorchEngine:
    """Runs a bundle's network in torch. `device`: auto, cpu, cuda, cuda:1 ...; `threads` 0: as many as torch chooses.

    `precision`: auto (bf16 on a GPU, f32 on a CPU), f32 or bf16. Raises EngineError, and what reading the weights
    raises.
    """

    def __init__(self, bundle: Bundle, device: str = "auto", threads: int = 0, precision: str = "auto") -> None:
        self.device = _device(device)
        self.half = precision == "bf16" or (precision == "auto" and self.device.type != "cpu")
        self.name = f"torch {self.device} {'bf16' if self.half else 'f32'}"
        self.threads = threads
        self.network = mapped(bundle).to(self.device)
        if self.device.type != "cpu":
            self.network = self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def run(self, batch: Array) -> Outputs:
        """Return the Outputs for pictures, float32 [n, channels, S, S].

        If `threads` is set, this sets torch's number of threads for the whole process.
        """
        if self.threads:
            torch.set_num_threads(self.threads)
        given = torch.from_numpy(batch).to(self.device)
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            outputs = self.network(given)
        return Outputs(*(_array(tensor) for tensor in outputs))


def _array(tensor: torch.Tensor) -> Array:
    array: Array = np.ascontiguousarray(tensor.float().cpu().numpy())
    return array


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name.lower())
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise EngineError(f"torch has no device {name!r} here: {str(error).splitlines()[0]}") from error
    return device
