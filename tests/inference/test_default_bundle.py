"""The bundle that the package ships: it is the pinned one, it analyses chests, and it refuses other pictures."""

import csv
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dicom_io.image.decode import decode
from dicom_io.image.no_picture import NoPicture
from dicom_io.phantom.studies import phantom_studies
from inference.bundle import DEFAULT, default_bundle
from inference.evaluation.counterexamples import AVERAGED, KINDS, PAIRED
from inference.evaluation.data import FINDINGS, fold_of, pictures, read_table
from inference.evaluation.evaluate import predict_all
from inference.evaluation.metrics import auroc
from inference.pictures import display_values
from inference.preprocess import preprocess_all
from inference.probability import sigmoid
from inference.serving.classifier import Classifier
from inference.serving.explain import grids
from inference.serving.location import locate
from inference.training.calls_card import calls_markdown
from inference.training.crossvalidate import cross_validation_markdown
from inference.training.fit_gate import PARTS
from inference.training.location.fit_location import location_markdown
from inference.training.probe import is_better

CALLED_IN_THE_CARD = {"children224": "children of 1 to 5 years (real)"}
CHESTS = ("ivmartel__gdcm-CR-MONO1-10-chest", "nhsx__", "robyoung__RG1_", "udacity__")


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier(default_bundle(), threads=1)


def test_it_is_trained_small_and_pinned(classifier: Classifier) -> None:
    """The weights are trained, the digest is the pinned one, and the whole bundle is smaller than 30 MB."""
    bundle = classifier.bundle
    assert bundle.trained
    assert bundle.pinned
    assert set(bundle.labels) == set(FINDINGS)
    assert sum(path.stat().st_size for path in DEFAULT.rglob("*") if path.is_file()) < 30e6
    classifier.self_check()


def test_its_card_names_the_source_and_the_limits() -> None:
    """The card has attribution, download link and citation, and says that the model is not a medical device."""
    card = (DEFAULT / "docs/README.md").read_text()
    for phrase in ("NIH Clinical Center", "https://nihcc.app.box.com/v/ChestXray-NIHCC", "Wang X", "CVPR",
                   "No medical device", "Must not be used"):  # fmt: skip
        assert phrase in card


def test_its_card_states_the_cross_validation() -> None:
    """The card has the tables of the cross-validation, whose whole intervals lie above the baseline."""
    figures = json.loads((DEFAULT / "docs/cross_validation.json").read_text())
    assert cross_validation_markdown(figures).strip() in (DEFAULT / "docs/README.md").read_text()
    for group in (figures["all"], figures["cohorts"]["consecutive"], figures["cohorts"]["consecutive64"]):
        assert group["mean_gain_interval"][0] > 0
        assert group["pathology_gain_interval"][0] > 0


def test_its_probe_earned_its_place(classifier: Classifier) -> None:
    """With the probe the mean AUROC is better by the whole paired interval, and that of any pathology is not worse."""
    figures = json.loads((DEFAULT / "docs/cross_validation.json").read_text())
    *trained, added = classifier.bundle.inference["network_def"]["members"]
    assert classifier.bundle.metadata["training"]["probe"]["network"].items() <= added.items()
    assert len(trained) == figures["folds"]
    assert is_better(figures["gain"])


def test_its_card_states_what_its_calls_are_worth(classifier: Classifier) -> None:
    """The card has sensitivity beside PPV, says what cross-validation hides, and claims no more."""
    card, content = (DEFAULT / "docs/README.md").read_text(), classifier.bundle.calibration
    assert calls_markdown(content).strip() in card
    for phrase in ("What cross-validation hides", ".690 (.662 to .713)", "No reader study was made"):
        assert phrase in card
    assert "absent" not in card.replace("does not mean absent", "")


def test_its_calls_keep_their_limits(classifier: Classifier) -> None:
    """What it assesses has the AUROC for it in the cross-validation; its calls were right and strong enough."""
    figures = json.loads((DEFAULT / "docs/cross_validation.json").read_text())["findings"]
    rows, limits = classifier.bundle.calibration["findings"], classifier.bundle.calibration["evidence"]["limits"]
    assert (limits["auroc"], limits["lr_plus"]) == (0.7, 5)
    assert limits["ppv"] >= 0.25
    assert limits["false_calls"] <= 0.1
    for name, row in rows.items():
        assert not row["assessed"] or figures[name]["auroc_interval"][0] >= 0.7
        for point in filter(None, row["views"].values()):
            assert point["ppv"] >= 0.25
            assert point["lr_plus"] >= 5
    assert any(row["views"]["PA"] for row in rows.values())
    for view in classifier.bundle.calibration["evidence"]["views"].values():
        assert view["false_call_share"] <= 0.1


