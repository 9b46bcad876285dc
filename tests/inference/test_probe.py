"""A member that is not trained: what it adds is judged on patients that it has not seen, and nothing else changes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from inference.bundle import load_bundle
from inference.efficientnet_lite import HEAD, EarlyLayers, EfficientNetLite
from inference.errors import BundleError
from inference.evaluation.data import pictures, read_table, targets_with_pathology
from inference.networks import Mapped
from inference.preprocess import preprocess_all
from inference.serving.classifier import Classifier
from inference.serving.image_gate import THUMBNAIL, save_gate
from inference.training.add_probe import add_probe
from inference.training.averaging import write_average
from inference.training.crossvalidate import cross_validate
from inference.training.initial import begin_with
from inference.training.probe import fit_probe, gain, is_better, probe_out_of_fold
from inference.training.refit_calls import held_out, refit_calls
from tests.inference.test_train import SMALL, write_data

NARROW = {"depth": 0.5, "width": 0.25}
MEMBER = {"_target_": "inference.efficientnet_lite.EfficientNetLite", "in_channels": 1, **NARROW}
EARLY = {"_target_": "inference.efficientnet_lite.EarlyLayers", "in_channels": 1, "blocks": 4, **NARROW}
RECIPE = replace(SMALL, network=MEMBER, stages=((32, 1),))


def early(directory: Path, weight: float = 1.0) -> dict[str, object]:
    """A recipe's probe that begins with random weights."""
    torch.manual_seed(3)
    network = EfficientNetLite(1, 5, **NARROW)
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = 1.0
    network(torch.randn(16, 1, 32, 32))  # its layers give values near 0 and 1, as those of a trained network do
    save_file(network.state_dict(), directory / "whole.safetensors")
    return {"network": EARLY, "initial": str(directory / "whole.safetensors"), "strength": 5.0, "weight": weight,
            "pathology_weight": weight}  # fmt: skip


def average(directory: Path) -> None:
    """Write data and the mean of two networks that have hardly learnt, with a gate of random weights."""
    write_data(directory / "data", 120)
    cross_validate(directory / "data", directory / "work", RECIPE, folds=2, threads=1, progress=False)
    table = read_table(directory / "data")
    bundle = write_average(directory / "bundle", directory / "work", table, RECIPE, 2)
    rng, width = np.random.default_rng(0), THUMBNAIL**2 + 21 + 2 * HEAD
    tensors = {"mean": rng.normal(size=width), "scale": rng.uniform(1, 2, width), "bias0": np.zeros(1),
               "weight0": rng.normal(0, 0.01, (1, width))}  # fmt: skip
    third = {f"third.{name}": np.roll(tensor, 1, axis=-1) for name, tensor in tensors.items()}
    features = ["statistics", "penultimate"]
    save_gate(tensors | third, bundle.directory, {"features": features, "third": features, "threshold": 0.1})


def test_the_first_layers_are_those_of_the_whole_network(tmp_path: Path) -> None:
    """The features are mean and mean square of a layer of the network whose weights were taken, whatever the size."""
    probe = EarlyLayers(1, 3, blocks=4, **NARROW).eval()
    begin_with(probe, str(early(tmp_path)["initial"]))
    whole = EfficientNetLite(1, 5, **NARROW).eval()
    begin_with(whole, str(tmp_path / "whole.safetensors"))
    picture = torch.randn(2, 1, 96, 96)
    with torch.inference_mode():
        x = whole.blocks[:4](whole.stem(picture))
        logits, features, maps = Mapped(probe, picture)(picture)
    torch.testing.assert_close(features, torch.cat([x, x * x], 1).mean((2, 3)), atol=1e-4, rtol=1e-3)
    assert maps.shape == (2, 3, 3, 3)
    torch.testing.assert_close(maps.mean((2, 3)) + probe.classifier.bias, logits, atol=1e-4, rtol=1e-3)


def test_it_is_added_if_it_helps(tmp_path: Path) -> None:
    """Where networks have hardly learnt, random features help; the gate's scores stay, and calls can be fitted anew."""
    average(tmp_path)
    before, table = load_bundle(tmp_path / "bundle"), read_table(tmp_path / "data")
    old = Classifier(before, "torch", threads=1)
    batch = preprocess_all(old.transform, list(pictures(table))[:40])
    scores = old.gate.scores(batch, old.engine.run(batch))
    figures = add_probe(tmp_path / "data", before.directory, replace(RECIPE, probe=early(tmp_path)), version="2")
    assert figures["gain"]["mean_auroc"][1] > 0
    after = load_bundle(before.directory)
    assert (after.version, after.metadata["training"]["probe"]["strength"]) == ("2", 5.0)
    assert after.digest != before.digest
    new = Classifier(after, "torch", threads=1)
    new.self_check()
    assert new.engine.run(batch).features.shape[1] == 2 * HEAD + 2 * 24
    np.testing.assert_allclose(new.gate.scores(batch, new.engine.run(batch)), scores, atol=1e-5)
    _, own = held_out(after, table)
    served = new.run(batch).logits  # by networks of which one has seen the patients
    assert np.corrcoef(own[:40, 0], served[:, 0])[0, 1] > 0.8
    assert abs((own[:40] - served).mean(axis=0)).max() < 0.2
    content = refit_calls(tmp_path / "data", after.directory)
    assert content["findings"].keys() == {"Effusion", "Mass"}


def test_it_is_left_out_if_it_does_not_help(tmp_path: Path) -> None:
    """A probe that does not count cannot help: the bundle stays as it was, and so does one that is no average."""
    average(tmp_path)
    digest = load_bundle(tmp_path / "bundle").digest
    with pytest.raises(BundleError, match="stays as it was"):
        add_probe(tmp_path / "data", tmp_path / "bundle", replace(RECIPE, probe=early(tmp_path, weight=0.0)))
    assert load_bundle(tmp_path / "bundle").digest == digest


def test_no_fold_sees_itself(tmp_path: Path) -> None:
    """With more features than rows, the probe knows the rows that it was fitted to, and nothing of those left out."""
    write_data(tmp_path / "data", 160)
    table, rng = read_table(tmp_path / "data"), np.random.default_rng(0)
    features, targets = rng.normal(size=(160, 400)).astype(np.float32), targets_with_pathology(table)
    weights, middle, spread = fit_probe(features, targets, 1.0)
    seen = (features - middle) / spread @ weights.T
    unseen = probe_out_of_fold(features, table, 4, {"strength": 1.0})
    gained = gain(table, unseen, seen, rounds=20)
    assert is_better(gained)
    assert not is_better(gain(table, seen, unseen, rounds=20))
    assert gained["mean_auroc"][0] > 0.3
