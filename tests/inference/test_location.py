"""Locations: contours only where maps were shown to beat the usual place, and then where the finding is."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inference.bundle import Bundle, digest, load_bundle
from inference.errors import BundleError, BundleNotFound, DataError, InferenceError
from inference.prediction import Prediction
from inference.preprocess import preprocess
from inference.serving.classifier import Classifier
from inference.serving.contour import area, centroid
from inference.serving.input_place import input_place
from inference.serving.location import NOT_ABOVE, UNKNOWN_PLACE, Located, locate, locations, with_locations
from inference.serving.location_rule import NEVER_COMPARED, NO_PEAK, LocationRule, outline
from inference.training.location.fit_location import fit_location
from tests.support.bundles import small_bundle
from tests.support.spots import marked_spots, picture_with_spot, spot_bundle, without_spot

FIRST: dict[str, Any] = {"_target_": "monai.transforms.EnsureChannelFirst", "channel_dim": "no_channel"}
#: Every way in which a bundle may bring a picture to a square: squashed, cut out, framed, cut and framed.
SQUARES: dict[str, list[dict[str, Any]]] = {
    "squashed": [{"_target_": "monai.transforms.Resize", "spatial_size": [64, 64], "mode": "area"}],
    "middle": [{"_target_": "inference.preprocess.CentreSquare"},
               {"_target_": "monai.transforms.Resize", "spatial_size": [64, 64], "mode": "area"}],
    "framed": [{"_target_": "monai.transforms.Resize", "spatial_size": 64, "size_mode": "longest", "mode": "area"},
               {"_target_": "monai.transforms.ResizeWithPadOrCrop", "spatial_size": [64, 64]}],
    "bright": [{"_target_": "monai.transforms.Resize", "spatial_size": [80, 80], "mode": "bilinear"},
               {"_target_": "monai.transforms.CenterSpatialCrop", "roi_size": [64, 64]},
               {"_target_": "monai.transforms.ScaleIntensity", "minv": 0.0, "maxv": 0.9}],
}  # fmt: skip


def steps(square: str) -> dict[str, Any]:
    return {"_target_": "monai.transforms.Compose", "transforms": [FIRST, *SQUARES[square]]}


def fitted(directory: Path, square: str, method: str = "cam", astray: bool = False) -> Classifier:
    """A bundle whose rule was fitted to spots."""
    bundle = spot_bundle(directory, steps(square))
    marked = marked_spots(40, astray=astray)
    fit_location(Classifier(bundle, "torch"), without_spot(20), marked, "drawn spots", method)
    return Classifier(load_bundle(directory), "torch")


@pytest.fixture(scope="module")
def by_square(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Classifier]:
    place = tmp_path_factory.mktemp("bundles")
    return {square: fitted(place / square, square) for square in SQUARES}


@pytest.fixture(scope="module")
def classifier(by_square: dict[str, Classifier]) -> Classifier:
    return by_square["squashed"]


@pytest.fixture
def copy(classifier: Classifier, tmp_path: Path) -> Path:
    """A folder with the fitted bundle, to be changed."""
    return Path(shutil.copytree(classifier.bundle.directory, tmp_path / "copy"))


def rule_of(bundle: Bundle, method: str = "cam") -> dict[str, Any]:
    row: dict[str, Any] = bundle.location[method]["findings"]["Mass"]
    return row


def test_maps_that_find_the_spots_are_drawn(classifier: Classifier) -> None:
    """A network whose map is the spot beats the usual place, and the bundle says by how much."""
    row = rule_of(classifier.bundle)
    assert row["drawn"]
    assert (row["boxes"], row["patients"]) == (40, 40)
    assert row["contours"] >= 35
    assert row["hits"] > 0.9
    assert row["usual_hits"] < 0.4
    assert 0 < row["gain_interval"][0] <= row["gain"] <= row["gain_interval"][1]
    assert "Effusion" not in classifier.bundle.location["cam"]["findings"]


def test_maps_that_miss_the_boxes_are_not_drawn(tmp_path: Path) -> None:
    """Where the boxes lie elsewhere than the network looks, no contour is drawn, and the reason has the figures."""
    classifier = fitted(tmp_path / "astray", "squashed", astray=True)
    row, picture = rule_of(classifier.bundle), picture_with_spot(64, 64, 20, 20, 9)
    assert not row["drawn"]
    found = locate(classifier, picture, ["Mass", "Effusion"])
    assert found["Mass"].polygons == ()
    assert f"on {row['contours']} drawn spots the map points at {100 * row['hits']:.0f} %" in found["Mass"].reason
    assert "not shown to be better" in found["Mass"].reason
    assert found["Effusion"].reason == "this model's maps of Effusion were never compared with boxes"


@pytest.mark.parametrize("square", SQUARES)
@pytest.mark.parametrize("shape", [(64, 64), (150, 110), (96, 140)])
def test_the_contour_lies_on_the_spot(by_square: dict[str, Classifier], square: str, shape: tuple[int, int]) -> None:
    """Whatever the preprocessing cuts, squashes or frames, the polygon is around the spot, in pixels of the picture."""
    classifier, (rows, columns) = by_square[square], shape
    radius = min(shape) / 7
    for x, y in ((0.4 * columns, 0.45 * rows), (0.6 * columns, 0.35 * rows), (0.5 * columns, 0.7 * rows)):
        picture = picture_with_spot(rows, columns, x, y, radius)
        located = locate(classifier, picture, ["Mass"])["Mass"]
        polygon = np.array(located.polygons[0])
        assert np.hypot(*(np.array(centroid(polygon)) - (x, y))) < 0.6 * radius, (square, shape)
        assert 0.3 < abs(area(polygon)) / (np.pi * radius**2) < 3


def test_occlusion_has_a_rule_of_its_own(tmp_path: Path, classifier: Classifier) -> None:
    """What was fitted to one method gives nothing for the other; occlusion that was fitted finds the spot."""
    picture = picture_with_spot(64, 64, 40, 24, 9)
    assert locate(classifier, picture, ["Mass"], "occlusion")["Mass"].reason == (
        "this model's maps by occlusion (low) were never compared with boxes")  # fmt: skip
    hiding = fitted(tmp_path / "hiding", "squashed", "occlusion")
    assert rule_of(hiding.bundle, "occlusion")["drawn"]
    located = locate(hiding, picture, ["Mass"], "occlusion", "low")["Mass"]
    assert np.hypot(*(np.array(centroid(np.array(located.polygons[0]))) - (40, 24))) < 6
    assert "(medium)" in locate(hiding, picture, ["Mass"], "occlusion", "medium")["Mass"].reason
    assert locate(hiding, picture, ["Mass"])["Mass"].reason == NEVER_COMPARED


def test_fitting_one_method_keeps_the_other(copy: Path) -> None:
    """Both rules stand side by side in one bundle, with their own means."""
    both = Classifier(load_bundle(copy), "torch")
    before = both.bundle.location["cam"]
    fit_location(both, without_spot(5), marked_spots(10), "spots", "occlusion")
    again = load_bundle(copy)
    assert again.location["cam"] == before
    assert LocationRule(again).means["Mass"].shape == (8, 8)
    assert LocationRule(again, "occlusion", "low").means["Mass"].shape == (7, 7)
    assert again.digest != both.bundle.digest


def test_only_what_is_present_is_located(classifier: Classifier) -> None:
    """A finding that is not above its threshold has no location, and the JSON says why; one that is has polygons."""
    picture = picture_with_spot(64, 64, 20, 40, 10)
    prediction = classifier.predict([picture])[0]
    answer = with_locations(prediction.to_json("a.png", classifier.model), locations(classifier, picture, prediction))
    rows = {row["finding"]: row for row in answer["findings"]}
    assert rows["Mass"]["call"] == "above"
    assert "location_reason" not in rows["Mass"]
    (polygon,) = json.loads(json.dumps(rows["Mass"]["location"]))
    assert len(polygon) >= 8
    assert all(0 <= x <= 64 and 0 <= y <= 64 for x, y in polygon)
    assert (rows["Effusion"]["location"], rows["Effusion"]["location_reason"]) == (None, NOT_ABOVE)


def test_a_bundle_without_the_part_gives_none(tmp_path: Path) -> None:
    """An imported model, whose maps nobody compared with boxes, says so, and its network is not run for it."""
    classifier = Classifier(small_bundle(tmp_path / "imported"), "torch")
    found = locate(classifier, picture_with_spot(64, 64, 20, 20, 9), classifier.bundle.labels)
    assert set(found) == set(classifier.bundle.labels)
    assert set(found.values()) == {Located((), NEVER_COMPARED)}


def test_what_was_not_analysed_has_no_locations(classifier: Classifier) -> None:
    """A refused picture's answer stays as it is."""
    answer = Prediction(False, "constant").to_json("a.png", classifier.model)
    assert with_locations(answer, {}) == answer


