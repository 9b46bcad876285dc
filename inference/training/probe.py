"""A further member of an average of networks, which is not trained: the first layers of a published network.

A logistic regression on its features (a probe) gives its logits, which are added to the mean of the trained networks.
The features know nothing of radiographs, so one regression on all patients can be judged by regressions that were
fitted without a fold of them. The sum is judged in the same way, each trained network on the patients that it has not
seen, and the bundle stays as it was unless the sum is better.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.numpy import load_file
from safetensors.torch import save_file

from inference.arrays import Array, StateDict
from inference.bundle import Bundle, load_bundle
from inference.bundle_writer import write_golden
from inference.errors import BundleError
from inference.evaluation.data import COMMON, Table, targets_with_pathology
from inference.evaluation.metrics import auroc, bootstrap, interval
from inference.networks import define_network, read_bundle_state
from inference.serving.image_gate import JUDGES, save_gate
from inference.training.fit_calibration import fit_logistic
from inference.training.initial import begin_with

Folds = npt.NDArray[np.int64]
KIND = "inference.efficientnet_lite.EarlyLayers"


def members_of(bundle: Bundle) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the configurations of the trained members of an average, and of those that are not trained.

    Raises BundleError for a bundle that is no average of networks.
    """
    members = bundle.inference.get("network_def", {}).get("members", [])
    if not members:
        raise BundleError(f"{bundle.directory} is not an average of networks: train it with `hilum crossvalidate`")
    return [m for m in members if m["_target_"] != KIND], [m for m in members if m["_target_"] == KIND]


def with_member(directory: Path, settings: Mapping[str, Any]) -> Bundle:
    """Add the network of a recipe's `probe` to the average in `directory`, as a member that does not count yet.

    The gate is widened for the features of the new member, which it does not use: it gives the same scores. Raises
    BundleError if there is such a member already, and what `begin_with` raises.
    """
    bundle = load_bundle(directory)
    members, added = members_of(bundle)
    if added:
        raise BundleError(f"{directory} has a member that is not trained already")
    definition = settings["network"] | {"out_channels": len(bundle.outputs)}
    network = define_network({"network_def": definition}, "recipe")
    begin_with(network, settings["initial"])
    config = json.loads((directory / "configs/inference.json").read_text())
    config["network_def"]["members"] = [*members, definition]
    state = read_bundle_state(bundle)
    own = {name: t for name, t in network.state_dict().items() if not name.startswith("classifier.")}
    state |= {f"members.{len(members)}.{name}": t.half() if t.is_floating_point() else t for name, t in own.items()}
    width = int(network.get_parameter("classifier.weight").shape[1])
    state["head.weight"] = torch.cat([state["head.weight"], torch.zeros(len(bundle.outputs), width)], 1).half()
    save_state(directory, state)
    (directory / "configs/inference.json").write_text(json.dumps(config, indent=2) + "\n")
    if bundle.gate:
        save_gate(
            _widened(load_file(directory / "models/gate.safetensors"), bundle.gate, width), directory, bundle.gate
        )
    write_golden(directory)
    return load_bundle(directory)


def _widened(gate: dict[str, Array], config: dict[str, Any], more: int) -> dict[str, Array]:
    """Return a gate for `more` features of the network than before, which end the features and do not matter."""
    result = dict(gate)
    for judge, prefix in JUDGES.items():
        features = config.get(judge, [])
        if "penultimate" in features:
            if features[-1] != "penultimate":
                raise BundleError(f"configs/gate.json: features are {features}, expected penultimate as the last one")
            for name, value in (("mean", 0.0), ("scale", 1.0), ("weight0", 0.0)):
                tensor = result[prefix + name]
                result[prefix + name] = np.concatenate([tensor, np.full((*tensor.shape[:-1], more), value)], axis=-1)
    return result


def save_state(directory: Path, state: StateDict) -> None:
    """Write a bundle's weights."""
    save_file({name: t.contiguous() for name, t in state.items()}, directory / "models/model.safetensors")


def fit_probe(features: Array, targets: Array, strength: float) -> tuple[Array, Array, Array]:
    """Return (weights [outputs, d], middle [d], spread [d]) of logistic regressions on features [n, d].

    The logits are weights @ (features - middle) / spread, so that their mean is 0: calibration finds the constants.
    """
    middle, spread = features.mean(0), np.maximum(features.std(0), 1e-4)
    x = (features - middle) / spread
    weights = np.stack([fit_logistic(x, target, strength=strength)[0] for target in targets.T])
    return np.asarray(weights, np.float32), middle, spread


def probe_out_of_fold(features: Array, table: Table, folds: int, settings: Mapping[str, Any]) -> Array:
    """Return for each row the logits [n, outputs] of a probe that was fitted without the row's fold.

    Cohorts that were selected by label are not fitted to.
    """
    targets, fold = targets_with_pathology(table), table.folds(folds)
    result = np.empty_like(targets)
    for k in range(folds):
        rows = (fold != k) & ~table.confounded
        weights, middle, spread = fit_probe(features[rows], targets[rows], settings["strength"])
        result[fold == k] = (features[fold == k] - middle) / spread @ weights.T
    return result


def shares(settings: Mapping[str, Any], outputs: int) -> Array:
    """Return by how much the logits of the probe count in each output beside the mean of the trained networks."""
    return np.append(np.full(outputs - 1, settings["weight"]), settings["pathology_weight"]).astype(np.float32)


def gain(table: Table, before: Array, after: Array, rounds: int = 200) -> dict[str, Any]:
    """Return what the logits `after` are better by than `before`, in mean AUROC and AUROC of any pathology.

    The intervals are paired, by patient. Cohorts that were selected by label are left out.
    """
    rows = np.flatnonzero(~table.confounded)
    targets = targets_with_pathology(table)[rows]
    common = [k for k in range(targets.shape[1] - 1) if np.nansum(targets[:, k]) >= COMMON]

    def better(chosen: npt.NDArray[np.int64]) -> list[float]:
        areas = [
            [auroc(logits[rows[chosen], k], targets[chosen, k]) for k in (*common, -1)] for logits in (before, after)
        ]
        steps = np.diff(areas, axis=0)[0]
        return [float(np.nanmean(steps[:-1])), float(steps[-1])]

    values, samples = better(np.arange(len(rows))), bootstrap(better, table.patients[rows], rounds)
    return {name: [round(value, 4) for value in (values[k], *interval(samples[:, k]))]
            for k, name in enumerate(("mean_auroc", "pathology_auroc"))}  # fmt: skip


def is_better(gained: dict[str, Any]) -> bool:
    """Whether the mean AUROC gained for sure, and that of any pathology did not fall."""
    return bool(gained["mean_auroc"][1] > 0 and gained["pathology_auroc"][0] >= 0)
