"""Preprocessing is the same in training and in serving, bit for bit: PNG and DICOM files of the same radiograph.

Training reads PNG files by `inference.evaluation.data`; serving decodes a DICOM file by `dicom_io.image.decode`.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom import uid
from pydicom.pixels.encoders.base import RLELosslessEncoder

from daemon.pipeline import SIZE_HINT
from dicom_io.image.decode import decode
from dicom_io.phantom.studies import draw_thorax
from inference.evaluation.data import preprocessed, read_table
from inference.preprocess import LEAST_SIDE, Transform, build, build_from, preprocess, standard_preprocessing
from tests.conftest import shared_path
from tests.dicom_io.test_decode import write
from tests.support.bundles import small_bundle

Pixels = NDArray[Any]


def rle(pixels: Pixels) -> bytes:
    rows, columns = pixels.shape
    return RLELosslessEncoder.encode(pixels.tobytes(), rows=rows, columns=columns, samples_per_pixel=1,
        bits_allocated=8, bits_stored=8, pixel_representation=0, number_of_frames=1,
        photometric_interpretation="MONOCHROME2", encoding_plugin="pydicom")  # fmt: skip


LOSSLESS: dict[str, Callable[[Pixels], bytes]] = {
    uid.RLELossless: rle,
    uid.JPEGLosslessSV1: lambda a: imagecodecs.jpeg8_encode(a, lossless=True, predictor=1),
    uid.JPEGLSLossless: imagecodecs.jpegls_encode,
    uid.JPEG2000Lossless: lambda a: imagecodecs.jpeg2k_encode(a, level=0, reversible=True, codecformat="j2k"),
    uid.HTJ2KLossless: lambda a: imagecodecs.htj2k_encode(a, reversible=True),
}


def radiographs() -> Iterator[Any]:
    """A drawn radiograph, and real ones if they are available."""
    yield pytest.param(lambda: (draw_thorax(3, "effusion", 611, 533) >> 4).astype(np.uint8), id="drawn")
    folder = shared_path()
    for file in sorted((folder / "data/nih1024").glob("*.png"))[:2] if folder else []:
        yield pytest.param(lambda file=file: np.asarray(Image.open(file).convert("L")), id=file.stem)


@pytest.fixture(scope="module", params=list(radiographs()))
def pixels(request: pytest.FixtureRequest) -> Pixels:
    made: Pixels = request.param()
    return np.ascontiguousarray(made)


@pytest.fixture(scope="module")
def transforms(tmp_path_factory: pytest.TempPathFactory) -> list[Transform]:
    """The transforms that training builds, that serving builds of a bundle, and those of TorchXRayVision."""
    scale = {"_target_": "monai.transforms.ScaleIntensityRange", "a_min": 0.0, "a_max": 1.0, "b_min": -1024.0,
             "b_max": 1024.0}  # fmt: skip
    first, resize, _ = standard_preprocessing(64)["transforms"]
    theirs = {"_target_": "monai.transforms.Compose",
              "transforms": [first, {"_target_": "inference.preprocess.CentreSquare"}, resize, scale]}  # fmt: skip
    bundle = small_bundle(tmp_path_factory.mktemp("bundle") / "small")
    return [build_from(standard_preprocessing(64)), build(bundle), build_from(theirs)]


def in_training(directory: Path, pixels: Pixels, transforms: list[Transform]) -> list[NDArray[np.float32]]:
    """The network's input from a PNG file in a data directory, for each transform."""
    (directory / "made").mkdir(parents=True)
    Image.fromarray(pixels).save(directory / "made/1.png")
    (directory / "made.csv").write_text("file,patient_id,Effusion\n1.png,7,1\n")
    return [batch[0] for batch in preprocessed(read_table(directory), transforms)]


def in_serving(file: Path, transforms: list[Transform]) -> list[NDArray[np.float32]]:
    """The network's input from a DICOM file, for each transform."""
    picture = decode(file, size_hint=SIZE_HINT)
    return [preprocess(transform, picture) for transform in transforms]