def test_a_picture_in_which_nothing_stands_out_has_no_contour() -> None:
    """A low peak, a spread map and a speck each get a reason instead of a contour."""
    down, across = np.mgrid[0:64, 0:64] + 0.5
    distance = np.hypot(across - 32, down - 32)
    bump = {radius: np.maximum(3 - 3 * distance / radius, 0).astype(np.float32) for radius in (4, 24, 60)}
    assert outline(bump[24], least=5.0)[1] == NO_PEAK
    assert outline(bump[24], least=2.0)[1] == ""
    assert outline(bump[60], least=2.0)[1] == "in this picture the map stands out in more than 25 % of it"
    assert outline(bump[4], least=2.0)[1] == "in this picture the map stands out in less than 0.5 % of it"
    assert outline(-bump[24], least=-10.0)[1] == NO_PEAK


@pytest.mark.parametrize("square", SQUARES)
@pytest.mark.parametrize("shape", [(64, 64), (151, 110), (97, 140), (2100, 2300)])
def test_input_and_picture_are_the_same_place(
    by_square: dict[str, Classifier], square: str, shape: tuple[int, int]
) -> None:
    """What is bright in the picture is bright in the input where `to_input` says, and `to_picture` goes back."""
    classifier = by_square[square]
    place = input_place(classifier.bundle, shape)
    assert place is not None
    middle = np.array([[shape[1] * 0.55, shape[0] * 0.4]])
    picture = picture_with_spot(*shape, *map(float, middle[0]), min(shape) / 10)
    seen = preprocess(classifier.transform, picture)[0]
    row, column = np.argwhere(seen > seen.max() / 2).mean(axis=0) + 0.5
    assert np.abs(place.to_input(middle)[0] - (column, row)).max() <= 0.6
    assert place.to_picture(place.to_input(middle)) == pytest.approx(middle, abs=0.02)