def test_its_calls_on_a_drawing_never_contradict_each_other(classifier: Classifier, tmp_path: Path) -> None:
    """Whatever the view, no finding without evidence is called, and any finding is above if a finding is."""
    study = next(study for study in phantom_studies() if study.expectation == "analysed")
    (tmp_path / "study.dcm").write_bytes(study.data)
    picture = decode(tmp_path / "study.dcm", size_hint=512)
    for answer in classifier.predict([picture] * 3, ["PA", "AP", ""]):
        calls = {finding.finding: finding.call for finding in answer.findings}
        assert calls["Hernia"] == calls["Infiltration"] == "not-assessed"
        if "above" in calls.values():
            assert answer.pathology is True


def test_its_gate_was_judged_on_what_it_had_not_seen() -> None:
    """95 % of the chests of each real source pass, and all drawn ones.

    A gate fitted without a kind refuses that kind.
    """
    worth = json.loads((DEFAULT / "docs/gate.json").read_text())
    assert {"nih128", "nih512", "covid512"} <= set(worth["passed"])
    assert all(part["share"] >= 0.95 for part in worth["passed"].values())
    assert worth["passed"]["drawn chest"]["share"] == 1
    assert len(worth["refused_unseen"]) == 7
    assert all(part["share"] == 1 for part in worth["refused_unseen"].values())


def test_its_gate_refuses_what_was_made_of_chests() -> None:
    """Of each kind of made picture nine in ten are refused, on patients that the gate was not fitted on.

    Of the means of two chests, which are the hardest to tell, it is three in four.
    """
    refused = json.loads((DEFAULT / "docs/gate.json").read_text())["refused"]
    assert refused.keys() >= {*KINDS, *PAIRED, "drawn lateral"}
    assert all(part["share"] >= (0.75 if kind == AVERAGED else 0.9) for kind, part in refused.items()), refused


def test_its_card_states_what_its_gate_refuses() -> None:
    """Every share in gate.json stands in the card, with the number of pictures, beside the name of the kind."""
    card, worth = (DEFAULT / "docs/README.md").read_text(), json.loads((DEFAULT / "docs/gate.json").read_text())
    for kind, part in worth["refused"].items():
        kind = CALLED_IN_THE_CARD.get(kind, kind)
        rows = [line for line in card.splitlines() if line.startswith(f"| {kind}")]
        assert [row.endswith(f" | {part['pictures']} | {part['share']:.1%} |".replace(".0%", "%").replace("%", " %"))
                for row in rows] == [True], (kind, part, rows)  # fmt: skip


@pytest.mark.parametrize("seed", [5, 6])
def test_it_refuses_the_mean_of_two_chests(classifier: Classifier, shared: Path, seed: int) -> None:
    """Of two radiographs laid over each other most are refused, and nearly all of those that they were made of pass.

    Both are of patients that the gate was not fitted on.
    """
    table = read_table(shared / "data", ["nih128"])
    adults = [i for i, row in enumerate(table.rows) if row.age >= 18 and fold_of(row.patient_id, PARTS) == 0]
    rng = np.random.default_rng(seed)
    chests = list(pictures(table.take(rng.choice(adults, 60, replace=False))))
    means = [PAIRED[AVERAGED](one, other, rng) for one, other in zip(chests[::2], chests[1::2], strict=True)]
    assert np.mean([answer.analysed for answer in classifier.predict(chests)]) >= 0.93
    assert np.mean([answer.analysed for answer in classifier.predict(means)]) <= 0.5


def test_it_passes_what_the_demonstration_draws(classifier: Classifier, tmp_path: Path) -> None:
    """Every chest that the demonstration draws is analysed, and the drawn hand is not."""
    verdicts = {}
    for study in phantom_studies():
        if study.expectation != "refused":
            (tmp_path / "study.dcm").write_bytes(study.data)
            picture = decode(tmp_path / "study.dcm", size_hint=512)
            verdicts[study.name] = classifier.predict([picture])[0].analysed, study.expectation == "analysed"
    assert len(verdicts) == 9
    assert all(analysed == expected for analysed, expected in verdicts.values()), verdicts


def test_it_passes_adults_and_tells_sick_from_well(classifier: Classifier, shared: Path) -> None:
    """95 % of frontal chest radiographs of adults pass the gate, and the answers are far better than chance."""
    table = read_table(shared / "data", ["nih128"])
    adults = [i for i, row in enumerate(table.rows) if row.age >= 18 and row.cohort == "consecutive"]
    table = table.take(np.random.default_rng(0).choice(adults, 400, replace=False))
    scores, gate, _ = predict_all(classifier, table)
    assert gate is not None
    assert (gate >= classifier.gate.threshold).mean() >= 0.95
    assert auroc(scores[:, -1], table.targets.max(axis=1)) > 0.65


