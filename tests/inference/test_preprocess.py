"""From display values to the network's input."""

import io
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import get_track_meta
from PIL import Image

from inference.bundle import Bundle
from inference.errors import BadImage
from inference.instantiate import Locator
from inference.preprocess import CentreSquare, build, build_from, preprocess, preprocess_all, standard_preprocessing
from tests.support.bundles import noise, small_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return small_bundle(tmp_path_factory.mktemp("bundle") / "small")


def test_training_and_serving_see_the_same_pixels(bundle: Bundle) -> None:
    """The bundle's preprocessing and the one that training builds from the same configuration agree bit for bit."""
    serving, training = build(bundle), build_from(standard_preprocessing(64))
    for image in noise(3, 317, 251):
        torch.set_num_threads(2)
        assert np.array_equal(preprocess(serving, image), preprocess(training, image))


def test_file_format_makes_no_difference(bundle: Bundle) -> None:
    """Pixels that went through a PNG file give the same input, bit for bit."""
    pixels = np.random.default_rng(0).integers(0, 65536, (300, 200), dtype=np.uint16)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    read = np.asarray(Image.open(file), dtype=np.float32) / np.float32(65535)
    direct = pixels.astype(np.float32) / np.float32(65535)
    transform = build(bundle)
    assert np.array_equal(preprocess(transform, read), preprocess(transform, direct))


def test_area_means(bundle: Bundle) -> None:
    """A picture of four times the side is averaged over 4 x 4 pixels, then standardised."""
    image = np.random.default_rng(0).random((256, 256), dtype=np.float32)
    means = image.reshape(64, 4, 64, 4).mean(axis=(1, 3))
    expected = (means - means.mean()) / means.std()
    assert np.allclose(preprocess(build(bundle), image)[0], expected, atol=1e-4)


@settings(max_examples=30, deadline=None)
@given(rows=st.integers(1, 400), columns=st.integers(1, 400))
def test_any_size_gives_the_input_size(rows: int, columns: int) -> None:
    """Any picture, smaller or larger than the network's input, of any shape, becomes [1, S, S] without NaN."""
    image = np.random.default_rng(0).random((rows, columns), dtype=np.float32)
    result = preprocess(build_from(standard_preprocessing(64)), image)
    assert (result.shape, result.dtype) == ((1, 64, 64), np.float32)
    assert np.isfinite(result).all()


def test_batch(bundle: Bundle) -> None:
    """A batch holds what its pictures give one by one."""
    images = [*noise(2), *noise(1, 40, 130)]
    transform = build(bundle)
    batch = preprocess_all(transform, images)
    assert batch.shape == (3, 1, 64, 64)
    assert all(np.array_equal(row, preprocess(transform, image)) for row, image in zip(batch, images, strict=True))


def test_settings_of_the_process_are_left_alone(bundle: Bundle) -> None:
    """The number of threads and MONAI's metadata tracking are restored; the picture is not changed."""
    torch.set_num_threads(2)
    tracked, image = get_track_meta(), noise(1)[0]
    before = image.copy()
    preprocess(build(bundle), image)
    assert (torch.get_num_threads(), get_track_meta()) == (2, tracked)
    assert np.array_equal(image, before)


@pytest.mark.parametrize(
    "image", [np.zeros((4, 4)), np.zeros((1, 4, 4), np.float32), np.zeros((0, 4), np.float32), [1]]
)
def test_no_picture(bundle: Bundle, image: np.ndarray) -> None:
    """Anything but float32 [rows, columns] is refused with what was found."""
    with pytest.raises(BadImage, match="expected float32"):
        preprocess(build(bundle), image)


def test_centre_square() -> None:
    """The middle of the longer side is kept."""
    picture = torch.arange(12.0).reshape(1, 2, 6)
    assert CentreSquare()(picture).tolist() == [[[2.0, 3.0], [8.0, 9.0]]]


def test_read_only_pictures(bundle: Bundle, tmp_path: Path) -> None:
    """A picture in read-only memory is accepted."""
    np.save(tmp_path / "x.npy", noise(1)[0])
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert preprocess(build(bundle), np.asarray(mapped)).shape == (1, 64, 64)


def test_other_threads_may_import() -> None:
    """MONAI's classes are found while another thread imports modules, as libraries with their own threads do."""
    stop, interval, locator = threading.Event(), sys.getswitchinterval(), Locator()

    def load() -> None:
        while not stop.is_set():
            for i in range(200):
                sys.modules[f"made_up_{i}"] = sys
            for i in range(200):
                del sys.modules[f"made_up_{i}"]

    thread = threading.Thread(target=load)
    sys.setswitchinterval(1e-5)
    thread.start()
    try:
        for _ in range(300):
            assert "monai.transforms" in locator._find_module_names()
    finally:
        stop.set()
        thread.join()
        sys.setswitchinterval(interval)
