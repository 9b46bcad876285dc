"""Adding a probe to an average of networks, if it is better with it: `hilum model probe`."""

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from inference.arrays import Array
from inference.bundle import PACKAGED, Bundle, load_bundle, pin_packaged
from inference.bundle_writer import write_golden
from inference.errors import BundleError
from inference.evaluation.data import Table, targets_with_pathology
from inference.files.strict_json import strict_json
from inference.networks import read_bundle_state
from inference.training.averaging import as_steady
from inference.training.crossvalidate import report
from inference.training.probe import fit_probe, gain, is_better, probe_out_of_fold, save_state, shares, with_member
from inference.training.recipe import Recipe
from inference.training.refit_calls import member_logits, pooled_features, table_of
from inference.training.train import calibrate

Tick = Callable[[int, int], None]
CALIBRATED_ON = ("each network's logits for the patients that it has not seen and those of a probe that was fitted "
                 "without them, drawn together by as much as the networks differ")  # fmt: skip


def add_probe(
    data: Path, directory: Path, recipe: Recipe, manifests: tuple[str, ...] = (), version: str = "",
    tick: Tick = lambda done, total: None, ignored: Sequence[str] = (),
) -> dict[str, Any]:  # fmt: skip
    """Add the recipe's `probe` to the average in `directory`, and return the figures of its cross-validation.

    `data` and `manifests` must be those of the cross-validation from which the bundle was averaged. Probabilities and
    calls are fitted anew; the gate's scores stay; fit the rule for locations anew after it. "gain" in the figures says
    what the probe adds. A bundle of the package is pinned again. Raises BundleError, and leaves the bundle as it was,
    if it is not better with the probe; and what `with_member` raises.
    """
    table, settings = table_of(load_bundle(directory), data, manifests, ignored), recipe.probe
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / directory.name
        shutil.copytree(directory, draft)
        bundle = with_member(draft, settings)
        every, rest = member_logits(bundle, table, pooled_features(bundle, table, tick))
        held_out = table.folds(len(every)), np.arange(len(table.rows))
        share = shares(settings, len(bundle.outputs))
        added = share * probe_out_of_fold(rest, table, len(every), settings)
        before, after = every[held_out], every[held_out] + added
        gained = gain(table, before, after)
        if not is_better(gained):
            raise BundleError(f"{directory} is not better with the probe, and stays as it was: {json.dumps(gained)}")
        _write_head(draft, bundle, table, rest, settings)
        training = bundle.metadata["training"] | {"probe": dict(settings), "calibrated_on": CALIBRATED_ON}
        metadata = bundle.metadata | {"training": training, "version": version or bundle.version}
        _write(draft / "configs/metadata.json", metadata)
        figures = report(table, after) | {"folds": len(every), "recipe": training, "gain": gained}
        _write(draft / "docs/cross_validation.json", figures)
        _calibrated(draft, table, after, every + added)
        write_golden(draft)
        for part in ("configs", "docs", "golden", "models"):
            shutil.copytree(draft / part, directory / part, dirs_exist_ok=True)
    if directory.resolve().parent == PACKAGED:
        pin_packaged(directory.resolve().name)
    return figures


def _write_head(directory: Path, bundle: Bundle, table: Table, features: Array, settings: Mapping[str, Any]) -> None:
    """Let the new member count in the last layer, by a probe that is fitted to all patients."""
    rows = ~table.confounded
    weights, middle, spread = fit_probe(features[rows], targets_with_pathology(table)[rows], settings["strength"])
    state = read_bundle_state(bundle)
    state["head.weight"][:, -features.shape[1] :] = torch.from_numpy(
        shares(settings, len(bundle.outputs))[:, None] * weights
    )
    where = f"members.{len(bundle.inference['network_def']['members']) - 1}.normalisation.running_"
    fitted = {f"{where}mean": middle, f"{where}var": spread**2}  # in float32: squares may be too large for 16 bits
    save_state(directory, state | {name: torch.from_numpy(np.asarray(t, np.float32)) for name, t in fitted.items()})


def _calibrated(directory: Path, table: Table, logits: Array, every: Array) -> None:
    """Fit probabilities and calls anew, as `averaging` does."""
    steady, apart = as_steady(every, logits), np.flatnonzero(~table.confounded)
    _write(directory / "configs/calibration.json", calibrate(table.take(apart), steady[apart]))


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(strict_json(content))
