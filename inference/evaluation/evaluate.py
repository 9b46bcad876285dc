"""Evaluating a bundle on labelled pictures: the figures as JSON, as Markdown and as a page with curves.

The scores are the bundle's calibrated probabilities for every picture, including those that the gate would refuse. The
gate is judged separately (`evaluate_gate`).
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from inference.arrays import Array, FloatArray
from inference.bundle import Bundle
from inference.errors import DataError
from inference.evaluation.data import COMMON, FINDINGS, PATHOLOGY, Table, pictures, read_table
from inference.evaluation.evaluate_calls import evaluate_calls, make_calls
from inference.evaluation.evaluate_gate import gate_figures
from inference.evaluation.fingerprints import fingerprint, trained_on
from inference.evaluation.metrics import (
    at_threshold,
    auroc,
    average_precision,
    bootstrap,
    brier,
    expected_calibration_error,
    interval,
    once_each,
    precision_recall,
    reliability,
    roc,
    thinned,
    weighted_auroc,
)
from inference.evaluation.predictions import write_predictions
from inference.files.strict_json import strict_json
from inference.preprocess import preprocess
from inference.serving.classifier import Classifier

Tick = Callable[[int, int], None]
CALL_GROUPS = ("all", "view", "cohort")  # the kinds of groups for which the calls have figures of their own
AGES = ((0, 18), (18, 40), (40, 60), (60, 200))  # years: from, and below


def evaluate(
    data: Path, bundle: Bundle, out: Path | None = None, *, manifests: Sequence[str] = (),
    ignored: Sequence[str] = (), engine: str = "auto", fold: int | None = None, folds: int = 10, rounds: int = 200,
    threads: int = 0, others: Path | None = None, score: "Score | None" = None,
    tick: Tick = lambda done, total: None,
) -> dict[str, Any]:  # fmt: skip
    """Evaluate `bundle` on the manifests of `data`, or only on the patients of fold `fold` of `folds`.

    With `out`, evaluation.json, evaluation.md, evaluation.html and predictions.csv are written there. `rounds` is the
    number of bootstrap samples. `others` is a folder of pictures that the gate should refuse, in addition to those that
    are made for this purpose. `ignored` is that of `read_table`. `score` takes the place of `predict_all`.
    `tick(done, total)` is called after each batch of pictures. Raises DataError if there is no picture, or if the
    manifests have none of the bundle's findings.
    """
    table = read_table(data, manifests, tuple(dict.fromkeys((*FINDINGS, *bundle.labels))), ignored)
    if fold is not None:
        table = table.take(np.flatnonzero(table.folds(folds) == fold))
    classifier = Classifier(bundle, engine, threads=threads)
    shared = [label for label in bundle.labels if label in table.findings]
    if not table.rows or not shared:
        raise DataError(f"{data}: {len(table.rows)} pictures, findings {list(table.findings)}; the bundle has "
                        f"{list(bundle.labels)}")  # fmt: skip
    scores, gate, prints = (score or predict_all)(classifier, table, tick)
    columns = [bundle.labels.index(label) for label in shared]
    probabilities = np.concatenate([scores[:, columns], scores[:, -1:]], axis=1)
    targets = table.targets[:, [table.findings.index(label) for label in shared]]
    targets = np.concatenate([targets, table.sick[:, None]], axis=1)
    calls, names = make_calls(classifier.calibration, table, scores, shared), (*shared, PATHOLOGY)
    result = figures(table, names, probabilities, targets, calls.above, rounds)
    parts = {name: rows for name, rows in groups(table).items() if name.split()[0] in CALL_GROUPS}
    result["calls"] = evaluate_calls(calls, table, names, targets, parts, rounds) | {"evaluated": bundle.evaluated}
    judged = {} if gate is None else gate_figures(classifier, table, gate, others, rounds)
    seen = trained_on(bundle.directory, prints)
    result |= {"model": classifier.model, "gate": judged, "out_of_fold": score is not None,
               "trained_on": None if seen is None else int(seen.sum())}  # fmt: skip
    if out:
        write_report(out, result)
        write_predictions(out / "predictions.csv", table, names, probabilities, targets, calls.above, seen)
    return result


class Scored(NamedTuple):
    """What a bundle gives for n pictures."""

    probabilities: Array  # [n, labels + 1], calibrated, the last of any pathology
    gate: Array | None  # [n], the gate's scores; None if it was not asked
    prints: list[int]  # [n], the pictures' fingerprints


Score = Callable[[Classifier, Table, Tick], Scored]


def predict_all(classifier: Classifier, table: Table, tick: Tick = lambda done, total: None, batch: int = 64) -> Scored:
    """Return what the bundle gives for each row. `tick(done, total)` is called after each batch. Raises DataError."""
    scores, gate, prints = [], [], list[int]()
    for done, part in _batches(classifier, table, batch, prints):
        outputs = classifier.run(part)
        gate.append(classifier.gate.scores(part, outputs))
        scores.append(calibrated(classifier, outputs.logits))
        tick(done, len(table.rows))
    return Scored(np.concatenate(scores), np.concatenate(gate), prints)


def calibrated(classifier: Classifier, logits: Array) -> Array:
    """Return the calibrated probabilities [n, labels + 1] for logits [n, outputs], the last of any pathology."""
    calibration = classifier.calibration
    columns = [calibration.probabilities(logits), calibration.pathology_probabilities(logits)]
    return np.column_stack(columns).astype(np.float32)


def _batches(classifier: Classifier, table: Table, size: int, prints: list[int]) -> Iterator[tuple[int, Array]]:
    waiting: list[Array] = []
    for done, picture in enumerate(pictures(table), start=1):
        prints.append(fingerprint(picture))
        waiting.append(preprocess(classifier.transform, picture))
        if len(waiting) == size or done == len(table.rows):
            yield done, np.stack(waiting)
            waiting = []


def figures(
    table: Table, names: Sequence[str], probabilities: Array, targets: Array, above: npt.NDArray[np.bool_],
    rounds: int = 200,
) -> dict[str, Any]:  # fmt: skip
    """Return all figures, from probabilities, targets and calls [n, names]. The last name is that of any pathology.

    "groups" begins with "all", which leaves out the confounded cohorts; then come each cohort, view, sex and age band.
    """
    members = groups(table)
    rows, patients = members["all"], table.patients[members["all"]]
    findings = {
        name: finding_figures(probabilities[rows, k], targets[rows, k], patients, above[rows, k], rounds)
        for k, name in enumerate(names)
    }
    return {
        "images": len(table.rows), "patients": len(set(table.patients)), "findings": findings,
        "groups": {name: group_figures(table, names, probabilities, targets, rows, rounds)
                   for name, rows in members.items() if len(rows)},
    }  # fmt: skip


def groups(table: Table) -> dict[str, npt.NDArray[np.int64]]:
    """Return the row numbers of each group for which there are separate figures.

    Confounded cohorts are left out of all groups but their own, unless there are no others.
    """
    apart = table.counted
    ages = np.array([row.age for row in table.rows])
    masks = {"all": apart} | {f"cohort {c}": table.cohorts == c for c in sorted(set(table.cohorts))}
    for key in ("view", "sex"):
        values = np.array([getattr(row, key) for row in table.rows])
        masks |= {f"{key} {v}": apart & (values == v) for v in sorted(set(values)) if v}
    masks |= {f"age {low} to {high - 1}": apart & (ages >= low) & (ages < high) for low, high in AGES}
    return {name: np.flatnonzero(mask) for name, mask in masks.items()}


def group_figures(
    table: Table, names: Sequence[str], probabilities: Array, targets: Array, rows: npt.NDArray[np.int64], rounds: int
) -> dict[str, Any]:
    """Return the mean AUROC of the common findings, and AUROC and calibration of any pathology, in a group.

    `rows` are the group's row numbers. Findings with at least COMMON positives count in the mean; intervals are by
    patient. "by_patient" holds the same figures with each patient counting once, however many images there are of him.
    """
    common = [k for k in range(len(names) - 1) if np.nansum(targets[rows, k]) >= COMMON]
    p, y, patients = probabilities[rows], targets[rows], table.patients[rows]

    def weighted(weights: FloatArray) -> dict[str, Any]:
        def areas(chosen: npt.NDArray[np.int64]) -> list[float]:
            single = [weighted_auroc(p[chosen, k], y[chosen, k], weights[chosen]) for k in (*common, -1)]
            return [_mean(single[:-1]), single[-1]]

        values, samples = areas(np.arange(len(rows))), bootstrap(areas, patients, rounds)
        return {
            "mean_auroc": values[0], "mean_auroc_interval": interval(samples[:, 0]),
            "pathology_auroc": values[1], "pathology_auroc_interval": interval(samples[:, 1]),
            "pathology_ece": expected_calibration_error(p[:, -1], y[:, -1], weights=weights),
        }  # fmt: skip

    counted = {"images": len(rows), "patients": len(set(patients)), "findings_counted": [names[k] for k in common]}
    return counted | weighted(np.ones(len(rows))) | {"by_patient": weighted(once_each(patients))}


def _mean(areas: Sequence[float]) -> float:
    good = [area for area in areas if area == area]
    return float(np.mean(good)) if good else float("nan")


def finding_figures(
    p: Array, y: Array, patients: npt.NDArray[Any], above: npt.NDArray[np.bool_], rounds: int
) -> dict[str, Any]:
    """Return discrimination, operating point, calibration and curves of one output.

    `p` are its probabilities, `y` the targets and `above` the calls, all [n]; intervals are by patient.
    """
    counted: dict[str, Any] = {"images": int(np.isfinite(y).sum()), "positives": int(np.nansum(y))}
    result = counted | at_threshold(above.astype(np.float32), y, 0.5)
    result |= {"brier": brier(p, y), "expected_calibration_error": expected_calibration_error(p, y)}
    scores: dict[str, Callable[[Any, Any], float]] = {"auroc": auroc, "average_precision": average_precision}
    for name, metric in scores.items():
        samples = bootstrap(partial(_on_rows, metric, p, y), patients, rounds)
        result |= {name: metric(p, y), f"{name}_interval": interval(samples)}
    curves = {"roc": roc(p, y), "precision_recall": precision_recall(p, y)[::-1]}
    result |= {name: thinned(*curve) for name, curve in curves.items()}
    return result | {"reliability": reliability(p, y)}


def _on_rows(metric: Callable[[Any, Any], float], p: Array, y: Array, rows: npt.NDArray[np.int64]) -> float:
    return metric(p[rows], y[rows])


def write_report(out: Path, result: dict[str, Any]) -> None:
    """Write evaluation.json (strict JSON), evaluation.md and evaluation.html into `out`."""
    from inference.evaluation.evaluation_page import evaluation_html, evaluation_markdown

    out.mkdir(parents=True, exist_ok=True)
    (out / "evaluation.json").write_text(strict_json(result))
    (out / "evaluation.md").write_text(evaluation_markdown(result))
    (out / "evaluation.html").write_text(evaluation_html(result))
