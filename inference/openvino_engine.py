"""The OpenVINO engine: a CPU's fastest, bf16 where the processor multiplies bf16 itself."""

from pathlib import Path
from typing import Any

import numpy as np
import openvino
import torch

from inference.bundle import Bundle
from inference.errors import EngineError, WeightsMismatch
from inference.networks import mapped
from inference.preprocess import Image


class OpenVinoEngine:
    """Runs a bundle's network in OpenVINO. `device`: auto, cpu, gpu ...; `threads` 0: as OpenVINO chooses.

    `precision`: auto (bf16 where the processor has it), f32 or bf16. `cache`: a directory for compiled networks.
    """

    def __init__(
        self, bundle: Bundle, device: str = "auto", threads: int = 0, precision: str = "auto", cache: Path | None = None
    ) -> None:
        core = openvino.Core()
        self.device = _device(core, device)
        options: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1"}
        options["INFERENCE_PRECISION_HINT"] = _precision(core, self.device, precision)
        if threads:
            options["INFERENCE_NUM_THREADS"] = str(threads)
        if cache is not None:
            options["CACHE_DIR"] = str(cache)
        self.name = f"openvino {self.device} {options['INFERENCE_PRECISION_HINT']}"
        model, self.head, self.bias = _read_onnx(core, bundle) if _is_onnx(bundle) else _convert(bundle)
        try:
            self.request = core.compile_model(model, self.device, options).create_infer_request()
        except RuntimeError as error:
            raise EngineError(f"OpenVINO cannot compile {bundle.directory} for {self.device}: "
                              f"{str(error).splitlines()[-1]}") from error  # fmt: skip

    def run(self, batch: Image) -> tuple[Image, Image]:
        """float32 [n, channels, S, S] -> outputs float32 [n, outputs], feature map float32 [n, c, h, w] (c may be 0)."""
        self.request.infer({0: batch})
        outputs = [np.array(self.request.get_output_tensor(i).data, dtype=np.float32) for i in range(len(self.request.output_tensors))]
        return outputs[0], outputs[1] if len(outputs) > 1 else np.zeros((len(batch), 0, 1, 1), np.float32)


def _is_onnx(bundle: Bundle) -> bool:
    return bundle.weights.suffix == ".onnx"


def _convert(bundle: Bundle) -> tuple[Any, Image | None, Image | None]:
    network = mapped(bundle)
    example = torch.zeros((1, bundle.input_channels, *bundle.input_size))
    with torch.inference_mode():
        traced = torch.jit.trace(network, example, check_trace=False)
    shape = [-1, bundle.input_channels, *bundle.input_size]
    model = openvino.convert_model(traced, example_input=example, input=[shape])
    if network.head is None:
        return model, None, None
    return model, network.head.weight.detach().numpy().copy(), network.head.bias.detach().numpy().copy()


def _read_onnx(core: Any, bundle: Bundle) -> tuple[Any, Image | None, Image | None]:
    try:
        model = core.read_model(bundle.weights)
        model.reshape([-1, bundle.input_channels, *bundle.input_size])
    except RuntimeError as error:
        raise WeightsMismatch(f"OpenVINO cannot read {bundle.weights}: {str(error).splitlines()[-1]}") from error
    shape = model.output(0).get_partial_shape()
    if shape.rank.get_length() != 2 or (shape[1].is_static and shape[1].get_length() != len(bundle.outputs)):
        raise WeightsMismatch(f"{bundle.weights} gives {shape}, but metadata.json names {len(bundle.outputs)} outputs")
    return model, None, None


def _device(core: Any, name: str) -> str:
    wanted = "CPU" if name == "auto" else name.upper()
    if wanted.split(".")[0] not in {device.split(".")[0] for device in core.available_devices}:
        raise EngineError(f"OpenVINO has no device {name!r} here, it has {', '.join(core.available_devices)}")
    return wanted


def _precision(core: Any, device: str, precision: str) -> str:
    able = "BF16" in core.get_property(device, "OPTIMIZATION_CAPABILITIES")
    if precision == "bf16" and not able:
        raise EngineError(f"the device {device} does not compute in bf16")
    return "bf16" if precision == "bf16" or (precision == "auto" and able) else "f32"
