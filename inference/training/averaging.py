"""From the networks of a cross-validation to one bundle that answers with their mean.

Calibration wants patients that a network has not seen. The mean of all has none left, so it is calibrated on each
network's answers for the patients that this one has not seen, drawn together by as much as a mean varies less.
"""

import shutil
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from inference.arrays import Array, StateDict
from inference.bundle import Bundle
from inference.ensemble import combined
from inference.evaluation.data import Table, preprocessed
from inference.networks import define_network
from inference.preprocess import build_from, standard_preprocessing
from inference.training.crossvalidate import out_of_fold
from inference.training.recipe import Recipe
from inference.training.train import calibrate, write_trained_bundle

SAMPLE = 2000  # pictures by which the networks are compared


def write_average(
    out: Path, work: Path, table: Table, recipe: Recipe, folds: int, name: str = "", version: str = "1"
) -> Bundle:
    """The mean of the networks `work/fold-<k>/model.safetensors` as a calibrated bundle in `out`.

    `table` is the one that was cross-validated; its figures go to docs/cross_validation.json.
    Raises FileNotFoundError where a fold is missing.
    """
    logits = out_of_fold(work, len(table.rows), folds)
    if logits is None:
        raise FileNotFoundError(f"{work} does not hold all of {folds} folds: cross-validate first")
    states = [load_file(work / f"fold-{k}/model.safetensors") for k in range(folds)]
    member = recipe.network_def(logits.shape[1])
    network_def = {"_target_": "inference.ensemble.Ensemble", "members": [member] * folds}
    steadier = _steadier(table, states, recipe, logits)
    apart = np.flatnonzero(~table.confounded)
    calibration = calibrate(table.take(apart), drawn_together(logits[apart], steadier))
    training = {"average_of": f"the {folds} networks of a cross-validation by patient",
                "calibrated_on": "each network's logits for the patients that it has not seen, drawn together by "
                                 f"{', '.join(f'{f:.3f}' for f in steadier)}"}  # fmt: skip
    state = combined(states, define_network({"network_def": member}, "recipe"))
    bundle = write_trained_bundle(
        out, state, network_def, recipe, table.findings, calibration, name or out.name, version, training
    )
    shutil.copy(work / "cross_validation.json", out / "docs")
    return bundle


def drawn_together(logits: Array, factors: Array) -> Array:
    """Logits [n, outputs] around their mean, each output's spread divided by its factor."""
    middle = logits.mean(axis=0)
    return np.asarray(middle + (logits - middle) / factors, np.float32)


def steadiness(members: Array, single: Array) -> Array:
    """By how much the mean of networks is worth a steeper slope than one of them, [outputs], 1 or more.

    members: logits [m, n, outputs] of all networks for the same pictures; single: logits [n, outputs] of one each. If
    the variance of a network's logits is what all networks agree on plus noise of its own, and only the former tells
    anything, the best slope goes with the inverse of the whole variance; a mean of m has an m-th of the noise. The
    networks were trained on most of the pictures, where they differ less: the factor is rather too small.
    """
    noise = members.var(axis=0, ddof=1).mean(axis=0)
    share = np.minimum(noise / single.var(axis=0), 0.5)
    return np.asarray(1 / (1 - share * (1 - 1 / len(members))), np.float32)


def _steadier(table: Table, states: list[StateDict], recipe: Recipe, logits: Array) -> Array:
    chosen = np.random.default_rng(recipe.seed).permutation(len(table.rows))[:SAMPLE]
    (inputs,) = preprocessed(table.take(chosen), [build_from(standard_preprocessing(recipe.size))])
    network = define_network({"network_def": recipe.network_def(logits.shape[1])}, "recipe").float().eval()
    return steadiness(np.stack([_logits(network, state, inputs) for state in states]), logits)


@torch.inference_mode()
def _logits(network: torch.nn.Module, state: StateDict, inputs: Array) -> Array:
    """The answers [n, outputs] of a network with these weights, mean over each picture and its mirror image."""
    network.load_state_dict(state)
    parts = [torch.from_numpy(inputs[i : i + 256]) for i in range(0, len(inputs), 256)]
    return np.concatenate([((network(part) + network(part.flip(3))) / 2).numpy() for part in parts])
