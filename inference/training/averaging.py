"""Making one bundle of the networks of a cross-validation, which answers with their mean.

Calibration needs patients that a network has not seen, and there are none that the mean of all networks has not seen.
It is therefore calibrated on out-of-fold logits: each network's logits for the patients that this network has not seen.
These vary more than the logits of a mean do, so they are first drawn together accordingly.
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
from inference.evaluation.fingerprints import read_fingerprints, write_fingerprints
from inference.networks import define_network
from inference.preprocess import build_from, standard_preprocessing
from inference.training.crossvalidate import out_of_fold
from inference.training.recipe import Recipe
from inference.training.train import calibrate, write_trained_bundle

SAMPLE = 2000  # number of pictures on which the networks are compared


def write_average(
    out: Path, work: Path, table: Table, recipe: Recipe, folds: int, name: str = "", version: str = "1"
) -> Bundle:
    """Write the mean of the networks `work/fold-<k>/model.safetensors` as a calibrated bundle into `out`.

    `table` must be the one that was cross-validated. The figures of the cross-validation are copied to
    docs/cross_validation.json. Raises FileNotFoundError if a fold is missing.
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
        out,
        state,
        network_def,
        recipe,
        table.findings,
        calibration,
        name or out.name,
        version,
        training,
        card={"Data and figures": (work / "cross_validation.md").read_text()},
    )
    shutil.copy(work / "cross_validation.json", out / "docs")
    if (prints := read_fingerprints(work)) is not None:
        write_fingerprints(out, prints)
    return bundle


def as_steady(every: Array, own: Array) -> Array:
    """Return each row's logits `own` [n, outputs], drawn together to be as steady as the mean of `every` network.

    `every` are the logits of all networks, [networks, n, outputs]; they are compared on SAMPLE rows.
    """
    chosen = np.random.default_rng(0).permutation(len(own))[:SAMPLE]
    return drawn_together(own, steadiness(every[:, chosen], own))


def drawn_together(logits: Array, factors: Array) -> Array:
    """Return logits [n, outputs] with each output's deviations from its mean divided by its factor, [outputs]."""
    middle = logits.mean(axis=0)
    return np.asarray(middle + (logits - middle) / factors, np.float32)


def steadiness(members: Array, single: Array) -> Array:
    """Return by which factor the slope of the calibration is steeper for the mean of networks than for one, [outputs].

    `members` are the logits [m, n, outputs] of all networks for the same pictures; `single` are logits [n, outputs] of
    one network each. Assume that the variance of a network's logits is the variance on which all networks agree plus
    noise of its own, and that only the former carries information. The best slope is then proportional to the inverse
    of the whole variance, and the mean of m networks has an m-th of the noise. The factors are 1 or more, and rather
    too small, because the networks were trained on most of the pictures and differ less there.
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
    """Return a network's logits [n, outputs] with these weights, averaged over each picture and its mirror image."""
    network.load_state_dict(state)
    parts = [torch.from_numpy(inputs[i : i + 256]) for i in range(0, len(inputs), 256)]
    return np.concatenate([((network(part) + network(part.flip(3))) / 2).numpy() for part in parts])
