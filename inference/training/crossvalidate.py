"""Cross-validation by patient: how good a recipe is on patients that the network has never seen.

Every picture gets logits from the one network that was trained without its patient ("out of fold"). The table of the
model card and the calibration of the mean of the networks (`averaging`) are computed from them.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from inference.arrays import Array
from inference.evaluation.data import COMMON, FINDINGS, Table, read_table, targets_with_pathology
from inference.evaluation.evaluation_page import with_interval
from inference.evaluation.fingerprints import write_fingerprints
from inference.evaluation.metrics import auroc, average_precision, bootstrap, interval
from inference.evaluation.parts import common_findings_of_folds
from inference.files.strict_json import strict_json
from inference.training.fit_calibration import fit_logistic
from inference.training.recipe import Recipe
from inference.training.train import fit, half, read_samples


def cross_validate(
    data: Path, work: Path, recipe: Recipe | None = None, *, folds: int = 4, only: Sequence[int] = (),
    manifests: Sequence[str] = (), findings: Sequence[str] = FINDINGS, ignored: Sequence[str] = (),
    device: str = "auto", threads: int = 0, progress: bool = True,
    remark: Callable[[str], None] = lambda sentence: None,
) -> dict[str, Any] | None:  # fmt: skip
    """Train one network for each fold in `work` and return the figures of all; None while folds are missing.

    A call with the same arguments resumes a run that was interrupted. `only` names the folds to train in this call, so
    that several processes can share the work. Writes `logits.npz` and `model.safetensors` into `work/fold-<k>`, and
    `work/cross_validation.json` and `work/cross_validation.md`. Raises DataError.
    """
    recipe = recipe or Recipe()
    if threads:
        torch.set_num_threads(threads)
    table = table_to_cross_validate(data, folds, manifests, findings, ignored, remark)
    fold = table.folds(folds)
    wanted = [k for k in (only or range(folds)) if not (work / f"fold-{k}/logits.npz").is_file()]
    samples = read_samples(table, recipe) if wanted else None
    if samples:
        write_fingerprints(work, samples.prints)
    for k in wanted:
        assert samples is not None
        held = np.flatnonzero(fold == k)
        trainer = fit(samples, np.flatnonzero(fold != k), held, recipe, work / f"fold-{k}", device, progress)
        save_file(half(trainer.average), work / f"fold-{k}/model.safetensors")
        np.savez(work / f"fold-{k}/logits.npz", rows=held, logits=trainer.logits(samples.inputs[held]))
    logits = out_of_fold(work, len(table.rows), folds)
    if logits is None:
        return None
    result = report(table, logits) | {"folds": folds, "recipe": recipe.to_json()}
    (work / "cross_validation.json").write_text(strict_json(result))
    (work / "cross_validation.md").write_text(cross_validation_markdown(result))
    return result


def table_to_cross_validate(
    data: Path, folds: int, manifests: Sequence[str] = (), findings: Sequence[str] = FINDINGS,
    ignored: Sequence[str] = (), remark: Callable[[str], None] = lambda sentence: None,
) -> Table:  # fmt: skip
    """Return the table of `data` without the findings that are too rare in one of the parts that are trained on."""
    table = read_table(data, manifests, findings, ignored)
    return common_findings_of_folds(table, table.folds(folds), remark)


def out_of_fold(work: Path, count: int, folds: int) -> Array | None:
    """Return the logits [count, outputs] of all folds; None unless every fold is complete."""
    parts = [work / f"fold-{k}/logits.npz" for k in range(folds)]
    if not all(path.is_file() for path in parts):
        return None
    loaded = [np.load(path) for path in parts]
    logits = np.full((count, loaded[0]["logits"].shape[1]), np.nan, np.float32)
    for part in loaded:
        logits[part["rows"]] = part["logits"]
    return logits


def report(table: Table, logits: Array, rounds: int = 200) -> dict[str, Any]:
    """Return AUROC and average precision by finding, and mean AUROC by cohort beside that of the `baseline`.

    Rows whose logits are nan, because their fold is missing, are only used to fit the baseline.
    """
    scored, known = np.flatnonzero(np.isfinite(logits[:, 0])), baseline(table)[np.isfinite(logits[:, 0])]
    table, logits = table.take(scored), logits[scored]
    targets, every = targets_with_pathology(table), np.arange(len(scored))
    findings = {
        name: _finding(logits[:, k], targets[:, k], table) for k, name in enumerate((*table.findings, "Pathology"))
    }
    cohorts = {str(c): _group(table, logits, known, targets, np.flatnonzero(table.cohorts == c), rounds)
               for c in np.unique(table.cohorts)}  # fmt: skip
    apart = np.flatnonzero(~table.confounded)
    return {
        "images": len(every), "patients": len(set(table.patients)), "findings": findings, "cohorts": cohorts,
        "all": _group(table, logits, known, targets, apart, rounds),
    }  # fmt: skip


def _finding(logits: Array, targets: Array, table: Table) -> dict[str, Any]:
    apart = ~table.confounded
    s, y, p = logits[apart], targets[apart], table.patients[apart]
    if np.nansum(y) < 5:
        return {"positives": int(np.nansum(y))}
    areas = bootstrap(lambda rows: auroc(s[rows], y[rows]), p)
    precisions = bootstrap(lambda rows: average_precision(s[rows], y[rows]), p)
    return {
        "positives": int(np.nansum(y)), "auroc": auroc(s, y), "auroc_interval": interval(areas),
        "average_precision": average_precision(s, y), "average_precision_interval": interval(precisions),
    }  # fmt: skip


def _group(table: Table, logits: Array, known: Array, targets: Array, rows: Any, rounds: int) -> dict[str, Any]:
    """Return the mean AUROC of the common findings and the AUROC of any pathology among `rows`, with intervals.

    They are computed from the logits of the network, and from those of the baseline, `known`.
    """
    common = [k for k in range(len(table.findings)) if np.nansum(targets[rows, k]) >= COMMON]

    def figures(chosen: Any) -> list[float]:
        at, y = rows[chosen], targets[rows[chosen]]
        both = [[auroc(s[at, k], y[:, k]) for k in [*common, -1]] for s in (logits, known)]
        means = [float(np.nanmean(areas[:-1])) if common else float("nan") for areas in both]
        return [means[0], both[0][-1], means[1], both[1][-1], means[0] - means[1], both[0][-1] - both[1][-1]]

    values = figures(np.arange(len(rows)))
    samples = bootstrap(figures, table.patients[rows], rounds)
    names = ("mean_auroc", "pathology_auroc", "baseline_mean_auroc", "baseline_pathology_auroc",
             "mean_gain", "pathology_gain")  # fmt: skip
    result: dict[str, Any] = {"images": len(rows), "findings_counted": [table.findings[k] for k in common]}
    for i, name in enumerate(names):
        result |= {name: values[i], f"{name}_interval": interval(samples[:, i])}
    return result


def baseline(table: Table, folds: int = 5) -> Array:
    """Return out-of-fold logits of a logistic regression on what is known without the picture, [n, findings + 1]."""
    inputs, targets = known_beforehand(table), targets_with_pathology(table)
    fold, result = table.folds(folds), np.zeros_like(targets)
    for k in range(folds):
        rest, held = fold != k, fold == k
        for j in range(targets.shape[1]):
            weights, offset = fit_logistic(inputs[rest], targets[rest, j])
            result[held, j] = inputs[held] @ weights + offset
    return result


def known_beforehand(table: Table) -> Array:
    """Return what is known of each row without the picture, standardised, [n, 7].

    Two columns for the view, then sex, age, age squared, the logarithm of the follow-up number, and that number.
    """
    follow_up = np.nan_to_num(np.array([row.follow_up for row in table.rows]))
    age = np.array([row.age for row in table.rows])
    age = np.where(np.isfinite(age), age, np.nanmean(age) if np.isfinite(age).any() else 50.0) / 50 - 1
    columns = [[row.view == "AP" for row in table.rows], [row.view == "PA" for row in table.rows],
               [row.sex == "M" for row in table.rows], age, age**2, np.log1p(follow_up), follow_up]  # fmt: skip
    x = np.stack([np.asarray(column, np.float64) for column in columns], axis=1)
    return np.asarray((x - x.mean(0)) / np.maximum(x.std(0), 1e-6), np.float32)


def cross_validation_markdown(result: dict[str, Any]) -> str:
    """Return the tables of the model card as Markdown."""
    lines = [f"{result['images']} images of {result['patients']} patients, {result['folds']} folds by patient.", "",
             "| group | images | mean AUROC | any pathology | baseline: mean | any pathology | gain of the mean |",
             "|---|---|---|---|---|---|---|"]  # fmt: skip
    for name, g in [("all but talo", result["all"]), *result["cohorts"].items()]:
        cells = ("mean_auroc", "pathology_auroc", "baseline_mean_auroc", "baseline_pathology_auroc", "mean_gain")
        lines.append(f"| {name} | {g['images']} | " + " | ".join(with_interval(g, key) for key in cells) + " |")
    lines += ["", "| finding | positives | AUROC | average precision |", "|---|---|---|---|"]
    for name, f in result["findings"].items():
        cells_ = " | ".join(with_interval(f, key) for key in ("auroc", "average_precision"))
        lines.append(f"| {name} | {f['positives']} | {cells_} |")
    return "\n".join(lines) + "\n"
