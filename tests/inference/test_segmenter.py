"""Segmentation bundles: trained on small drawings in the test, opened, measured, refused with a reason."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from inference.bundle import PACKAGED, Bundle, load_bundle
from inference.errors import BundleError, DataError
from inference.evaluation.evaluate_outlines import dice, evaluate_outlines
from inference.evaluation.outlines import read_outlined
from inference.serving.classifier import Classifier
from inference.serving.segmenter import Segmenter, open_model
from inference.serving.structures import Structures, without_small
from inference.training.segmentation.outline_recipe import OutlineRecipe
from inference.training.segmentation.train_outlines import train_outlines
from tests.support.bundles import small_bundle

NETWORK: dict[str, Any] = {"_target_": "monai.networks.nets.UNet", "spatial_dims": 2, "channels": [8, 16, 32],
                           "strides": [2, 2], "num_res_units": 1}  # fmt: skip
RECIPE = OutlineRecipe(network=NETWORK, size=48, channels=3, epochs=14, learning_rate=1e-2, counted={"Vessel": 0.002})


def vessels(folder: Path, count: int, seed: int) -> Path:
    """Drawn photographs in colour: red vessels, which are the structure, beside blue ones as bright, which are not."""
    rng = np.random.default_rng(seed)
    (folder / "drawn").mkdir(parents=True)
    with (folder / "drawn.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "patient_id", "Vessel"])
        for number in range(count):
            picture, mask = Image.new("RGB", (80, 64), (205, 150, 130)), Image.new("L", (80, 64))
            for vessel in range(rng.integers(1, 4)):
                place = 12 + 20 * vessel
                for colour, left in (((150, 30, 30), 4), ((30, 30, 150), 44)):
                    line = [(left, place + rng.integers(-3, 4)), (left + 30, place + rng.integers(-3, 4))]
                    ImageDraw.Draw(picture).line(line, colour, 5)
                    if left == 4:
                        ImageDraw.Draw(mask).line(line, int(vessel) + 1, 5)
            picture.save(folder / f"drawn/{number}.png")
            mask.save(folder / f"drawn/{number}-vessel.png")
            writer.writerow([f"{number}.png", f"p{number}", f"{number}-vessel.png"])
    return folder


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("vessels")
    return train_outlines(vessels(folder / "data", 60, 0), folder / "vessels", RECIPE, threads=1, progress=False)


def test_photographs_in_colour_are_learned(bundle: Bundle, tmp_path: Path) -> None:
    """Of vessels as bright as each other, the red ones of unseen pictures are outlined and counted."""
    result = evaluate_outlines(read_outlined(vessels(tmp_path / "new", 20, 1)), Segmenter(bundle, "torch", "cpu"))
    figures = result["structures"]["Vessel"]
    assert figures["dice"] > 0.75
    assert figures["count_right"] > 0.7


def test_both_engines_outline_the_same(bundle: Bundle, tmp_path: Path) -> None:
    """A mask has the picture's rows and columns, and OpenVINO gives that of torch."""
    picture, _ = read_outlined(vessels(tmp_path / "new", 1, 2)).rows[0].read(3)
    found = [
        open_model(bundle, engine, "cpu", precision="f32").predict([picture])[0] for engine in ("torch", "openvino")
    ]
    one, other = (prediction.outlined[0] for prediction in found)
    assert one.mask.shape == picture.shape[:2]
    assert one.mask.dtype == bool
    assert one.area_pixels == one.mask.sum() > 0
    assert dice(one.mask, other.mask) > 0.99
    assert one.count == other.count


def test_a_constant_picture_is_refused(bundle: Bundle) -> None:
    """A picture without content gets a reason and no outline."""
    (prediction,) = Segmenter(bundle, "torch", "cpu").predict([np.full((50, 40), 0.5, np.float32)])
    assert not prediction.analysed
    assert prediction.reason == "every pixel has the same value"


def test_small_regions_do_not_count() -> None:
    """Pixels that touch at a corner are one region; one below the least area is dropped from mask and count."""
    mask = np.zeros((10, 10), bool)
    mask[0:2, 0:2] = mask[2:4, 2:4] = mask[9, 9] = True
    kept, number = without_small(mask, 0.02)
    assert number == 1
    assert kept.sum() == 8
    assert without_small(mask, 0.0)[1] == 2
    assert without_small(np.zeros((3, 3), bool), 0.0)[1] == 0


