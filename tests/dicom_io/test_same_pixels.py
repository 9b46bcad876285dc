"""The same picture in other bytes, and another picture."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import ImplicitVRLittleEndian, JPEGLSLossless, RLELossless

from dicom_io.image.header import read_header
from dicom_io.image.same_pixels import compare_without_decoder
from tests.conftest import ROOT
from tests.support.peers import dx_file

LIMIT = 1_000_000


def rewritten(path: Path, syntax: str) -> Path:
    """The same data set in another transfer syntax."""
    dataset = pydicom.dcmread(path)
    if syntax in (JPEGLSLossless, RLELossless):
        dataset.compress(syntax, generate_instance_uid=False)
    else:
        dataset.file_meta.TransferSyntaxUID = syntax
    target = path.with_suffix(f".{syntax[-4:]}.dcm")
    dataset.save_as(target)
    return target


def decoded_apart(one: Path, other: Path) -> int:
    command = [sys.executable, "-m", "dicom_io.image.same_pixels", one, other, str(LIMIT)]
    return subprocess.run(command, cwd=ROOT, check=False, capture_output=True).returncode


def test_native_pixels_are_compared_without_a_decoder(tmp_path: Path) -> None:
    """Other elements or another VR encoding are no difference; one pixel is."""
    image = dx_file(tmp_path / "one.dcm")
    implicit = read_header(rewritten(image, ImplicitVRLittleEndian))
    assert compare_without_decoder(read_header(image), implicit, LIMIT) is True
    dataset = pydicom.dcmread(image)
    pixels = np.frombuffer(dataset.PixelData, np.uint16).copy()
    pixels[5] ^= 1
    dataset.PixelData = pixels.tobytes()
    dataset.save_as(tmp_path / "other.dcm")
    assert compare_without_decoder(read_header(image), read_header(tmp_path / "other.dcm"), LIMIT) is False
    inverted = read_header(dx_file(tmp_path / "inverted.dcm", PhotometricInterpretation="MONOCHROME1"))
    assert compare_without_decoder(read_header(image), inverted, LIMIT) is False


@pytest.mark.parametrize("syntax", [JPEGLSLossless, RLELossless])
def test_lossless_recompression_is_the_same_image(tmp_path: Path, syntax: str) -> None:
    """A decoder has to say, in a process of its own; damaged bytes are never the same."""
    image = dx_file(tmp_path / "one.dcm", rows=64, columns=64)
    compressed = rewritten(image, syntax)
    assert compare_without_decoder(read_header(image), read_header(compressed), LIMIT) is None
    assert compare_without_decoder(read_header(compressed), read_header(compressed), LIMIT) is True
    assert decoded_apart(image, compressed) == 0
    damaged = tmp_path / "damaged.dcm"
    content = bytearray(compressed.read_bytes())
    content[-60:-30] = bytes(30)
    damaged.write_bytes(content)
    assert decoded_apart(image, damaged) == 1
