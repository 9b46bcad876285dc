"""A site's own calibration: taken where the site's patients bear it, kept away where they do not."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inference.bundle import Bundle, default_bundle
from inference.errors import BundleError, DigestMismatch
from inference.prediction import ANY_FINDING
from inference.probability import log_odds, sigmoid
from inference.serving.calibration import Calibration
from inference.serving.site_calibration import SiteCalibration, load_site_calibration, mapped
from inference.training.site.crossfit import fit_map, folds_of, mean_with_interval
from inference.training.site.fit_site import fit_site
from inference.training.site.labels import ReaderVerdict, labels_of
from tests.support.site import simulated

NAMES = ("Effusion", "Mass", ANY_FINDING)


def said(finding: str, present: bool, reader: str = "A", image: str = "1") -> ReaderVerdict:
    shipped = {"Effusion": 0.5, "Mass": 0.1, ANY_FINDING: 0.6}
    return ReaderVerdict(image, f"p{image}", "PA", finding, present, reader, shipped)


def targets(*verdicts: ReaderVerdict) -> dict[str, list[float]]:
    return {name: list(part.targets) for name, part in labels_of(verdicts, NAMES)[0].items()}


@pytest.mark.parametrize(
    ("verdicts", "effusion", "mass", "anything"),
    [
        ([said("Effusion", True)], [1], [], [1]),
        ([said("Effusion", False)], [0], [], []),
        ([said("none", False)], [0], [0], [0]),
        ([said("none", True)], [], [], [1]),
        ([said("none", False), said("Mass", True)], [0], [1], [1]),
        ([said("Mass", True), said("none", False)], [0], [0], [0]),
        ([said("Mass", True), said("Mass", False)], [], [0], []),
        ([said("Mass", True), said("Mass", False, "B")], [], [], [1]),
        ([said("Mass", True), said("Mass", False, "B"), said("Mass", True, "C")], [], [1], [1]),
    ],
)  # fmt: skip
def test_what_verdicts_say(
    verdicts: list[ReaderVerdict], effusion: list[float], mass: list[float], anything: list[float]
) -> None:
    """A verdict on one finding says nothing of the others; none says so of all; the later counts, and the majority."""
    assert targets(*verdicts) == {"Effusion": effusion, "Mass": mass, ANY_FINDING: anything}


def test_readers_who_are_divided_are_counted() -> None:
    """So that the page can say that these labels are missing."""
    assert labels_of([said("Mass", True), said("Mass", False, "B")], NAMES)[1] == 1


@pytest.mark.parametrize("kind", ["platt", "isotonic"])
def test_maps_grow(kind: str) -> None:
    """Strictly, beyond the data too, so that a threshold behind the map calls the same images."""
    rng = np.random.default_rng(0)
    z = np.round(rng.normal(-1, 1, 300), 2)
    y = (rng.random(300) < sigmoid(0.5 * z - 1)).astype(float)
    y[z < -2.5], y[z > 1.5] = 0, 1
    grid = np.linspace(-12, 12, 4001)
    after = mapped(fit_map(kind, z, y), grid)
    assert np.all(np.diff(after) > 0)
    assert np.isfinite(after).all()


def test_the_isotonic_map_follows_what_it_is_fitted_to() -> None:
    """Where a third of the images below 0 and two thirds of those above have the finding, it says so."""
    z = np.tile([-1.0, 1.0], 300)
    y = np.where(z > 0, np.arange(600) % 6 < 4, np.arange(600) % 6 < 2).astype(float)
    z_map = fit_map("isotonic", z, y)
    assert sigmoid(mapped(z_map, np.array([-1.0, 1.0]))) == pytest.approx([y[z < 0].mean(), y[z > 0].mean()], abs=1e-6)


def test_folds_hold_whole_patients_and_share_the_positives() -> None:
    """As evenly as patients allow."""
    patients = np.array([f"p{n // 2}" for n in range(100)])
    positive = (np.arange(100) % 10 == 0).astype(float)
    folds = folds_of(patients, positive, 5)
    assert all(len(set(folds[patients == p])) == 1 for p in set(patients))
    assert [int(positive[folds == f].sum()) for f in range(5)] == [2] * 5


def test_intervals_are_by_patient() -> None:
    """Ten images of a patient are worth one."""
    values = np.repeat(np.random.default_rng(0).normal(0.2, 1, 40), 10)
    one = mean_with_interval(values, np.repeat(np.arange(40), 10).astype(str), 1000)
    many = mean_with_interval(values, np.arange(400).astype(str), 1000)
    assert one[0] == many[0]
    assert one[2] - one[1] > 2.5 * (many[2] - many[1])


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return default_bundle()


def decided(content: dict[str, Any], finding: str) -> tuple[str, str]:
    found = content["evidence"]["findings"][finding]
    return found["decision"], found["reason"]


def test_a_real_shift_is_taken(bundle: Bundle) -> None:
    """The site's patients have effusions of which the bundle's probability says half: Platt, and what it was worth."""
    content = fit_site(simulated(bundle, patients=300, shift=1.5), bundle)
    decision, reason = decided(content, "Effusion")
    assert decision == "taken: Platt", reason
    assert content["findings"]["Effusion"]["map"]["offset"] == pytest.approx(1.5, abs=0.5)
    losses = content["evidence"]["findings"]["Effusion"]["log_loss"]
    assert losses["platt"] < min(losses["shipped"], losses["constant"])


def test_noise_is_not_taken(bundle: Bundle) -> None:
    """Where the verdicts have nothing to do with the probability, no map beats the prevalence alone."""
    content = fit_site(simulated(bundle, patients=300, noise=True), bundle)
    decision, reason = decided(content, "Effusion")
    assert (decision, "not surely better than the site's prevalence alone" in reason) == ("kept: shipped", True), reason
    assert content["findings"] == {}


def test_a_site_like_the_bundle_keeps_it(bundle: Bundle) -> None:
    """Where the probabilities are right as they are, nothing is taken."""
    decision, reason = decided(fit_site(simulated(bundle, patients=300), bundle), "Effusion")
    assert (decision, "not surely better than what ships" in reason) == ("kept: shipped", True), reason


def test_too_little_is_said_to_be_too_little(bundle: Bundle) -> None:
    """In words with the numbers, before anything is fitted."""
    content = fit_site(simulated(bundle, patients=25, shift=1.5), bundle)
    decision, reason = decided(content, "Effusion")
    assert decision == "kept: shipped"
    assert reason.startswith("too few labels: ")
    assert reason.endswith("30 and 30 needed, each from 20")
    assert content["findings"] == {}
    assert decided(fit_site([], bundle), "Effusion")[1].startswith("too few labels: 0 positive")


def test_verdicts_on_calls_alone_are_not_enough(bundle: Bundle) -> None:
    """Readers who judge only what was called say nothing of the other images."""
    edge = Calibration(bundle).points["PA"][bundle.labels.index("Effusion")]
    assert edge
    judged = [v for v in simulated(bundle, patients=900, shift=0.5) if v.shipped["Effusion"] >= edge.threshold]
    decision, reason = decided(fit_site(judged, bundle), "Effusion")
    assert (decision, "judge images of which nothing was called, too" in reason) == ("kept: shipped", True), reason


def test_a_threshold_is_taken_where_its_calls_are_worth_more(bundle: Bundle) -> None:
    """Effusions are told so well at this site that a lower threshold is worth more; images without a finding decide."""
    content = fit_site(simulated(bundle, patients=500, apart=2.5), bundle)
    found = content["evidence"]["findings"]["Effusion"]["thresholds"]["PA"]
    assert found["decision"].startswith("taken: "), found
    assert all(low > 0 for _, low, _ in found["gain"].values())
    point = content["findings"]["Effusion"]["views"]["PA"]
    assert (
        0 < point["near"] <= point["threshold"] < Calibration(bundle).points["PA"][bundle.labels.index("Effusion")][0]
    )


# --- the file ----------------------------------------------------------------------------------------------------


def write(path: Path, bundle: Bundle, findings: dict[str, Any], **more: Any) -> str:
    """A file with these findings; its digest."""
    content = {"format": 1, "model": {"digest": bundle.digest}, "findings": findings, **more}
    path.write_text(json.dumps(content))
    return "sha256:" + sha256(path.read_bytes()).hexdigest()


PLATT = {"kind": "platt", "scale": 0.8, "offset": 1.0}


def test_the_file_changes_probabilities_and_leaves_the_calls(bundle: Bundle, tmp_path: Path) -> None:
    """Thresholds go through the same map; what the bundle's own says stands beside; other findings are as they were."""
    digest = write(tmp_path / "site.json", bundle, {"Effusion": {"map": PLATT}})
    local = Calibration(bundle, load_site_calibration(tmp_path / "site.json", digest, bundle))
    shipped = Calibration(bundle)
    rows = np.random.default_rng(0).uniform(0, 0.5, (200, len(bundle.labels) + 1))
    for row in rows:
        before, after = shipped.prediction(row, "PA"), local.prediction(row, "PA")
        assert [f.call for f in before.findings] == [f.call for f in after.findings]
        for one, other in zip(before.findings, after.findings, strict=True):
            assert other.shipped == one.probability
            moved = sigmoid(0.8 * log_odds(one.probability) + 1.0) if one.finding == "Effusion" else one.probability
            assert other.probability == pytest.approx(moved)
    answer = after.to_json("a.dcm", {})
    assert {"shipped_probability", "probability"} <= set(answer["findings"][0])
    assert "shipped_pathology_probability" in answer
    assert "shipped_probability" not in before.to_json("a.dcm", {})["findings"][0]


