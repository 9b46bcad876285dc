"""Whether two files hold the same picture, whatever their bytes.

Two objects have the same pixels if they agree in Rows, Columns, Samples per Pixel, Photometric Interpretation, Bits
Stored and Pixel Representation, and if every stored value is the same after decompression. Lossless recompression,
another byte order and other elements are no difference.

`python -m dicom_io.image.same_pixels FILE FILE` decodes both in a process of its own, so that a decoder which crashes
or hangs takes nobody with it. It ends with 0 where the pixels are the same, with 1 where they are not or cannot be
decoded.
"""

import sys
from pathlib import Path

import numpy as np

from dicom_io.image.compression import codecs
from dicom_io.image.decode import read_stored_levels
from dicom_io.image.header import Header, read_header
from dicom_io.image.no_picture import NoPicture
from dicom_io.image.pixel_data import read_frame

_DESCRIBING = (
    "Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "BitsStored", "PixelRepresentation",
)  # fmt: skip


def compare_without_decoder(one: Header, other: Header, max_pixels: int) -> bool | None:
    """Whether the pixels are the same; None where a decoder would have to say. Runs no decoder."""
    try:
        if any(_described(one, keyword) != _described(other, keyword) for keyword in _DESCRIBING):
            return False
        if all(codecs.is_native(header.transfer_syntax_uid) for header in (one, other)):
            return _same_levels(one, other, max_pixels)
        same_syntax = one.transfer_syntax_uid == other.transfer_syntax_uid
        return True if same_syntax and read_frame(one) == read_frame(other) else None
    except NoPicture:
        return False


def _described(header: Header, keyword: str) -> tuple[float, ...] | str:
    return header.numbers(keyword) or header.text(keyword)


def _same_levels(one: Header, other: Header, max_pixels: int) -> bool:
    return bool(np.array_equal(read_stored_levels(one, max_pixels), read_stored_levels(other, max_pixels)))


def main(one: str, other: str, max_pixels: str) -> int:
    """Return 0 where the two files have the same pixels, else 1."""
    try:
        return 0 if _same_levels(read_header(Path(one)), read_header(Path(other)), int(max_pixels)) else 1
    except NoPicture:
        return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
