"""The engines, which run a bundle's network on some device in some precision. `ENGINES` is the table of them.

To add one, write a module beside this one with a class that has `name` and `run`, a function here that opens it, and
its row in `ENGINES`; then add its name to `ModelSettings.engine` in config/sections.py. A test compares the two lists.
"""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from inference.bundle import Bundle
from inference.errors import EngineError
from inference.outputs import Outputs
from inference.preprocess import Image


class Engine(Protocol):
    """Runs a network on preprocessed pictures, float32 [n, channels, S, S]."""

    name: str  # engine, device and precision, for example "openvino CPU bf16"

    def run(self, batch: Image) -> Outputs:
        """Return the outputs for a batch of at least one picture."""
        ...


def open_engine(
    bundle: Bundle, engine: str = "auto", device: str = "auto", threads: int = 0, precision: str = "auto",
    cache: Path | None = None,
) -> Engine:  # fmt: skip
    """Open a bundle in the engine `engine`.

    "auto" chooses OpenVINO for an ONNX file; else torch if there is a GPU, unless `device` names another one; else
    OpenVINO if it is installed; else torch. `threads` 0: as many as the engine chooses. `precision`: auto, f32 or bf16.
    `cache`: a directory in which OpenVINO stores converted networks. Raises EngineError, and what reading the weights
    raises.
    """
    chosen = _choose(bundle, device) if engine == "auto" else engine
    if chosen not in ENGINES:
        raise EngineError(f"model.engine is {engine!r}, expected auto, {' or '.join(ENGINES)}")
    return ENGINES[chosen](bundle, device, threads, precision, cache)


def _choose(bundle: Bundle, device: str) -> str:
    import torch

    if bundle.weights.suffix == ".onnx":  # only OpenVINO reads ONNX
        return "openvino"
    if device.startswith("cuda") or (device == "auto" and torch.cuda.is_available()):
        return "torch"
    return "openvino" if importlib.util.find_spec("openvino") else "torch"


# An engine's library is imported when that engine is opened, because only one of them is used.


def _openvino(bundle: Bundle, device: str, threads: int, precision: str, cache: Path | None) -> Engine:
    if importlib.util.find_spec("openvino") is None:
        raise EngineError("OpenVINO is not installed: install openvino, or set model.engine to torch")
    from inference.serving.openvino_engine import OpenVinoEngine

    return OpenVinoEngine(bundle, device, threads, precision, cache)


def _torch(bundle: Bundle, device: str, threads: int, precision: str, _cache: Path | None) -> Engine:
    from inference.serving.torch_engine import TorchEngine

    return TorchEngine(bundle, device, threads, precision)


ENGINES: dict[str, Callable[[Bundle, str, int, str, Path | None], Engine]] = {"openvino": _openvino, "torch": _torch}
