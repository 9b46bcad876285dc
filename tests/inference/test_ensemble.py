"""The mean of several networks as one network, in every engine, with class activation maps."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from inference.bundle import load_bundle
from inference.ensemble import Ensemble, combined
from inference.errors import BundleError
from inference.evaluation.data import read_table
from inference.evaluation.evaluate import evaluate
from inference.networks import define_network, read_bundle_state
from inference.preprocess import preprocess_all
from inference.probability import sigmoid
from inference.serving.classifier import Classifier
from inference.training.averaging import drawn_together, steadiness, write_average
from inference.training.calls_card import calls_markdown
from inference.training.crossvalidate import cross_validate, out_of_fold
from inference.training.fit_calibration import fit_platt
from inference.training.refit_calls import held_out, pooled_features, refit_calls, score_out_of_fold
from tests.inference.test_train import SMALL as SHORT
from tests.inference.test_train import write_data
from tests.support.bundles import SMALL, narrow_resnet, noise, small_bundle

RESNET = narrow_resnet() | {"num_classes": 3}


@pytest.mark.parametrize("network", [RESNET, SMALL], ids=["ResNet", "DenseNet"])
def test_the_mean_of_the_members(network: dict[str, Any], tmp_path: Path) -> None:
    """The logits are the mean of the members' logits, in torch and OpenVINO, and the maps add up to them."""
    bundles = [small_bundle(tmp_path / f"{seed}", network, seed) for seed in range(3)]
    states = [read_bundle_state(bundle) for bundle in bundles]
    together = small_bundle(tmp_path / "all", {"_target_": "inference.ensemble.Ensemble", "members": [network] * 3})
    plain = define_network({"network_def": network}, "test")
    torch.save(combined(states, plain), tmp_path / "all/models/model.pt")
    (tmp_path / "all/models/model.safetensors").unlink()
    batch = preprocess_all(Classifier(bundles[0], "torch", "cpu").transform, noise(5))
    expected = np.mean([Classifier(b, "torch", "cpu", precision="f32").run(batch).logits for b in bundles], axis=0)
    for engine in ("torch", "openvino"):
        outputs = Classifier(load_bundle(together.directory), engine, "cpu", precision="f32").run(batch)
        assert np.abs(outputs.logits - expected).max() < 1e-4
        rest = outputs.logits - outputs.maps.mean(axis=(2, 3))
        assert np.abs(rest - rest[0]).max() < 1e-3


def test_a_network_without_pooling_cannot_be_averaged() -> None:
    """A network that does not end in pooling and a linear layer is refused, and the error names the missing layer."""
    with pytest.raises(ValueError, match="AdaptiveAvgPool2d"):
        Ensemble([torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 3))])


def test_the_mean_is_worth_a_steeper_slope() -> None:
    """The slope from single networks comes most of the way to the one that suits their mean, and never beyond it."""
    rng = np.random.default_rng(0)
    truth = rng.normal(0, 1.5, 20000)
    y = (rng.random(20000) < sigmoid(truth)).astype(np.float32)
    members = truth[None, :, None] + rng.normal(0, 1, (5, 20000, 1))
    single = members[rng.integers(0, 5, 20000), np.arange(20000)]
    factor = steadiness(members, single)
    wanted, _ = fit_platt(members.mean(0)[:, 0], y)
    found, _ = fit_platt(drawn_together(single, factor)[:, 0], y)
    alone, _ = fit_platt(single[:, 0], y)
    assert 0.6 * (wanted - alone) < found - alone <= wanted - alone
    assert alone < 0.75 * wanted


def test_a_cross_validation_becomes_one_bundle(tmp_path: Path) -> None:
    """The networks of the folds become one calibrated bundle, which holds the figures of the cross-validation."""
    write_data(tmp_path / "data", 160)
    table = read_table(tmp_path / "data")
    with pytest.raises(FileNotFoundError, match="folds"):
        write_average(tmp_path / "bundle", tmp_path / "work", table, SHORT, 2)
    cross_validate(tmp_path / "data", tmp_path / "work", SHORT, folds=2, threads=1, progress=False)
    bundle = write_average(tmp_path / "bundle", tmp_path / "work", table, SHORT, 2)
    assert "2 networks" in bundle.metadata["training"]["average_of"]
    assert (tmp_path / "bundle/docs/cross_validation.json").is_file()
    Classifier(bundle, "openvino", threads=1).self_check()
    assert set(bundle.calibration["findings"]) == {"Effusion", "Mass"}
    assert bundle.evaluated
    fold, known = table.folds(2), out_of_fold(tmp_path / "work", 160, 2)
    _, again = held_out(bundle, table)
    for k in range(2):  # the constant of each member is lost in their mean
        assert known is not None
        assert np.ptp((again - known)[fold == k], axis=0).max() < 0.05
    figures = evaluate(tmp_path / "data", bundle, tmp_path / "out", rounds=5, score=score_out_of_fold)
    card = json.loads((tmp_path / "bundle/docs/cross_validation.json").read_text())["findings"]
    for name, row in figures["findings"].items():  # the constants are lost in pooled figures too
        assert row["auroc"] == pytest.approx(card[name]["auroc"], abs=0.02)
    assert "160 of 160 images were trained on, but each was scored" in (tmp_path / "out/evaluation.md").read_text()
    assert figures["gate"] == {}
    content = refit_calls(tmp_path / "data", bundle.directory, version="2")
    refitted = load_bundle(bundle.directory)
    assert refitted.version == "2"
    assert refitted.digest != bundle.digest
    for name, row in content["findings"].items():
        before = bundle.calibration["findings"][name]
        assert (row["scale"], row["offset"]) == (before["scale"], before["offset"])
    assert "| PA | " in calls_markdown(content)
    Classifier(refitted, "openvino", threads=1).self_check()


def test_only_an_average_gets_its_calls_fitted_anew(tmp_path: Path) -> None:
    """A single network, and one with other findings than the data, are refused before anything is written."""
    write_data(tmp_path / "data", 12)
    bundle = small_bundle(tmp_path / "single")
    with pytest.raises(BundleError, match="expected the findings of"):
        refit_calls(tmp_path / "data", bundle.directory)
    with pytest.raises(BundleError, match="not an average of networks"):
        pooled_features(bundle, read_table(tmp_path / "data"))
    assert load_bundle(bundle.directory).digest == bundle.digest
