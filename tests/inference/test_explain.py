"""Maps: from the network itself, and by occlusion."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inference.bundle import Bundle
from inference.networks import build_network
from inference.preprocess import preprocess
from inference.serving.classifier import Classifier
from inference.serving.explain import PRECISION, enlarge, grids
from tests.support.bundles import LABELS, noise, small_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return small_bundle(tmp_path_factory.mktemp("bundle") / "small")


@pytest.fixture(scope="module")
def classifier(bundle: Bundle) -> Classifier:
    return Classifier(bundle, "openvino", precision="f32")


def heatmaps(classifier: Classifier, image: np.ndarray, method: str = "cam", precision: str = "low") -> dict[str, Any]:
    """The map of each finding, of the size of the network's input."""
    maps = enlarge(grids(classifier, image, method, precision), classifier.bundle.input_size)
    return dict(zip(LABELS, maps, strict=True))


def test_maps_add_up_to_the_logit(bundle: Bundle, classifier: Classifier) -> None:
    """A class activation map's mean plus the last layer's bias is the finding's logit."""
    batch = preprocess(classifier.transform, noise(1)[0])[None]
    outputs = classifier.run(batch)
    bias = build_network(bundle).get_parameter("class_layers.out.bias").detach().numpy()
    assert np.allclose(outputs.maps.mean(axis=(2, 3)) + bias, outputs.logits, atol=1e-4)


def test_heatmaps(classifier: Classifier) -> None:
    """There is one map for each finding, of the size of the network's input, and the maps differ."""
    maps = heatmaps(classifier, noise(1)[0])
    assert tuple(maps) == LABELS
    assert {heat.shape for heat in maps.values()} == {(64, 64)}
    assert np.abs(maps["Mass"] - maps["Effusion"]).max() > 1e-3


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def test_random_weights_give_another_map(classifier: Classifier, tmp_path: Path) -> None:
    """Sanity (Adebayo et al. 2018): a map depends on the weights, not only on the picture's edges."""
    other = Classifier(small_bundle(tmp_path / "other", seed=7), "openvino", precision="f32")
    pairs = [(heatmaps(classifier, image), heatmaps(other, image)) for image in noise(4)]
    alike = [correlation(a[label], b[label]) for a, b in pairs for label in LABELS]
    assert np.mean(np.abs(alike)) < 0.6
    again = [correlation(a[label], heatmaps(classifier, i)[label]) for (a, _), i in zip(pairs, noise(4), strict=True)
             for label in LABELS]  # fmt: skip
    assert min(again) > 0.999


def test_occlusion_finds_the_place_that_counts(classifier: Classifier) -> None:
    """Hiding changes most at the only place that differs from the picture's mean."""
    image = np.full((64, 64), 0.5, np.float32)
    image[40:56, 8:24] = np.random.default_rng(0).random((16, 16), dtype=np.float32)
    heat = np.sum([np.abs(heat) for heat in heatmaps(classifier, image, "occlusion", "medium").values()], axis=0)
    row, column = np.unravel_index(int(np.argmax(heat)), heat.shape)
    assert 32 <= row < 64
    assert 0 <= column < 32


def test_occlusion_is_the_fall_of_the_logit(classifier: Classifier) -> None:
    """The first cell's value is the logit of the whole picture minus that of the picture with the corner hidden."""
    image = noise(1)[0]
    picture = preprocess(classifier.transform, image)
    hidden = picture.copy()
    hidden[:, :14, :14] = picture.mean()  # 64 / 7 = 9.1 a cell: from 4.6 - 9.1 to 4.6 + 9.1
    fall = classifier.run(picture[None]).logits[0] - classifier.run(hidden[None]).logits[0]
    maps = heatmaps(classifier, image, "occlusion", "low")
    assert [maps[label][0, 0] for label in LABELS] == pytest.approx(list(fall), abs=1e-4)


def test_methods_and_precisions(classifier: Classifier) -> None:
    """low, medium and high are grids of growing size; the error about anything else lists them."""
    assert list(PRECISION.values()) == sorted(PRECISION.values())
    with pytest.raises(ValueError, match="low, medium, high"):
        heatmaps(classifier, noise(1)[0], "occlusion", "extreme")
    with pytest.raises(ValueError, match="cam or occlusion"):
        heatmaps(classifier, noise(1)[0], "magic")


def test_enlarge_keeps_places() -> None:
    """Enlarging keeps the place of a map's peak."""
    small = np.zeros((1, 4, 4), np.float32)
    small[0, 1, 2] = 1
    large = enlarge(small, (64, 64))[0]
    row, column = np.unravel_index(int(large.argmax()), large.shape)
    assert 16 <= row < 32
    assert 32 <= column < 48