def test_an_unknown_transform_gives_no_location(copy: Path) -> None:
    """A pinned bundle may name any class: where it is not known what it does to places, no polygon is made up."""
    path = copy / "configs/inference.json"
    config = json.loads(path.read_text())
    config["preprocessing"]["transforms"].append({"_target_": "monai.transforms.Rotate90"})
    path.write_text(json.dumps(config))
    turned = Classifier(load_bundle(copy, digest(copy)), "torch")
    assert locate(turned, picture_with_spot(64, 64, 20, 20, 9), ["Mass"])["Mass"].reason == UNKNOWN_PLACE


FAULTS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "drawn without evidence": (lambda row: row.update(gain_interval=[-0.1, 0.3]), "needs an interval above 0"),
    "drawn without interval": (lambda row: row.update(gain_interval=None), "needs an interval above 0"),
    "no scale": (lambda row: row.update(scale=0), "a scale above 0"),
    "not a number": (lambda row: row.update(least="high"), "ValueError"),
    "infinite": (lambda row: row.update(hits=float("inf")), "finite numbers"),
    "a part is missing": (lambda row: row.pop("usual_hits"), "usual_hits"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_rule_is_refused_when_the_bundle_is_opened(copy: Path, fault: str) -> None:
    """A rule that draws without evidence, or that cannot be read, ends in a sentence before the first picture."""
    change, message = FAULTS[fault]
    path = copy / "configs/location.json"
    rule = json.loads(path.read_text())
    change(rule["cam"]["findings"]["Mass"])
    path.write_text(json.dumps(rule))
    with pytest.raises(BundleError, match=message):
        Classifier(load_bundle(copy), "torch")


def test_parts_that_do_not_fit_are_refused(copy: Path) -> None:
    """A finding without a mean map, a label of another bundle, and a missing file of means are each named."""
    path, means = copy / "configs/location.json", copy / "models/location.safetensors"
    rule = json.loads(path.read_text())
    for name, message in (("Effusion", "no mean map of Effusion"), ("Moon", "no mean map of Moon")):
        path.write_text(json.dumps({"cam": {"findings": {name: rule["cam"]["findings"]["Mass"]}}}))
        with pytest.raises(BundleError, match=message):
            Classifier(load_bundle(copy), "torch")
    means.unlink()
    with pytest.raises(BundleNotFound, match=r"location\.safetensors is missing"):
        Classifier(load_bundle(copy), "torch")
    path.write_text('{"cam": []}')
    with pytest.raises(BundleError, match="cam holds no object"):
        Classifier(load_bundle(copy), "torch")


@pytest.mark.parametrize(("plain", "boxes"), [(1, 20), (10, 1)])
def test_too_few_pictures_are_refused(tmp_path: Path, plain: int, boxes: int) -> None:
    """Nothing is fitted to one picture or to one patient's box."""
    bundle = spot_bundle(tmp_path / "b", steps("squashed"))
    with pytest.raises(DataError):
        fit_location(Classifier(bundle, "torch"), without_spot(plain), marked_spots(boxes), "spots")
    assert issubclass(DataError, InferenceError)
    assert load_bundle(bundle.directory).location == {}
