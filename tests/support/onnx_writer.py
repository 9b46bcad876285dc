"""Writing a small ONNX file (onnx.proto3) without an ONNX library."""

import struct
from collections.abc import Iterable
from pathlib import Path

import numpy as np


def _varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def field(number: int, value: int | float | str | bytes) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    if isinstance(value, float):
        return _varint(number << 3 | 5) + struct.pack("<f", value)
    data = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _tensor(name: str, array: np.ndarray) -> bytes:
    dims = b"".join(field(1, int(side)) for side in array.shape)
    kind, form = (7, "<i8") if array.dtype.kind == "i" else (1, "<f4")
    return dims + field(2, kind) + field(8, name) + field(9, array.astype(form).tobytes())


def _value(name: str, shape: Iterable[int | str]) -> bytes:
    dims = b"".join(field(1, field(1 if isinstance(side, int) else 2, side)) for side in shape)
    return field(1, name) + field(2, field(1, field(1, 1) + field(2, dims)))


def _node(kind: str, inputs: list[str], output: str, **attributes: list[int] | int) -> bytes:
    body = b"".join(field(1, name) for name in inputs) + field(2, output) + field(4, kind)
    for name, value in attributes.items():
        many = isinstance(value, list)
        numbers = b"".join(field(8, v) for v in value) if isinstance(value, list) else field(3, value)
        body += field(5, field(1, name) + numbers + field(20, 7 if many else 2))
    return body


Step = tuple[str, list[np.ndarray], dict[str, list[int] | int]]  # a node: its type, its further inputs, its attributes
SIGMOID: Step = ("Sigmoid", [], {})


def write_classifier(
    path: Path, conv: np.ndarray, head: np.ndarray, bias: np.ndarray, side: int, ending: Iterable[Step] = ()
) -> None:
    """Write a network of Conv 3x3 (stride 2), ReLU, global average pooling, Gemm and the nodes of `ending`.

    It takes [n, channels, side, side] with any n.
    """
    nodes = [
        _node("Conv", ["x", "conv"], "a", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
        _node("Relu", ["a"], "b"),
        _node("GlobalAveragePool", ["b"], "c"),
        _node("Flatten", ["c"], "d", axis=1),
        _node("Gemm", ["d", "head", "bias"], "e", transB=1),
    ]
    tensors, last = {"conv": conv, "head": head, "bias": bias}, "e"
    for number, (kind, inputs, attributes) in enumerate(ending):
        named = {f"{kind}{number}.{i}": array for i, array in enumerate(inputs)}
        nodes.append(_node(kind, [last, *named], f"end{number}", **attributes))
        tensors, last = tensors | named, f"end{number}"
    graph = b"".join(field(1, node) for node in nodes) + field(2, "classifier")
    graph += b"".join(field(5, _tensor(name, array)) for name, array in tensors.items())
    graph += field(11, _value("x", ["n", conv.shape[1], side, side])) + field(12, _value(last, ["n", len(head)]))
    path.write_bytes(field(1, 8) + field(8, field(1, "") + field(2, 17)) + field(7, graph))