def test_it_refuses_every_other_dicom_file(classifier: Classifier, shared: Path) -> None:
    """Hips, legs, breasts, teeth and a dog are refused; the frontal chests are analysed."""
    with (shared / "data/dicom.csv").open(newline="") as file:
        names = [row["file"] for row in csv.DictReader(file)]
    verdicts = {}
    for name in names:
        try:
            picture = decode(shared / "data/dicom" / name, 10**8, 512)
        except NoPicture:
            continue
        verdicts[name] = classifier.predict([picture])[0].analysed
    assert sum(verdicts.values()) == 7
    assert {name for name, analysed in verdicts.items() if analysed} == {n for n in verdicts if n.startswith(CHESTS)}


def test_it_refuses_what_is_no_frontal_chest(classifier: Classifier, shared: Path) -> None:
    """At least nine in ten radiographs that are inverted or turned are refused, and of pictures of noise."""
    table = read_table(shared / "data", ["nih128"])
    chests = list(pictures(table.take(range(0, 2000, 40))))
    refused = {
        "inverted": [1 - p for p in chests], "upside down": [np.ascontiguousarray(p[::-1]) for p in chests],
        "on its side": [np.ascontiguousarray(np.rot90(p)) for p in chests],
        "noise": [np.random.default_rng(i).random((96, 96)).astype(np.float32) for i in range(25)],
    }  # fmt: skip
    shares = {kind: np.mean([not p.analysed for p in classifier.predict(part)]) for kind, part in refused.items()}
    assert all(share >= 0.9 for share in shares.values()), shares


def test_its_contours_are_earned(classifier: Classifier, shared: Path) -> None:
    """The card has the figures of the comparison, and only a map that beats the usual place has a contour."""
    part = classifier.bundle.location["cam"]
    assert location_markdown(part) in (DEFAULT / "docs/README.md").read_text()
    assert "real radiographs" in part["boxes"]
    earned = {f for f, row in part["findings"].items() if row["drawn"] and row["gain_interval"][0] > 0}
    for chest in pictures(read_table(shared / "data", ["nih128"]).take(range(0, 60, 6))):
        for finding, located in locate(classifier, chest, classifier.bundle.labels).items():
            assert bool(located.polygons) != bool(located.reason)
            assert finding in earned or not located.polygons


def test_its_maps_cost_little(shared: Path) -> None:
    """The maps of all findings take less than half of the processor time that the network's answer takes."""
    classifier = Classifier(default_bundle(), "openvino", threads=1)
    chest = next(pictures(read_table(shared / "data", ["nih128"])))
    answer = fastest(lambda: classifier.engine.run(preprocess_all(classifier.transform, [chest])))
    assert fastest(lambda: grids(classifier, chest)) < 1.5 * answer


def fastest(action: Callable[[], Any], rounds: int = 12) -> float:
    """The shortest of several runs, in seconds of processor time."""
    took = []
    for _ in range(rounds):
        start = time.process_time()
        action()
        took.append(time.process_time() - start)
    return min(took)


def test_engines_agree_on_it(shared: Path) -> None:
    """OpenVINO gives plain torch's probabilities: within 1e-4 in float32, within 0.03 in the precision chosen here."""
    table = read_table(shared / "data", ["nih128"])
    plain = Classifier(default_bundle(), "torch", threads=1)
    batch = preprocess_all(plain.transform, list(pictures(table.take(range(0, 4000, 250)))))
    expected = sigmoid(plain.run(batch).logits)
    for precision, most in (("f32", 1e-4), ("auto", 0.03)):
        other = Classifier(plain.bundle, "openvino", threads=1, precision=precision)
        assert np.abs(sigmoid(other.run(batch).logits) - expected).max() < most


def test_the_way_of_shrinking_matters_little(classifier: Classifier, shared: Path) -> None:
    """Original pictures, reduced as in serving, get nearly the same answers as the small copies used in training."""
    small = read_table(shared / "data", ["nih128"])
    paths = {path.stem: path for path in (shared / "data/nih1024").glob("*.png")}
    rows = [i for i, row in enumerate(small.rows) if Path(row.file).stem in paths]
    table = small.take(rows)
    originals = [display_values(paths[Path(r.file).stem].read_bytes(), r.file) for r in table.rows]
    answers = [[[f.probability for f in p.findings] for p in classifier.predict(part) if p.analysed]
               for part in (originals, list(pictures(table)))]  # fmt: skip
    assert len(answers[0]) == len(answers[1]) > 30
    assert np.abs(np.array(answers[0]) - np.array(answers[1])).mean() < 0.02