def assert_same(directory: Path, pixels: Pixels, files: dict[str, Path], transforms: list[Transform]) -> None:
    trained = in_training(directory / "data", pixels, transforms)
    assert np.array_equal(trained[0], trained[1]), "the bundle's own preprocessing"
    for what, file in files.items():
        for one, other in zip(trained, in_serving(file, transforms), strict=True):
            assert np.array_equal(one, other), what


def test_every_lossless_syntax(tmp_path: Path, pixels: Pixels, transforms: list[Transform]) -> None:
    """An 8-bit radiograph as PNG and as DICOM, uncompressed or losslessly compressed: the same bits."""
    rows, columns = pixels.shape
    eight = {"Rows": rows, "Columns": columns, "BitsAllocated": 8, "BitsStored": 8}
    files = {s: write(tmp_path / f"{s}.dcm", bytes(encode(pixels)), s, **eight) for s, encode in LOSSLESS.items()}
    for syntax in (uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.DeflatedExplicitVRLittleEndian):
        files[syntax] = write(tmp_path / f"{syntax}.dcm", pixels, syntax)
    assert_same(tmp_path, pixels, files, transforms)


def test_every_way_to_say_the_same(tmp_path: Path, pixels: Pixels, transforms: list[Transform]) -> None:
    """A full window, a rescale that changes nothing, MONOCHROME1 and grey RGB all give the same bits."""
    colour = np.repeat(pixels[..., None], 3, axis=2)
    files = {
        "LINEAR": write(tmp_path / "a.dcm", pixels, WindowCenter=128, WindowWidth=256),
        "LINEAR_EXACT": write(tmp_path / "b.dcm", pixels, WindowCenter=127.5, WindowWidth=255,
                              VOILUTFunction="LINEAR_EXACT"),
        "rescale": write(tmp_path / "c.dcm", pixels, RescaleSlope="1", RescaleIntercept="0"),
        "MONOCHROME1": write(tmp_path / "d.dcm", 255 - pixels, PhotometricInterpretation="MONOCHROME1"),
        "RGB": write(tmp_path / "e.dcm", colour, SamplesPerPixel=3, PhotometricInterpretation="RGB",
                     PlanarConfiguration=0),
        "8 of 16 bits": write(tmp_path / "f.dcm", pixels.astype(np.uint16), BitsStored=8),
    }  # fmt: skip
    assert_same(tmp_path, pixels, files, transforms)


def test_real_colour(tmp_path: Path, transforms: list[Transform]) -> None:
    """A film that was scanned in colour has the same brightness in both."""
    colour = np.random.default_rng(0).integers(0, 256, (120, 100, 3), dtype=np.uint8)
    file = write(tmp_path / "rgb.dcm", colour, SamplesPerPixel=3, PhotometricInterpretation="RGB",
                 PlanarConfiguration=0)  # fmt: skip
    assert_same(tmp_path, colour, {"RGB": file}, transforms)


@pytest.mark.parametrize("bits", [10, 12, 16])
def test_more_than_eight_bits(tmp_path: Path, bits: int, transforms: list[Transform]) -> None:
    """In a 16-bit PNG file and a DICOM file without a window, the smallest value is black and the largest white."""
    deep = (draw_thorax(4, "none", 300, 260).astype(np.uint32) << (bits - 10) >> 2).astype(np.uint16)
    assert_same(tmp_path, deep, {"deep": write(tmp_path / "deep.dcm", deep, BitsStored=bits)}, transforms)


@pytest.mark.parametrize("size", [(2500, 2048), (3121, 3073)])
def test_large_pictures(tmp_path: Path, size: tuple[int, int], transforms: list[Transform]) -> None:
    """A picture that the decoder reduces equals one that is reduced after it was read from another kind of file."""
    large = np.random.default_rng(1).integers(0, 256, size, dtype=np.uint8)
    file = write(tmp_path / "large.dcm", large)
    assert max(decode(file, size_hint=SIZE_HINT).shape) < max(size) / 1.9
    assert_same(tmp_path, large, {"large": file}, transforms)


def test_one_size_for_both() -> None:
    """The size to which the decoder may reduce agrees with the one to which preprocessing reduces."""
    assert LEAST_SIDE == 2 * SIZE_HINT
