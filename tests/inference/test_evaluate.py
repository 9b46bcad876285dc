"""The figures, compared with values worked out by hand, and for a bundle on generated pictures."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from inference.bundle import load_bundle
from inference.errors import BundleError, DataError
from inference.evaluation.data import pictures, read_table
from inference.evaluation.evaluate import evaluate
from inference.evaluation.fingerprints import fingerprint, trained_on, write_fingerprints
from inference.evaluation.metrics import (
    at_threshold,
    auroc,
    average_precision,
    bootstrap,
    expected_calibration_error,
    interval,
    once_each,
    reliability,
    roc,
    weighted_auroc,
)
from inference.pictures import display_values
from inference.serving.classifier import Classifier
from inference.training.crossvalidate import cross_validate, cross_validation_markdown
from inference.training.fit_gate import Example, fit_gate
from inference.training.train import train
from tests.inference.test_train import SMALL, write_data
from tests.support.untrained import write_untrained

SCORES, TARGETS = np.array([0.1, 0.4, 0.35, 0.8]), np.array([0.0, 0.0, 1.0, 1.0])


def test_discrimination_by_hand() -> None:
    """The four-point example: three of four pairs in order; precision 1 at recall 1/2, 2/3 at recall 1."""
    assert auroc(SCORES, TARGETS) == 0.75
    assert average_precision(SCORES, TARGETS) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert auroc(np.ones(4), TARGETS) == 0.5
    assert np.isnan(auroc(SCORES, np.zeros(4)))
    false, true = roc(SCORES, TARGETS)
    assert float(np.trapezoid(true, false)) == pytest.approx(0.75)


def test_a_patient_counts_once_however_many_pictures_there_are() -> None:
    """A picture that is there four times counts as one; weights are as good as repeating rows."""
    scores, targets = np.repeat(SCORES, [1, 4, 1, 1]), np.repeat(TARGETS, [1, 4, 1, 1])
    once = once_each(["a", "b", "b", "b", "b", "c", "d"])
    assert list(once) == [1, 0.25, 0.25, 0.25, 0.25, 1, 1]
    assert auroc(scores, targets) == pytest.approx(1 - 4 / 10)
    assert weighted_auroc(scores, targets, once) == pytest.approx(0.75)
    assert weighted_auroc(SCORES, TARGETS, np.array([1, 4, 1, 1])) == pytest.approx(auroc(scores, targets))
    assert np.isnan(weighted_auroc(SCORES, np.zeros(4), np.ones(4)))
    sure = np.repeat([0.0, 1.0], [4, 4])  # wrong for the four pictures of one patient
    wrong = expected_calibration_error(sure, np.ones(8), bins=2)
    assert wrong == 0.5
    weights = once_each(["a"] * 4 + ["b", "c", "d", "e"])
    assert expected_calibration_error(sure, np.ones(8), bins=2, weights=weights) == pytest.approx(1 / 5)


def test_operating_point_by_hand() -> None:
    """Scores from the threshold on are called present: at 0.35 there is one false positive and nothing is missed."""
    point = at_threshold(SCORES, TARGETS, 0.35)
    assert point == {"accuracy": 0.75, "precision": pytest.approx(2 / 3), "recall": 1.0, "specificity": 0.5,
                     "f1": pytest.approx(0.8)}  # fmt: skip


def test_calibration_error_is_small_for_true_probabilities_only() -> None:
    """The error is small if targets are drawn with the stated probabilities, and large if these are halved."""
    rng = np.random.default_rng(0)
    p = rng.uniform(0.2, 0.9, 20000)
    y = (rng.random(20000) < p).astype(float)
    assert expected_calibration_error(p, y) < 0.02
    assert expected_calibration_error(p / 2, y) > 0.2
    assert sum(n for *_, n in reliability(p, y)) == 20000


def test_intervals_are_by_patient() -> None:
    """Ten equal pictures of each patient make the interval wider than the number of pictures suggests."""
    rng = np.random.default_rng(0)
    y = np.repeat(rng.random(60) < 0.5, 10).astype(float)
    s = np.repeat(rng.normal(0, 1, 60), 10) + y
    widths = []
    for groups in (np.repeat(np.arange(60), 10), np.arange(600)):
        low, high = interval(bootstrap(lambda rows: auroc(s[rows], y[rows]), groups))
        widths.append(high - low)
    assert widths[0] > 2 * widths[1]


def test_a_trained_bundle_is_evaluated(tmp_path: Path) -> None:
    """The figures on other patients show what was learnt, calls too; the JSON of the three files holds no NaN."""
    write_data(tmp_path / "data", 160)
    bundle = train(tmp_path / "data", tmp_path / "bundle", SMALL, fold=0, folds=3, progress=False, threads=1)
    seen: list[tuple[int, int]] = []
    result = evaluate(tmp_path / "data", bundle, tmp_path / "out", engine="torch", fold=0, folds=3, rounds=20,
                      threads=1, tick=lambda done, total: seen.append((done, total)))  # fmt: skip
    assert result["findings"]["Mass"]["auroc"] > 0.9
    assert {"all", "view AP", "view PA", "sex F", "sex M", "age 40 to 59"} <= set(result["groups"])
    assert seen[-1][0] == seen[-1][1] == result["images"]
    stored = json.loads((tmp_path / "out/evaluation.json").read_text())
    assert stored["model"]["digest"] == bundle.digest
    assert "| Effusion |" in (tmp_path / "out/evaluation.md").read_text()
    assert (tmp_path / "out/evaluation.html").read_text().count("<svg") == 12
    calls = stored["calls"]
    assert calls["evaluated"] is True
    assert {"all", "view AP", "view PA", "cohort made"} == set(calls["groups"])
    assert 0 <= calls["groups"]["all"]["false_call_share"] <= 1
    assert calls["by_patient"].keys() == calls["groups"].keys()
    assert stored["groups"]["all"]["by_patient"]["pathology_auroc"] > 0.5
    assert "Each patient counting once" in (tmp_path / "out/evaluation.md").read_text()
    assert "of these with a call" in (tmp_path / "out/evaluation.md").read_text()
    assert stored["trained_on"] == stored["images"]
    said = (tmp_path / "out/evaluation.md").read_text()
    assert f"{stored['images']} of {stored['images']} images were trained on: the figures are better" in said
    assert "| findings in the mean |" in said
    assert_follows_from(tmp_path / "out/predictions.csv", stored)


def assert_follows_from(file: Path, stored: dict[str, Any]) -> None:
    """Assert that the figures of each output can be computed anew, to 1e-6, from predictions.csv alone."""
    with file.open(newline="") as lines:
        rows = [row for row in csv.DictReader(lines) if row["counted"] == "1"]
    for name, found in stored["findings"].items():
        known = [row for row in rows if row[name]]
        y, p = (np.array([float(row[column]) for row in known]) for column in (name, f"{name} probability"))
        called = np.array([row[f"{name} call"] == "1" for row in known])
        assert (len(known), y.sum()) == (found["images"], found["positives"])
        pairs = p[y == 1][:, None] - p[y == 0][None]
        assert found["auroc"] == pytest.approx(((pairs > 0) + (pairs == 0) / 2).mean(), abs=1e-6)
        order = np.argsort(-p, kind="stable")
        assert len(set(p)) == len(p), "with ties the sum below would depend on the order"
        precision = np.cumsum(y[order]) / np.arange(1, len(y) + 1)
        assert found["average_precision"] == pytest.approx(precision[y[order] == 1].mean(), abs=1e-6)
        assert found["brier"] == pytest.approx(((p - y) ** 2).mean(), abs=1e-6)
        assert found["accuracy"] == pytest.approx((called == (y == 1)).mean(), abs=1e-6)
        if called.any():
            assert found["precision"] == pytest.approx(y[called].mean(), abs=1e-6)
        assert found["recall"] == pytest.approx(called[y == 1].mean(), abs=1e-6)
        assert found["specificity"] == pytest.approx((~called)[y == 0].mean(), abs=1e-6)


def test_labels_that_are_masked_count_in_no_figure(tmp_path: Path) -> None:
    """The figures of a finding are those of the pictures in which it is labelled, and follow from predictions.csv."""
    write_data(tmp_path / "data", 160)
    bundle = train(tmp_path / "data", tmp_path / "bundle", SMALL, fold=0, folds=3, progress=False, threads=1)
    manifest = tmp_path / "data/made.csv"
    head, *lines = manifest.read_text().splitlines()
    manifest.write_text("\n".join([head, *(line[:-1] if i % 4 else line for i, line in enumerate(lines))]))
    result = evaluate(tmp_path / "data", bundle, tmp_path / "out", engine="torch", rounds=5, threads=1)
    assert (result["images"], result["findings"]["Mass"]["images"]) == (160, 40)
    assert result["findings"]["Effusion"]["images"] == 160
    assert_follows_from(tmp_path / "out/predictions.csv", json.loads((tmp_path / "out/evaluation.json").read_text()))


def test_fingerprints_know_the_picture_and_not_the_file(tmp_path: Path) -> None:
    """The same picture has the same fingerprint in another file, and another one if one pixel is changed."""
    picture = np.random.default_rng(0).integers(0, 256, (30, 20), dtype=np.uint8)
    contents = {}
    for kind in ("PNG", "TIFF"):
        stream = io.BytesIO()
        Pillow.fromarray(picture).save(stream, kind)
        contents[kind] = fingerprint(display_values(stream.getvalue(), kind))
    assert contents["PNG"] == contents["TIFF"] == fingerprint(picture / np.float32(255))
    assert trained_on(tmp_path, [contents["PNG"]]) is None
    write_fingerprints(tmp_path, [contents["PNG"], 5])
    picture[0, 0] ^= 1
    seen = trained_on(tmp_path, [fingerprint(picture / np.float32(255)), contents["PNG"]])
    assert seen is not None
    assert seen.tolist() == [False, True]
    (tmp_path / "docs/trained_on.npy").write_bytes(b"x")
    with pytest.raises(BundleError, match="damaged"):
        trained_on(tmp_path, [1])


def test_the_gate_is_judged_too(tmp_path: Path) -> None:
    """Chests are compared with counter-examples and a folder of other pictures: ROC, shares, tables and a plot."""
    write_data(tmp_path / "data", 100)
    bundle = train(tmp_path / "data", tmp_path / "bundle", SMALL, fold=0, folds=3, progress=False, threads=1)
    table = read_table(tmp_path / "data")
    chests = [Example(p, "made", r.patient_id) for p, r in zip(pictures(table), table.rows, strict=True)]
    fit_gate(Classifier(bundle, "torch", threads=1), chests, [], per_kind=30)
    fitted, made = load_bundle(bundle.directory), tmp_path / "data/made"
    result = evaluate(tmp_path / "data", fitted, tmp_path / "out", engine="torch", rounds=20, threads=1, others=made)
    gate = result["gate"]
    assert gate["refused"]["other pictures"] == {"pictures": 100, "share": pytest.approx(1 - gate["passed"])}
    assert gate["refused"]["page"]["share"] > 0.9
    assert gate["roc"][0] == (0.0, 0.0)
    assert gate["roc"][-1] == (1.0, 1.0)
    assert gate["auroc_interval"][0] <= gate["auroc"] <= gate["auroc_interval"][1]
    assert "| upside down | 100 |" in (tmp_path / "out/evaluation.md").read_text()
    assert (tmp_path / "out/evaluation.html").read_text().count("<svg") == 13
    assert json.loads((tmp_path / "out/evaluation.json").read_text())["gate"]["pictures"] == 100


def test_a_bundle_of_other_findings_is_refused(tmp_path: Path) -> None:
    """A bundle that has no finding in common with the data is an error, not an empty table."""
    write_data(tmp_path / "data", 4)
    bundle = write_untrained(tmp_path / "bundle", labels=("Hernia",), size=32)
    with pytest.raises(DataError, match="Hernia"):
        evaluate(tmp_path / "data", bundle, engine="torch", threads=1)


def test_cross_validation_can_be_shared_and_beats_what_needs_no_picture(tmp_path: Path) -> None:
    """Folds that are run in separate calls give one result, and the network beats what is known without a picture."""
    write_data(tmp_path / "data", 160)
    common = {"folds": 2, "threads": 1, "progress": False}
    assert cross_validate(tmp_path / "data", tmp_path / "cv", SMALL, only=[0], **common) is None  # type: ignore[arg-type]
    result = cross_validate(tmp_path / "data", tmp_path / "cv", SMALL, only=[1], **common)  # type: ignore[arg-type]
    assert result is not None
    assert result["all"]["mean_gain_interval"][0] > 0.1
    assert "| Mass |" in cross_validation_markdown(result)


def test_a_gate_without_chests_is_not_fitted(tmp_path: Path) -> None:
    """That there is none, or none of another patient to judge by, is said before anything is computed or written."""
    write_untrained(tmp_path / "bundle", size=32)
    classifier = Classifier(load_bundle(tmp_path / "bundle"), "torch", threads=1)
    alone = [Example(np.zeros((9, 9), np.float32), "chest", "one patient")] * 2
    for chests in ([], alone):
        with pytest.raises(DataError, match=f"{len(chests)} frontal chests were found"):
            fit_gate(classifier, chests, [])
    assert not (tmp_path / "bundle/configs/gate.json").exists()


def test_the_gate_is_fitted_to_what_it_is_shown(tmp_path: Path) -> None:
    """Pictures of the kind to which the gate was fitted pass; noise and upside-down pictures do not."""
    rng = np.random.default_rng(0)
    write_untrained(tmp_path / "bundle", size=32)
    y, x = np.mgrid[-1:1:48j, -1:1:48j]

    def chest() -> np.ndarray:
        dark = np.exp(-(((np.abs(x) - 0.45) / 0.25) ** 2 + ((y + rng.uniform(0, 0.2)) / 0.5) ** 2))
        return np.asarray(np.clip(0.3 * y + 0.7 - 0.6 * dark + rng.normal(0, 0.03, x.shape), 0, 1), np.float32)

    chests = [Example(chest(), "chest", str(i)) for i in range(120)]
    others = [Example(1 - c.picture, "negative", c.patient) for c in chests[:10]]
    worth = fit_gate(Classifier(load_bundle(tmp_path / "bundle"), "torch", threads=1), chests, others, per_kind=60)
    assert worth["auroc"] > 0.9, "the means of two of these chests are many, and look like one"
    assert worth["refused_unseen"]["negative"] == {"pictures": 10, "share": 1.0}
    classifier = Classifier(load_bundle(tmp_path / "bundle"), "torch", threads=1)
    strange = [rng.random((48, 48)).astype(np.float32), np.ascontiguousarray(chest()[::-1])]
    assert sum(p.analysed for p in classifier.predict([chest() for _ in range(20)])) >= 16
    assert [p.analysed for p in classifier.predict(strange)] == [False, False]