def test_shares_are_of_what_the_bundle_says(tmp_path: Path) -> None:
    """An area is compared to that of the named structures, and theirs to the picture; no share of nothing."""
    write_task(small_bundle(tmp_path), {"share_of": ["Effusion"]})
    maps = np.zeros((3, 4, 5), np.float32)
    maps[0, :2], maps[1, 0] = 0.9, 0.9
    whole, part, none = Structures(load_bundle(tmp_path)).outlined(maps)
    assert (whole.share, whole.share_of) == (0.5, "picture")
    assert (part.share, part.share_of) == (0.5, "Effusion")
    assert none.share == 0
    assert Structures(load_bundle(tmp_path)).outlined(np.zeros((3, 4, 5), np.float32))[1].share is None


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"structures": {"Spleen": {}}}, "Spleen"),
        ({"structures": {"Mass": {"threshold": 2}}}, "threshold within 0..1"),
        ({"structures": {"Mass": {"colour": 1}}}, "colour"),
        ({"share_of": "Mass"}, "a list"),
    ],
)
def test_faults_of_structures_are_named(tmp_path: Path, content: dict[str, Any], said: str) -> None:
    """configs/structures.json that cannot be used is refused with what is wrong and where."""
    write_task(small_bundle(tmp_path), content)
    with pytest.raises(BundleError, match=said):
        Structures(load_bundle(tmp_path))


def write_task(bundle: Bundle, structures: dict[str, Any]) -> None:
    """Say that a bundle outlines structures, by this configs/structures.json."""
    metadata = bundle.metadata | {"hilum": bundle.metadata["hilum"] | {"task": "segmentation"}}
    (bundle.directory / "configs/metadata.json").write_text(json.dumps(metadata))
    (bundle.directory / "configs/structures.json").write_text(json.dumps(structures))


def test_a_classifier_that_says_it_outlines_is_refused(tmp_path: Path) -> None:
    """The network's outputs have to be maps, and the message says what they are."""
    write_task(small_bundle(tmp_path), {})
    with pytest.raises(BundleError, match="a map for each of 3 outputs"):
        Segmenter(load_bundle(tmp_path), "torch", "cpu")


@pytest.mark.parametrize(("key", "value"), [("task", "detection"), ("output", "relu"), ("channels", 2)])
def test_unknown_values_are_refused(tmp_path: Path, key: str, value: object) -> None:
    """A task, a kind of output and a number of channels that hilum does not know are named."""
    made = small_bundle(tmp_path)
    metadata = made.metadata | {"hilum": made.metadata["hilum"] | {key: value}}
    (tmp_path / "configs/metadata.json").write_text(json.dumps(metadata))
    with pytest.raises(BundleError, match=f"{key} is"):
        load_bundle(tmp_path)


def test_softmax_makes_one_of_n(tmp_path: Path) -> None:
    """The probabilities of outputs that exclude each other add up to one, whatever the picture shows."""
    made = small_bundle(tmp_path)
    metadata = made.metadata | {"hilum": made.metadata["hilum"] | {"output": "softmax"}}
    (tmp_path / "configs/metadata.json").write_text(json.dumps(metadata))
    picture = np.random.default_rng(0).random((70, 60), np.float32)
    (prediction,) = Classifier(load_bundle(tmp_path), "torch", "cpu").predict([picture])
    assert sum(f.probability for f in prediction.findings) == pytest.approx(1, abs=1e-5)


def test_a_folder_without_masks_is_refused(tmp_path: Path) -> None:
    """What is missing is named: the manifest, or the first file."""
    with pytest.raises(DataError, match="no manifest"):
        read_outlined(tmp_path)
    data = vessels(tmp_path / "data", 2, 0)
    (data / "drawn/1-vessel.png").unlink()
    with pytest.raises(DataError, match=r"1 files are missing.*1-vessel.png"):
        read_outlined(data)


def test_the_shipped_segmentation_gives_its_golden_answer() -> None:
    """The packaged bundle is pinned, small, and computes what it was trained to compute."""
    shipped = load_bundle(PACKAGED / "lungs-phantom")
    assert shipped.pinned
    assert shipped.weights.stat().st_size < 2_000_000
    assert Segmenter(shipped).self_check() < 0.01
