"""Training on a directory of labelled radiographs, and writing the result as a calibrated bundle.

Nothing is written to the bundle's directory before the training is finished. Checkpoints are written to
`<out>.training`, and a call with the same arguments resumes from the last one.
"""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from rich.progress import Progress

from inference.arrays import Array, StateDict
from inference.bundle import Bundle, load_bundle
from inference.bundle_writer import base_metadata, write_bundle
from inference.evaluation.data import FINDINGS, PATHOLOGY, Table, preprocessed, read_table, targets_with_pathology
from inference.evaluation.fingerprints import fingerprint, write_fingerprints
from inference.evaluation.metrics import auroc
from inference.evaluation.parts import LEAST, common_findings, fitting_count, stratified_folds
from inference.preprocess import build_from, standard_preprocessing
from inference.probability import sigmoid
from inference.serving.calibration import FORMAT
from inference.training.augment import resized
from inference.training.calls_card import calls_markdown, data_markdown, findings_markdown, model_card
from inference.training.fit_calibration import fit_platt
from inference.training.fit_calls import CallLimits, Judged, fit_calls
from inference.training.recipe import Recipe, balance
from inference.training.tracking import Tracker, no_tracker
from inference.training.trainer import Trainer, chosen_device

Numbers = npt.NDArray[np.int64]
LICENCE = ("Nobody has stated a licence of these weights. It follows from the data they were trained on and, if the "
           "training began with published weights, from theirs.")  # fmt: skip


@dataclass(frozen=True)
class Samples:
    """A table with its pictures, preprocessed as in serving. Row i of each array belongs to the same picture."""

    table: Table
    pictures: Array  # float32 [n, channels, source, source], from which random views are drawn
    inputs: Array  # float32 [n, channels, size, size], the network's input as in serving
    targets: Array  # float32 [n, findings + 1]
    weights: Array  # float32 [n]
    prints: list[int]  # [n], the pictures' fingerprints


def train(
    data: Path, out: Path, recipe: Recipe | None = None, *, fold: int | None = 0, folds: int = 0,
    manifests: Sequence[str] = (), findings: Sequence[str] = FINDINGS, ignored: Sequence[str] = (),
    device: str = "auto", threads: int = 0, name: str = "", version: str = "1", progress: bool = True,
    licence: str = "", tracker: Tracker | None = None, remark: Callable[[str], None] = lambda sentence: None,
) -> Bundle:  # fmt: skip
    """Train on the manifests of `data` and write a bundle to `out`.

    The patients of fold `fold` of `folds` are held out, for early stopping and for the calibration; each finding's
    positives are spread evenly over the folds, of which there are as many as `fitting_count` returns if `folds` is 0.
    With `fold` None all patients are used for training and the bundle is not calibrated. `findings` and `ignored` are
    those of `read_table`; `licence` is that of the weights. `remark` is called with a sentence about findings that are
    too rare to be learnt. Raises DataError, EngineError (the tracker cannot be used), and FileExistsError (`out` holds
    something else than a bundle).
    """
    recipe = recipe or Recipe()
    if out.exists() and any(out.iterdir()) and not (out / "configs/metadata.json").is_file():
        raise FileExistsError(f"{out} exists and is not a bundle: name a new directory")
    if threads:
        torch.set_num_threads(threads)
    table = read_table(data, manifests, findings, ignored)
    folds = folds or fitting_count(table)
    aside = stratified_folds(table, folds) == (-1 if fold is None else fold)
    samples = read_samples(common_findings(table, aside, remark), recipe)
    with tracker or no_tracker() as log:
        facts = described(samples, aside)
        log.parameters(
            recipe.to_json() | {"fold": fold, "folds": folds, "device": chosen_device(device)} | _flat(facts)
        )
        work = out.with_name(out.name + ".training")
        trainer = fit(samples, np.flatnonzero(~aside), np.flatnonzero(aside), recipe, work, device, progress, log.epoch)
        held = np.flatnonzero(aside)
        calibration = _calibration(samples, held, trainer, recipe) if len(held) else None
        bundle = write_trained_bundle(
            out, trainer.average, recipe.network_def(samples.targets.shape[1]), recipe, samples.table.findings,
            calibration, name or out.name, version, {"history": trainer.history, "data": facts}, licence=licence,
            card={"Data": data_markdown(facts), "Figures": findings_markdown(facts, calibration)},
        )  # fmt: skip
        write_fingerprints(out, samples.prints)
        log.bundle(bundle)
    shutil.rmtree(work)
    return bundle


