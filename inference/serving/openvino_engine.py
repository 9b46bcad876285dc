"""The OpenVINO engine, the fastest on a CPU. It computes in bf16 if the processor can multiply bf16 itself."""

import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import torch
from openvino.frontend import FrontEndManager
from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

from inference.arrays import Array
from inference.bundle import Bundle
from inference.errors import EngineError, WeightsMismatch
from inference.files.vetting import is_private
from inference.networks import mapped
from inference.outputs import Outputs, join

#: The batch sizes for which the network is compiled; a batch is divided into these. A fixed size is a fourth faster
#: than an open one, and no time is lost when a new size of batch comes.
SIZES = (4, 1)


class OpenVinoEngine:
    """Runs a bundle's network in OpenVINO. `device`: auto, cpu, gpu ...; `threads` 0: as many as OpenVINO chooses.

    `precision`: auto (bf16 if the processor supports it), f32 or bf16. `cache`: a directory for converted networks,
    which saves seconds at the next start; it is not used where other users can write. Raises EngineError,
    WeightsMismatch, and what reading the weights raises.
    """

    def __init__(
        self, bundle: Bundle, device: str = "auto", threads: int = 0, precision: str = "auto", cache: Path | None = None
    ) -> None:
        self.core = openvino.Core()
        self.device = _device(self.core, device)
        self.options = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1"}
        self.options["INFERENCE_PRECISION_HINT"] = _precision(self.core, self.device, precision)
        if threads:
            self.options["INFERENCE_NUM_THREADS"] = str(threads)
        self.name = f"openvino {self.device} {self.options['INFERENCE_PRECISION_HINT']}"
        self.foreign = bundle.weights.suffix == ".onnx"  # then its first output is the answer, and there are no maps
        self.model = _read_onnx(self.core, bundle) if self.foreign else _converted(self.core, bundle, cache)
        self.shape = [bundle.input_channels, *bundle.input_size]
        self.requests = {1: self._compile(1)}

    def run(self, batch: Array) -> Outputs:
        """Return the Outputs for pictures, float32 [n, channels, S, S], at least one."""
        parts, start = [], 0
        while start < len(batch):
            size = next(size for size in SIZES if size <= len(batch) - start)
            parts.append(self._run(size, batch[start : start + size]))
            start += size
        return join(parts)

    def _run(self, size: int, batch: Array) -> Outputs:
        if size not in self.requests:
            self.requests[size] = self._compile(size)
        request = self.requests[size]
        request.infer({0: np.ascontiguousarray(batch)})
        arrays = [np.array(tensor.data, dtype=np.float32) for tensor in request.output_tensors]
        if self.foreign and arrays[0].ndim == 4:
            return Outputs(arrays[0].mean((2, 3)), np.zeros((size, 0), np.float32), arrays[0])
        if self.foreign:
            return Outputs(arrays[0], np.zeros((size, 0), np.float32), np.zeros((size, 0, 1, 1), np.float32))
        return Outputs(*arrays)

    def _compile(self, size: int) -> Any:
        model = self.model.clone()
        try:
            model.reshape([size, *self.shape])
            return self.core.compile_model(model, self.device, self.options).create_infer_request()
        except RuntimeError as error:
            raise EngineError(f"OpenVINO cannot compile the network for {self.device}: {_last(error)}") from error


def _converted(core: Any, bundle: Bundle, cache: Path | None) -> Any:
    """Return the network as OpenVINO's model, from the cache if it is there and nobody else could have written it.

    No digest covers the cache. Raises EngineError for a damaged one.
    """
    if cache is None or not is_private(cache):
        return _convert(bundle)
    name = f"{bundle.digest.removeprefix('sha256:')[:32]}-{openvino.__version__.split('-')[0]}"
    path = cache / f"{name}.xml"
    if not (is_private(path) and is_private(path.with_suffix(".bin"))):
        _save(_convert(bundle), path)
    try:
        return core.read_model(path)
    except RuntimeError as error:
        raise EngineError(f"{path} is damaged; remove it: {_last(error)}") from error


def _save(model: Any, path: Path) -> None:
    """Save the weights first, then the .xml, without which they are not used.

    Several processes may do this at the same time: each writes files of its own and then renames them.
    """
    part = path.with_name(f"{path.stem}.{os.getpid()}.xml")
    openvino.save_model(model, part, compress_to_fp16=False)
    for suffix in (".bin", ".xml"):
        written = part.with_suffix(suffix)
        written.chmod(0o600)  # whatever the umask: nobody else has to do with it
        written.replace(path.with_suffix(suffix))


def _convert(bundle: Bundle) -> Any:
    """Convert the network with OpenVINO's PyTorch frontend.

    openvino.convert_model does the same, but reports its use over the network.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # for a few passes of one small picture, more threads would only wait for each other
    try:
        example = torch.zeros((1, bundle.input_channels, *bundle.input_size))
        # torch warns that tracing is deprecated, and that the sides of the picture become constants, as they should
        with torch.inference_mode(), warnings.catch_warnings(action="ignore"):
            traced = torch.jit.trace(mapped(bundle), example, check_trace=False)  # type: ignore[no-untyped-call]
        frontend = FrontEndManager().load_by_framework("pytorch")
        decoder = TorchScriptPythonDecoder(traced, example_input=(example,))
        model = frontend.convert(frontend.load(decoder))
        model.decoder = decoder  # owns the memory of the model's weights
        return model
    finally:
        torch.set_num_threads(threads)


def _read_onnx(core: Any, bundle: Bundle) -> Any:
    try:
        model = core.read_model(bundle.weights)
        model.reshape([-1, bundle.input_channels, *bundle.input_size])
    except RuntimeError as error:
        raise WeightsMismatch(f"OpenVINO cannot read {bundle.weights}: {_last(error)}") from error
    shape = model.output(0).get_partial_shape()
    if shape.rank.get_length() != (4 if bundle.task == "segmentation" else 2) or (
        shape[1].is_static and shape[1].get_length() != len(bundle.outputs)
    ):
        raise WeightsMismatch(f"{bundle.weights} gives {shape}, but metadata.json names {len(bundle.outputs)} outputs")
    return model


def _device(core: Any, name: str) -> str:
    wanted = "CPU" if name == "auto" else name.upper()
    if wanted.split(".")[0] not in {device.split(".")[0] for device in core.available_devices}:
        raise EngineError(f"OpenVINO has no device {name!r} here; it has {', '.join(core.available_devices)}")
    return wanted


def _precision(core: Any, device: str, precision: str) -> str:
    able = "BF16" in core.get_property(device, "OPTIMIZATION_CAPABILITIES")
    if precision == "bf16" and not able:
        raise EngineError(f"the device {device} does not compute in bf16")
    return "bf16" if precision == "bf16" or (precision == "auto" and able) else "f32"


def _last(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[-1]
