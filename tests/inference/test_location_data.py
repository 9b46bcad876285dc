"""Fitting the rule for locations: drawn lesions, boxes in a file, and the command."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from daemon.cli.main import app
from inference.bundle import load_bundle
from inference.errors import DataError
from inference.evaluation.data import read_table
from inference.serving.location_rule import LocationRule
from inference.training.location.drawn_lesions import DRAWN, box_around, lesions, lung_fields
from inference.training.location.location_data import read_boxes
from tests.support.spots import LABELS, SQUASHED, marked_spots, spot_bundle, without_spot


@pytest.fixture(scope="module")
def chests() -> list[tuple[np.ndarray, str]]:
    """Two dark lungs in a bright body, on a dark ground, of four patients."""
    y, x = np.mgrid[0:160, 0:140] + 0.5
    pictures = []
    for number in range(4):
        body = np.where(np.abs(x - 70) < 60, 0.75, 0.02)
        for side in (-1, 1):
            body[((x - 70 - 27 * side) / (17 + number)) ** 2 + ((y - 75) / 45) ** 2 < 1] = 0.3
        noise = np.random.default_rng(number).normal(0, 0.01, body.shape)
        pictures.append((np.clip(body + noise, 0, 1).astype(np.float32), f"patient {number}"))
    return pictures


def test_lung_fields_are_recognised(chests: list[tuple[np.ndarray, str]]) -> None:
    """In such chests both lungs are found, the left of the picture first; in a blank picture none is."""
    for picture, _ in chests:
        right, left = lung_fields(picture)
        assert right.mask.sum() > 0.03 * picture.size
        assert right.right <= left.left + 3
        assert (right.outer, left.outer) == (-1, 1)
    assert lung_fields(np.full((100, 100), 0.5, np.float32)) == []


@pytest.mark.parametrize("finding", DRAWN)
def test_the_box_is_around_what_was_drawn(chests: list[tuple[np.ndarray, str]], finding: str) -> None:
    """Most of what a drawing changes lies in its box, and the box lies in the picture."""
    plain = {patient: picture for picture, patient in chests}
    marked = [m for seed in range(3) for m in lesions(chests, [finding], 4, np.random.default_rng(seed))]
    assert len(marked) >= 9
    for one in marked:
        x, y, width, height = one.box
        change = np.abs(one.picture - plain[one.patient])
        inside = change[int(y) : int(y + height), int(x) : int(x + width)]
        assert inside.sum() > 0.55 * change.sum() > 0
        assert x >= 0 <= y
        assert x + width <= change.shape[1]
        assert y + height <= change.shape[0]


def test_what_cannot_be_drawn_is_left_out(chests: list[tuple[np.ndarray, str]]) -> None:
    """A large heart, or a finding without a place of its own, gets no box."""
    assert list(lesions(chests, ["Cardiomegaly", "Edema", "Emphysema"], 4, np.random.default_rng(0))) == []


def test_a_box_touches_the_region() -> None:
    """The box begins at the first true pixel and ends after the last."""
    region = np.zeros((9, 9), bool)
    region[2:5, 3:8] = True
    assert box_around(region) == (3.0, 2.0, 5.0, 3.0)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder as a site has it: a manifest, its pictures, and the boxes of a radiologist."""
    (tmp_path / "site").mkdir()
    rows, boxes = [], []
    for n, marked in enumerate(marked_spots(40)):
        Image.fromarray((255 * marked.picture).astype(np.uint8)).save(tmp_path / f"site/m{n}.png")
        rows.append([f"m{n}.png", marked.patient, 50, 1])
        boxes.append([f"m{n}.png", "Mass", *marked.box])
    for n, (picture, patient) in enumerate(without_spot(20)):
        Image.fromarray((255 * picture).astype(np.uint8)).save(tmp_path / f"site/p{n}.png")
        rows.append([f"p{n}.png", patient, 50, 0])
    table(tmp_path / "site.csv", ["file", "patient_id", "age", "Mass"], rows)
    table(tmp_path / "boxes.txt", ["file", "finding", "x", "y", "w", "h"], boxes)
    return tmp_path


def table(path: Path, head: list[str], rows: list[list[object]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([head, *rows])


def test_a_site_fits_the_rule_to_its_own_boxes(site: Path) -> None:
    """`hilum model location --boxes` compares maps with the boxes, writes the rule, and prints figures and digest."""
    bundle = spot_bundle(site / "bundle", SQUASHED)
    words = ["model", "location", "--data", site, "--bundle", bundle.directory, "--boxes", site / "boxes.txt"]
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    printed = json.loads(done.stdout)
    changed = load_bundle(bundle.directory)
    assert changed.location["cam"] == printed
    assert printed["boxes"] == "boxes of boxes.txt"
    assert printed["findings"]["Mass"]["boxes"] == 40
    assert printed["findings"]["Mass"]["drawn"]
    assert LocationRule(changed).why_not("Mass") == ""
    assert changed.digest != bundle.digest
    assert changed.digest in done.stderr


FAULTS = {
    "file,finding,x,y\n": "expected file, finding, x, y, w, h",
    "file,finding,x,y,w,h\nnowhere.png,Mass,1,1,2,2\n": "line 2: no manifest lists nowhere.png",
    "file,finding,x,y,w,h\nm0.png,Moon,1,1,2,2\n": "Moon is not a label of the bundle",
    "file,finding,x,y,w,h\nm0.png,Mass,1,1,2\n": "not four numbers",
    "file,finding,x,y,w,h\nm0.png,Mass,1,1,0,2\n": "a width and height above 0",
}


@pytest.mark.parametrize("content", FAULTS)
def test_faulty_boxes_are_explained(site: Path, content: str) -> None:
    """A missing column, an unknown file or finding, and an impossible box are each named with their line."""
    (site / "boxes.txt").write_text(content)
    with pytest.raises(DataError, match=FAULTS[content]):
        read_boxes(site / "boxes.txt", read_table(site), LABELS)
