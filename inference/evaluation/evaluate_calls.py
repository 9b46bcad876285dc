"""Evaluating the calls of a bundle: how often they are right, by view, and how often they disturb over nothing."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from inference.arrays import Array, FloatArray
from inference.evaluation.call_figures import Flags, call_figures, finding_calls, likely_figures, trade_off
from inference.evaluation.data import Table
from inference.evaluation.metrics import once_each
from inference.prediction import ABOVE
from inference.serving.calibration import Calibration

MOST_LIKELY = "most likely"


class Calls(NamedTuple):
    """The calls for n pictures and some findings of a bundle."""

    assessed: Flags  # [n, findings]
    above: Flags  # [n, findings + 1], the last of any finding
    margins: FloatArray  # [n, findings], minus infinity where the finding is not assessed
    likely: npt.NDArray[np.int64]  # [n], the number of the most likely finding, or -1 where none is named


def make_calls(calibration: Calibration, table: Table, scores: Array, labels: Sequence[str]) -> Calls:
    """Return the calls for the rows of `table` from their calibrated probabilities [n, labels of the bundle + 1].

    `labels` names the findings of which the calls are returned, and their order.
    """
    predictions = [calibration.prediction(p, row.view) for p, row in zip(scores, table.rows, strict=True)]
    columns = [calibration.labels.index(label) for label in labels]
    findings = [[prediction.findings[k] for k in columns] for prediction in predictions]
    margins = np.array([[-np.inf if f.margin is None else f.margin for f in row] for row in findings])
    found = [[f.call == ABOVE for f in row] for row in findings]
    names = [prediction.most_likely and prediction.most_likely.finding for prediction in predictions]
    return Calls(
        np.isfinite(margins),
        np.column_stack([found, [prediction.pathology is True for prediction in predictions]]),
        margins,
        np.array([labels.index(name) if name in labels else -1 for name in names]),
    )


def evaluate_calls(
    calls: Calls, table: Table, names: Sequence[str], targets: Array, groups: dict[str, npt.NDArray[np.int64]],
    rounds: int = 200,
) -> dict[str, Any]:  # fmt: skip
    """Return the figures of the calls for `targets` [n, findings + 1], whose last column is that of any finding.

    "groups" holds `call_figures` for each of `groups` (row numbers by name), where any finding counts as a call too;
    "by_patient" holds the same with each patient counting once, however many images there are of him;
    "findings" holds `finding_calls` by group and finding, "trade_off" what other thresholds would give, and
    "most likely" how often the finding that is named is there.
    """
    patients, every = table.patients, groups["all"]
    figures, once, findings, curves = {}, {}, {}, {}
    for name, rows in groups.items():
        if not len(rows):
            continue
        sick, y = targets[rows, -1], targets[rows, :-1]
        figures[name] = call_figures(calls.above[rows, :-1], y, sick, patients[rows], rounds)
        once[name] = call_figures(calls.above[rows, :-1], y, sick, patients[rows], rounds, once_each(patients[rows]))
        figures[name]["any_finding_false_call_share"] = _share(calls.above[rows, -1][sick == 0])
        findings[name] = {
            label: finding_calls(calls.above[rows, k], targets[rows, k])
            for k, label in enumerate(names[:-1])
            if calls.assessed[rows, k].any()
        }
        curves[name] = trade_off(calls.margins[rows], y, sick)
    likely = likely_figures(calls.likely[every], targets[every, :-1], patients[every], rounds)
    return {"groups": figures, "by_patient": once, "findings": findings, "trade_off": curves, MOST_LIKELY: likely}


def _share(flags: Flags) -> float:
    return float(flags.mean()) if len(flags) else float("nan")
