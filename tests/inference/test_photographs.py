"""Pictures that are no chest: a network for photographs in colour, whose answers exclude each other."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from inference.arrays import Array
from inference.bundle import Bundle, load_bundle
from inference.bundle_writer import base_metadata, write_bundle
from inference.networks import define_network
from inference.pictures import display_values
from inference.preprocess import build_from, preprocess, standard_preprocessing
from inference.serving.classifier import Classifier
from tests.support.bundles import narrow_resnet

COLOURS = {"Brown mole": (120, 70, 40), "Red spot": (190, 60, 60), "Blue spot": (70, 70, 150)}
SIZE = 32


def photograph(kind: int, seed: int) -> Image.Image:
    """Drawn skin with one spot, whose colour alone tells what it is."""
    rng = np.random.default_rng((kind, seed))
    picture = Image.new("RGB", (90, 70), tuple(int(v) for v in np.array((215, 170, 150)) + rng.integers(-15, 16, 3)))
    x, y, radius = rng.integers(25, 60), rng.integers(25, 45), rng.integers(10, 18)
    colour = tuple(int(v) for v in list(COLOURS.values())[kind] + rng.integers(-12, 13, 3))
    ImageDraw.Draw(picture).ellipse((x - radius, y - radius, x + radius, y + radius), colour)
    return picture


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    directory = tmp_path_factory.mktemp("skin") / "skin"
    network = {**narrow_resnet(), "n_input_channels": 3, "num_classes": 3, "conv1_t_size": 3}
    inference = {"preprocessing": standard_preprocessing(SIZE, 3), "network_def": network}
    metadata = base_metadata("skin", "1", "Drawn spots.", tuple(COLOURS), SIZE, trained=True, channels=3)
    metadata["hilum"] |= {"channels": 3, "output": "softmax"}
    transform = build_from(inference["preprocessing"])
    pictures = [preprocess(transform, values(photograph(n % 3, n))) for n in range(90)]
    write_bundle(directory, metadata, inference, trained(inference, np.stack(pictures)).state_dict())
    return load_bundle(directory)


def values(picture: Image.Image) -> Array:
    return np.asarray(picture, np.float32) / np.float32(255)


def trained(inference: dict[str, object], pictures: Array) -> torch.nn.Module:
    torch.manual_seed(0)
    network = define_network(inference, "test")
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3)
    x, y = torch.from_numpy(pictures), torch.arange(len(pictures)) % 3
    for step in range(60):
        rows = torch.arange(step * 30, step * 30 + 30) % len(x)
        loss = torch.nn.functional.cross_entropy(network(x[rows]), y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network.eval()


@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_a_jpeg_file_in_colour_is_one_of_n(bundle: Bundle, engine: str, tmp_path: Path) -> None:
    """Unseen photographs, read from JPEG files: the right answer is the likeliest, and all add up to one."""
    classifier = Classifier(bundle, engine, "cpu", precision="f32")
    right = 0
    for number in range(12):
        photograph(number % 3, 1000 + number).save(tmp_path / "a.jpg", quality=95)
        picture = display_values((tmp_path / "a.jpg").read_bytes(), "a.jpg", bundle.channels)
        (prediction,) = classifier.predict([picture])
        probabilities = [f.probability for f in prediction.findings]
        assert sum(probabilities) == pytest.approx(1, abs=1e-4)
        right += int(np.argmax(probabilities)) == number % 3
    assert right >= 11