def described(samples: Samples, held: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """Return what is to be known of the data of a training, in which the rows `held` were held out.

    "data" is the SHA-256 over the pictures' fingerprints and their labels, in the order of the fingerprints;
    "positives" holds for each finding the number of positive images in training and held out.
    """
    table = samples.table
    rows = sorted(zip(samples.prints, map(tuple, samples.targets.tolist()), strict=True), key=repr)
    positives = {name: [int(np.nansum(y[~held])), int(np.nansum(y[held]))]
                 for name, y in zip(table.findings, table.targets.T, strict=True)}  # fmt: skip
    cohorts, counts = np.unique(table.cohorts, return_counts=True)
    return {"images": len(held), "held_out": int(held.sum()), "patients": len(set(table.patients)),
            "cohorts": ", ".join(f"{name} ({n})" for name, n in zip(cohorts, counts, strict=True)),
            "data": f"sha256:{sha256(repr(rows).encode()).hexdigest()}", "positives": positives}  # fmt: skip


def _flat(facts: dict[str, Any]) -> dict[str, Any]:
    """Return what `described` returns, without values that hold others."""
    positives = {f"positives {name}": f"{a} in training, {b} held out" for name, (a, b) in facts["positives"].items()}
    return {key: value for key, value in facts.items() if key != "positives"} | positives


def _calibration(samples: Samples, held: Numbers, trainer: Trainer, recipe: Recipe) -> dict[str, Any]:
    return calibrate(samples.table.take(held), trainer.logits(samples.inputs[held]), CallLimits(**recipe.calls))


def read_samples(table: Table, recipe: Recipe) -> Samples:
    """Decode and preprocess every picture of the table. Raises DataError."""
    transforms = [build_from(standard_preprocessing(size)) for size in (recipe.source, recipe.size)]
    prints: list[int] = []
    pictures, inputs = preprocessed(table, transforms, lambda picture: prints.append(fingerprint(picture)))
    return Samples(table, pictures, inputs, targets_with_pathology(table), balance(table, recipe), prints)


def fit(
    samples: Samples, chosen: Numbers, held: Numbers, recipe: Recipe, work: Path, device: str = "auto",
    progress: bool = False, report: Callable[[int, dict[str, float]], None] = lambda epoch, entry: None,
) -> Trainer:  # fmt: skip
    """Train on the rows `chosen`, and return the trainer, whose `average` holds the resulting weights.

    The rows `held` are used for validation. Checkpoints are written to `work`, and training resumes from one that is
    there. `report(epoch, {"loss", "validation", "auroc Effusion" ...})` is called after each epoch.
    """
    work.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(recipe, samples.targets.shape[1], device)
    trainer.resume(work / "checkpoint.pt")
    part = samples.pictures[chosen], samples.targets[chosen], samples.weights[chosen]
    with _bar(progress) as bar:
        task = bar.add_task("training", total=recipe.epochs * max(1, len(chosen) // recipe.batch),
                            completed=trainer.steps) if bar else None  # fmt: skip
        while trainer.done < recipe.epochs:
            tick = (lambda: bar.advance(task)) if bar and task is not None else (lambda: None)
            loss = trainer.epoch(*part, tick)
            areas = validate(trainer, samples, held)
            mean = float(np.mean(list(areas.values()))) if areas else float("nan")
            entry = {"loss": loss, "validation": mean}
            trainer.history.append(entry)
            stop = trainer.keep_best(entry["validation"])
            trainer.save(work / "checkpoint.pt")
            report(trainer.done, entry | {f"auroc {name}": area for name, area in areas.items()})
            if stop:
                break
    if recipe.patience and trainer.best:
        trainer.average = trainer.best[1]
    return trainer


def _bar(progress: bool) -> AbstractContextManager[Progress | None]:
    return Progress() if progress else nullcontext()


def validate(trainer: Trainer, samples: Samples, held: Numbers) -> dict[str, float]:
    """Return the AUROC of each finding that at least 10 of the rows `held` show, and not all."""
    if not len(held):
        return {}
    side = trainer.recipe.side(trainer.done - 1)
    final = side == trainer.recipe.size
    logits = trainer.logits(samples.inputs[held] if final else resized_to(samples.pictures[held], side))
    targets = samples.targets[held]
    areas = {name: auroc(logits[:, k], targets[:, k]) for k, name in enumerate(samples.table.findings)
             if np.nansum(targets[:, k]) >= LEAST}  # fmt: skip
    return {name: area for name, area in areas.items() if area == area}


def resized_to(pictures: Array, side: int) -> Array:
    """Return preprocessed pictures [n, channels, S, S] resized to `side` pixels a side."""
    return np.asarray(resized(torch.from_numpy(pictures), side).numpy(), np.float32)


def calibrate(table: Table, logits: Array, limits: CallLimits | None = None) -> dict[str, Any]:
    """Return configs/calibration.json, fitted to the logits [n, findings + 1] of patients who were not trained on.

    Each finding, and any finding, gets Platt's scaling of its own output. `fit_calls` then decides by `limits` which
    calls may be made from these probabilities.
    """
    targets = targets_with_pathology(table)
    *rows, overall = [_scaled(logits[:, k], targets[:, k]) for k in range(targets.shape[1])]
    content = {"format": FORMAT, "findings": dict(zip(table.findings, rows, strict=True)),
               "pathology": {"weights": {PATHOLOGY: overall["scale"]}, "offset": overall["offset"]}}  # fmt: skip
    return with_calls(content, table, logits, limits)


def with_calls(
    content: dict[str, Any], table: Table, logits: Array, limits: CallLimits | None = None
) -> dict[str, Any]:
    """Return configs/calibration.json with its probabilities kept and its calls fitted anew, as `calibrate` does."""
    outputs, own = (*table.findings, PATHOLOGY), content["pathology"]
    rows = [content["findings"][finding] for finding in table.findings]
    columns = [sigmoid(row["scale"] * logits[:, k] + row["offset"]) for k, row in enumerate(rows)]
    columns.append(sigmoid(logits @ np.array([own["weights"].get(o, 0.0) for o in outputs]) + own["offset"]))
    views = np.array([row.view for row in table.rows])
    judged = Judged(outputs, np.stack(columns, axis=1), targets_with_pathology(table), table.patients, views)
    calls, kept = fit_calls(judged, limits), ("scale", "offset", "prevalence")
    findings = {f: {key: row[key] for key in kept} | calls["findings"][f]
                for f, row in zip(table.findings, rows, strict=True)}  # fmt: skip
    pathology = {key: own[key] for key in ("weights", "offset")} | calls["pathology"]
    return {"format": FORMAT} | calls | {"findings": findings, "pathology": pathology}


def _scaled(logits: Array, targets: Array) -> dict[str, Any]:
    scale, offset = fit_platt(logits, targets)
    scale = max(scale, 0.05)  # a finding that is too rare to fit keeps a positive scale
    return {"scale": round(scale, 6), "offset": round(offset, 6), "prevalence": round(float(np.nanmean(targets)), 6)}


def half(state: StateDict) -> StateDict:
    """Return the weights as a bundle stores them: on the CPU, in half precision."""
    return {key: (t.half() if t.is_floating_point() else t).cpu().contiguous() for key, t in state.items()}


def write_trained_bundle(
    out: Path, state: StateDict, network_def: dict[str, Any], recipe: Recipe, findings: tuple[str, ...],
    calibration: dict[str, Any] | None, name: str, version: str, training: dict[str, Any], licence: str = "",
    card: Mapping[str, str] | None = None,
) -> Bundle:  # fmt: skip
    """Write the weights `state` of the network `network_def` as a bundle into `out`, in half precision.

    `training` is added to the recipe under "training" in metadata.json. `card` holds what the model card says of data
    and figures, by title; calls, recipe and licence are added. An existing model card is kept.
    """
    purpose = "Findings in a frontal chest radiograph of an adult."
    metadata = base_metadata(name, version, purpose, findings, recipe.size, trained=True)
    metadata["hilum"] |= {"outputs": [*findings, PATHOLOGY], "test_time": ["flip"]}
    metadata["training"] = recipe.to_json() | training
    inference = {"preprocessing": standard_preprocessing(recipe.size), "network_def": network_def}
    write_bundle(out, metadata, inference, half(state), calibration)
    (out / "LICENSE").write_text(f"{licence.strip() or LICENCE}\n")
    if not (out / "docs/README.md").is_file():
        parts = dict(card or {}) | ({"Calls": calls_markdown(calibration)} if calibration else {})
        parts |= {"Recipe": f"```json\n{json.dumps(recipe.to_json(), indent=2)}\n```", "Licence": licence or LICENCE}
        (out / "docs/README.md").write_text(model_card(name, version, parts))
    return load_bundle(out)
