"""`hilum predict`, `evaluate` and `model verify` with a segmentation bundle."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from daemon.cli.main import app
from dicom_io.phantom.thorax import draw_chest
from inference.bundle import PACKAGED
from inference.evaluation.evaluate_outlines import dice
from tests.dicom_io.test_decode import write

SEED, SIZE = 2_200_002, (301, 250)
BUNDLE = str(PACKAGED / "lungs-phantom")


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HILUM__MODEL__BUNDLE", BUNDLE)
    monkeypatch.setenv("HILUM__STORAGE__DIRECTORY", str(tmp_path / "storage"))


@pytest.fixture
def drawn(tmp_path: Path) -> Path:
    levels, _ = draw_chest(SEED, "mass", 0, *SIZE)
    Image.fromarray((levels >> 4).astype(np.uint8)).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(one) for one in arguments])


def test_masks_are_written(drawn: Path, tmp_path: Path) -> None:
    """The JSON object names each structure with count, area and mask; the mask covers the lung that was drawn."""
    _, true = draw_chest(SEED, "mass", 0, *SIZE)
    done = run("predict", drawn, "--json", "--explain", tmp_path / "out")
    assert done.exit_code == 0, done.output
    answer = json.loads(done.stdout)
    right, _left, opacity = answer["structures"]
    assert opacity["count"] == 1
    mask = np.asarray(Image.open(right["mask"])) > 0
    assert mask.shape == SIZE
    assert mask.sum() == right["area_pixels"]
    assert dice(mask, true.right_lung) > 0.95
    assert Image.open(answer["outlines"]).size == SIZE[::-1]


def test_areas_of_a_dicom_file_are_in_its_pixels(tmp_path: Path) -> None:
    """A large image is reduced before it is analysed; areas count its stored pixels, and name their plane."""
    levels, _ = draw_chest(SEED, "mass", 0, 2100, 2060)
    spacing = {"ImagerPixelSpacing": [0.2, 0.2], "PixelSpacing": [0.2, 0.2]}
    write(tmp_path / "a.dcm", levels, BitsStored=12, WindowCenter=2048, WindowWidth=4096, **spacing)
    done = run("predict", tmp_path / "a.dcm", "--json")
    right = json.loads(done.stdout)["structures"][0]
    assert right["area_pixels"] / (2100 * 2060) == pytest.approx(right["area_share"], rel=0.01)
    assert right["area_mm2"] == pytest.approx(right["area_pixels"] * 0.04, abs=0.1)
    assert right["plane"] == "detector"


def test_the_table_has_a_row_for_each_structure(drawn: Path) -> None:
    """Without --json a person reads names, counts and areas."""
    said = run("predict", drawn).stdout
    assert all(name in said for name in ("Right lung", "Left lung", "Round opacity"))


def test_it_is_verified_and_evaluated(tmp_path: Path) -> None:
    """The commands for bundles take a segmentation too: its golden answer, and Dice on drawings with masks."""
    assert run("model", "verify", BUNDLE).exit_code == 0
    assert run("phantom", tmp_path / "new", "--masks", "--count", "2", "--seed", "2300000").exit_code == 0
    done = run("evaluate", "--data", tmp_path / "new", "--bundle", BUNDLE, "--json")
    assert json.loads(done.stdout)["structures"]["Right lung"]["dice"] > 0.95
