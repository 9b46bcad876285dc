"""Objects and models made to harm: small ones that claim, or become, very much."""

import os
import struct
import uuid
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import imagecodecs
import numpy as np
from pydicom.uid import ComputedRadiographyImageStorage, HTJ2KLossless, JPEG2000Lossless, JPEGLSLossless, RLELossless

from tests.support.onnx_writer import field

CR = str(ComputedRadiographyImageStorage)
LONG = (b"SQ", b"OB", b"OW", b"UN", b"UT")
UNDEFINED = 0xFFFFFFFF
REQUEST_ATTRIBUTES, ITEM = 0x00400275, struct.pack("<HH", 0xFFFE, 0xE000)


@dataclass(frozen=True)
class Crafted:
    """An object: its SOP Instance UID, and its data set as it goes over the wire."""

    instance: str
    data: bytes


def uid() -> str:
    return f"2.25.{uuid.uuid4().int}"


def element(tag: int, vr: bytes, value: bytes, length: int | None = None) -> bytes:
    """One element in Explicit VR Little Endian."""
    value += b"\0" * (len(value) % 2)
    size, head = len(value) if length is None else length, struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr)
    return head + (struct.pack("<HL", 0, size) if vr in LONG else struct.pack("<H", size)) + value


def object_with(rest: bytes = b"", side: int = 0, bits: int = 16) -> Crafted:
    """The header of a chest radiograph, and then these elements."""
    instance = uid()
    rows = struct.pack("<H", side)
    image = [(2, 1), (0x100, bits), (0x101, bits), (0x102, bits - 1), (0x103, 0)]
    numbers = {0x00280000 | number: struct.pack("<H", value) for number, value in image}
    numbers |= {0x00280010: rows, 0x00280011: rows}
    head = element(0x00080016, b"UI", CR.encode()) + element(0x00080018, b"UI", instance.encode())
    head += element(0x00080060, b"CS", b"CR") + element(0x00100020, b"LO", b"ATTACK")
    head += element(0x00180015, b"CS", b"CHEST") + element(0x00185101, b"CS", b"PA")
    head += element(0x0020000D, b"UI", uid().encode()) + element(0x0020000E, b"UI", uid().encode())
    head += element(0x00280004, b"CS", b"MONOCHROME2")
    return Crafted(instance, head + b"".join(element(tag, b"US", v) for tag, v in sorted(numbers.items())) + rest)


def deflated(crafted: Crafted) -> Crafted:
    deflater = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    return Crafted(crafted.instance, deflater.compress(crafted.data) + deflater.flush())


def large_value(size: int) -> Crafted:
    """One private value."""
    return object_with(element(0x00291001, b"OB", bytes(size)))


def many_elements(count: int) -> Crafted:
    return object_with(element(0x00291001, b"LO", b"") * count)


def many_items(count: int) -> Crafted:
    return object_with(element(REQUEST_ATTRIBUTES, b"SQ", (ITEM + bytes(4)) * count))


def nested(depth: int) -> Crafted:
    """Sequences in sequences, of undefined length and never closed."""
    opening = element(REQUEST_ATTRIBUTES, b"SQ", b"", UNDEFINED) + ITEM + struct.pack("<L", UNDEFINED)
    return object_with(opening * depth)


def encapsulated(frame: bytes, side: int, bits: int = 16) -> Crafted:
    """An image of one fragment, after an empty Basic Offset Table (PS3.5 A.4)."""
    frame += b"\0" * (len(frame) % 2)
    items = ITEM + bytes(4) + ITEM + struct.pack("<L", len(frame)) + frame + struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
    return object_with(element(0x7FE00010, b"OB", items, UNDEFINED), side, bits)


def jpeg_2000(side: int, tile: int, precinct: int = 15) -> bytes:
    """A codestream of a hundred bytes that claims this size and these tiles and precincts."""
    made = bytearray(
        imagecodecs.jpeg2k_encode(np.zeros((64, 64), np.uint16), level=0, reversible=True, codecformat="j2k")
    )
    struct.pack_into(">2L", made, 8, side, side)
    struct.pack_into(">2L", made, 24, tile, tile)
    at = made.index(b"\xff\x52")
    end = at + 2 + struct.unpack_from(">H", made, at + 2)[0]
    coding = bytes([1, *made[at + 5 : at + 14]]) + bytes([precinct * 17] * (made[at + 9] + 1))
    return bytes(made[:at]) + b"\xff\x52" + struct.pack(">H", len(coding) + 2) + coding + bytes(made[end:])


def jpeg_ls(side: int) -> bytes:
    made = bytearray(imagecodecs.jpegls_encode(np.zeros((64, 64), np.uint16)))
    struct.pack_into(">2H", made, made.index(b"\xff\xf7") + 5, side, side)
    return bytes(made)


def pictures() -> list[tuple[str, Crafted]]:
    """Transfer syntax and object."""
    rle = struct.pack("<16L", 2, 64, 64 + 2_000_000, *[0] * 13) + b"\x81\0" * 2_000_000
    return [
        (JPEG2000Lossless, encapsulated(jpeg_2000(10_000, 10_000), 10_000)),
        (JPEG2000Lossless, encapsulated(jpeg_2000(60_000, 60_000), 64)),
        (JPEG2000Lossless, encapsulated(jpeg_2000(250, 1), 250)),
        (HTJ2KLossless, encapsulated(jpeg_2000(5_000, 5_000, 1), 5_000)),
        (JPEGLSLossless, encapsulated(jpeg_ls(10_000), 10_000)),
        (JPEGLSLossless, encapsulated(jpeg_ls(60_000), 64)),
        (RLELossless, encapsulated(rle, 64)),
        (RLELossless, encapsulated(rle, 10_000)),
    ]


# --- models


def _folder(path: Path) -> Path:
    for name in ("configs", "models"):
        (path / name).mkdir(parents=True)
    (path / "configs/metadata.json").write_text("{}")
    (path / "configs/inference.json").write_text('{"network_def": {}}')
    return path


def piped(path: Path) -> Path:
    os.mkfifo(_folder(path) / "models/pipe")
    return path


def linked(path: Path) -> Path:
    (_folder(path) / "models/model.safetensors").symlink_to("/dev/zero")
    return path


def compressed(path: Path) -> Path:
    with zipfile.ZipFile(path.with_suffix(".pt"), "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(100_000_000))
    return path.with_suffix(".pt")


def huge_table(path: Path) -> Path:
    path.with_suffix(".safetensors").write_bytes((90_000_000).to_bytes(8, "little") + b"{" + b" " * 90_000_000)
    return path.with_suffix(".safetensors")


def elsewhere(path: Path) -> Path:
    """A tensor whose values (external_data, data_location EXTERNAL) lie in another file."""
    location = field(1, "location") + field(2, "../../../etc/passwd")
    tensor = field(1, 4) + field(2, 1) + field(8, "w") + field(13, location) + field(14, 1)
    path.with_suffix(".onnx").write_bytes(field(7, field(5, tensor)))
    return path.with_suffix(".onnx")


BUNDLES: dict[str, Callable[[Path], Path]] = {
    "pipe": piped, "link": linked, "zip": compressed, "table": huge_table, "onnx": elsewhere
}  # fmt: skip