def test_thresholds_of_the_site_take_the_place_of_the_bundles(bundle: Bundle, tmp_path: Path) -> None:
    """In the views that are named; an image of unknown view takes the stricter."""
    views = {"PA": {"threshold": 0.5, "near": 0.25}}
    digest = write(tmp_path / "site.json", bundle, {"Effusion": {"views": views}})
    place, own = bundle.labels.index("Effusion"), Calibration(bundle).points
    points = Calibration(bundle, load_site_calibration(tmp_path / "site.json", digest, bundle)).points
    assert points["PA"][place] == (0.5, 0.25)
    assert points["AP"] == own["AP"]
    assert points[""][place][0] == max(0.5, own["AP"][place][0])  # type: ignore[index]


@pytest.mark.parametrize(
    ("findings", "more", "words"),
    [
        ({"Fracture": {"map": PLATT}}, {}, "no findings of the bundle"),
        ({"Effusion": {"map": {"kind": "spline"}}}, {}, "expected platt or isotonic"),
        ({"Effusion": {"map": {**PLATT, "scale": 0}}}, {}, "expected a map that grows"),
        ({"Effusion": {"map": {**PLATT, "scale": float("nan")}}}, {}, "expected a map that grows"),
        ({"Effusion": {"map": {"kind": "isotonic", "from": [0, 1], "to": [1, 0]}}}, {}, "expected a map that grows"),
        ({"Effusion": {"map": {"kind": "isotonic", "from": [], "to": []}}}, {}, "expected a map that grows"),
        ({"Effusion": {"views": {"LL": {"threshold": 0.5, "near": 0.1}}}}, {}, "expected some of PA and AP"),
        ({"Effusion": {"views": {"PA": {"threshold": 1.5, "near": 0.1}}}}, {}, "threshold < 1"),
        ({"Effusion": {"views": {"PA": {"threshold": 0.5}}}}, {}, "no site calibration"),
        ([], {}, "no site calibration"),
        ({}, {"format": 2}, "format 2, expected 1"),
        ({}, {"model": {"digest": "sha256:other"}}, "was fitted for the bundle sha256:other"),
        ({}, {"model": None}, "no site calibration"),
    ],
)  # fmt: skip
def test_a_file_that_is_wrong_is_refused(
    bundle: Bundle, tmp_path: Path, findings: Any, more: dict[str, Any], words: str
) -> None:
    """With its name and what is wrong."""
    file = tmp_path / "site.json"
    digest = write(file, bundle, findings, **more)
    with pytest.raises(BundleError, match=words):
        load_site_calibration(file, digest, bundle)


def test_only_the_pinned_file_is_used(bundle: Bundle, tmp_path: Path) -> None:
    """A file that changed, one without a pin, one that is absent, one that is no JSON."""
    file = tmp_path / "site.json"
    digest = write(file, bundle, {})
    assert isinstance(load_site_calibration(file, digest.upper(), bundle), SiteCalibration)
    for pin in ("", "sha256:" + "0" * 64):
        with pytest.raises(DigestMismatch, match=digest):
            load_site_calibration(file, pin, bundle)
    with pytest.raises(BundleError, match="cannot be read"):
        load_site_calibration(tmp_path / "absent.json", digest, bundle)
    file.write_text("{")
    with pytest.raises(BundleError, match="no site calibration"):
        load_site_calibration(file, sha256(b"{").hexdigest(), bundle)
