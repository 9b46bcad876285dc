"""The engines: what runs a bundle's network, where, and in which precision. One row of `ENGINES` for each.

To add one: a module beside this one with a class that has `name` and `run`, a function here that opens it, its row,
and its name in `Engine` of config/sections.py.
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

    name: str  # what runs where in which precision, "openvino CPU bf16"

    def run(self, batch: Image) -> Outputs: ...


def open_engine(
    bundle: Bundle, engine: str = "auto", device: str = "auto", threads: int = 0, precision: str = "auto",
    cache: Path | None = None,
) -> Engine:  # fmt: skip
    """The engine asked for. auto: torch where it has a GPU (unless a device says otherwise), else OpenVINO, else torch.

    Raises EngineError, and what reading the weights raises.
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


# each engine's library is imported when the engine is opened: only one of them is used


def _openvino(bundle: Bundle, device: str, threads: int, precision: str, cache: Path | None) -> Engine:
    if importlib.util.find_spec("openvino") is None:
        raise EngineError("OpenVINO is not installed: install openvino, or set model.engine to torch")
    from inference.serving.openvino_engine import OpenVinoEngine

    return OpenVinoEngine(bundle, device, threads, precision, cache)


def _torch(bundle: Bundle, device: str, threads: int, precision: str, _cache: Path | None) -> Engine:
    from inference.serving.torch_engine import TorchEngine

    return TorchEngine(bundle, device, threads, precision)


ENGINES: dict[str, Callable[[Bundle, str, int, str, Path | None], Engine]] = {"openvino": _openvino, "torch": _torch}
