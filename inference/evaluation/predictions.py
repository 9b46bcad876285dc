"""predictions.csv: what an evaluation saw of each picture, from which any other program can compute its figures."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt

from inference.arrays import Array
from inference.evaluation.data import Table


def write_predictions(
    path: Path, table: Table, names: Sequence[str], probabilities: Array, targets: Array, above: npt.NDArray[Any],
    seen: npt.NDArray[Any] | None,
) -> None:  # fmt: skip
    """Write a row for each picture, with three columns for each of `names`, "Effusion" for example:

        Effusion                1, 0, or blank where it is not labelled
        Effusion probability    calibrated, with all its digits
        Effusion call           1 if it is called, that is above its threshold for the picture's view, else 0

    `counted` is 1 for the pictures over which the figures of the findings are: those of no cohort that was selected by
    label. `trained_on` is 1 for those on which the model was trained, blank if it does not say (`seen` is None).
    `probabilities`, `targets` and `above` are [n, names].
    """
    head = ["file", "patient_id", "age", "sex", "view", "cohort", "counted", "trained_on"]
    head += [column for name in names for column in (name, f"{name} probability", f"{name} call")]
    counted = table.counted
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(head)
        for i, row in enumerate(table.rows):
            known = [row.file, row.patient_id, _number(row.age), row.sex, row.view, row.cohort, int(counted[i])]
            cells = [
                cell for p, y, call in zip(probabilities[i], targets[i], above[i], strict=True)
                for cell in (_number(y), repr(float(p)), int(call))
            ]  # fmt: skip
            writer.writerow([*known, "" if seen is None else int(seen[i]), *cells])


def _number(value: float) -> str:
    return "" if value != value else f"{value:g}"
