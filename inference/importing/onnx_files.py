"""Reading the inputs and outputs of an ONNX file with OpenVINO."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openvino

from inference.errors import ImportRefused


@dataclass(frozen=True)
class OnnxFile:
    """The input and output of a classifier."""

    channels: int
    size: int  # side of the square input in pixels, 0 if the file leaves it open
    outputs: int
    probabilities: bool  # whether the network ends in a sigmoid or a softmax


#: What changes the form of an answer, or its number format, or keeps it within limits, and not what it means.
_TRANSPARENT = {"Clamp", "Convert", "ConvertLike", "FakeQuantize", "Identity", "Maximum", "Minimum", "Reshape",
                "Result", "Squeeze", "Unsqueeze"}  # fmt: skip
_PROBABILITIES = {"Sigmoid", "HardSigmoid", "SoftMax", "Softmax"}


def read_onnx(path: Path) -> OnnxFile:
    """Read an ONNX file. Raises ImportRefused if it is not ONNX, or not a classifier of one picture."""
    try:
        model = openvino.Core().read_model(path)
    except RuntimeError as error:
        last = str(error).strip().splitlines()[-1]
        raise ImportRefused(f"{path.name} is not an ONNX file that OpenVINO can read: {last}") from error
    given, answer = model.input(0).get_partial_shape(), model.output(0).get_partial_shape()
    if len(model.inputs) != 1 or given.rank != 4 or answer.rank != 2 or answer[1].is_dynamic or given[1].is_dynamic:
        raise ImportRefused(f"{path.name} takes {given} and gives {answer}: expected one picture [n, channels, rows, "
                            "columns] and a first output [n, labels]")  # fmt: skip
    sides = {_length(given[2]), _length(given[3])}
    if len(sides) != 1:
        raise ImportRefused(f"{path.name} takes {given}, but only square pictures are supported")
    ends = _last_meanings(model.output(0).get_node())
    if "LogSoftmax" in ends or (ends & _PROBABILITIES and ends - _PROBABILITIES):
        raise ImportRefused(f"{path.name} ends in {' and '.join(sorted(ends))}: expected that all outputs are logits, "
                            "or that all come from a sigmoid or a softmax")  # fmt: skip
    return OnnxFile(given[1].get_length(), sides.pop(), answer[1].get_length(), bool(ends) and ends <= _PROBABILITIES)


def _last_meanings(node: Any) -> set[str]:
    """Return the types of the last nodes that give the answer its meaning, looking through those that do not."""
    kind = node.get_type_name()
    if kind == "Concat":
        return {found for value in node.input_values() for found in _last_meanings(value.get_node())}
    if kind not in _TRANSPARENT:
        return {kind}
    before = [value.get_node() for value in node.input_values() if value.get_node().get_type_name() != "Constant"]
    return _last_meanings(before[0]) if before else {kind}


def _length(dimension: Any) -> int:
    return 0 if dimension.is_dynamic else int(dimension.get_length())
