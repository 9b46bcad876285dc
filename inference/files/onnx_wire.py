"""Whether an ONNX file keeps tensors in other files, found by following its protocol buffers (onnx.proto3)."""

from collections.abc import Iterator
from mmap import ACCESS_READ, mmap
from pathlib import Path

# Each kind of message: the numbers of its fields that hold messages, and of which kind.
_FIELDS: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14  # of a tensor
_DEPTH_LIMIT = 64  # graphs in attributes of nodes in graphs ...

Bytes = mmap | bytes


def names_other_files(path: Path) -> bool:
    """Tell whether a tensor's values lie in another file. A file that is not ONNX names none, or is taken to."""
    if not path.stat().st_size:
        return False
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content:
        try:
            return _names(content, 0, len(content), "model", 0)
        except (IndexError, RecursionError):
            return True  # it cannot be followed, so nothing is known of it


def _names(content: Bytes, start: int, end: int, kind: str, depth: int) -> bool:
    if depth > _DEPTH_LIMIT:
        raise RecursionError
    for number, at, upto in _fields(content, start, end):
        if kind == "tensor" and number in (_EXTERNAL_DATA, _DATA_LOCATION) and (upto > at or content[at]):
            return True
        inner = _FIELDS[kind].get(number)
        if inner and upto > at and _names(content, at, upto, inner, depth + 1):
            return True
    return False


def _fields(content: Bytes, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield number, start and end of each field; start is its value's and equals the end for one that is a number.

    Raises IndexError where the bytes are no fields.
    """
    while at < end:
        key, at = _varint(content, at)
        number, wire = key >> 3, key & 7
        if wire == 2:
            length, at = _varint(content, at)
            if at + length > end:
                raise IndexError
            yield number, at, at + length
            at += length
        elif wire == 0:
            yield number, at, at
            at = _varint(content, at)[1]
        elif wire in (1, 5):
            at += 8 if wire == 1 else 4
        else:
            raise IndexError


def _varint(content: Bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = content[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise IndexError
