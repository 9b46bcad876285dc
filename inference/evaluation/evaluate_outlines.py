"""What a segmentation is worth: how far its masks agree with true ones, and how far its counts are off."""

from typing import Any

import numpy as np
import numpy.typing as npt

from inference.arrays import FloatArray
from inference.errors import DataError
from inference.evaluation.outlines import OutlinedTable
from inference.serving.segmenter import Segmenter

Mask = npt.NDArray[np.bool_]


def evaluate_outlines(table: OutlinedTable, segmenter: Segmenter) -> dict[str, Any]:
    """Return the figures of a segmentation on pictures with masks.

    For each structure: "dice", the mean over the pictures that have the structure, with the 5th percentile;
    "false_area", the mean share of the picture that is outlined where there is none of it; and of a counted structure
    "count_error", the mean absolute difference of the numbers of regions, and "count_right", the share of pictures
    without one. Raises DataError if the structures are not those of the bundle.
    """
    labels = segmenter.bundle.labels
    if set(labels) - set(table.structures):
        raise DataError(f"the manifest has masks of {list(table.structures)}, but the bundle outlines {list(labels)}")
    rows: dict[str, list[tuple[float, float, int, int]]] = {label: [] for label in labels}
    refused, counted = 0, {s.label for s in segmenter.structures.all if s.counted}
    for picture in table.rows:
        pixels, regions = picture.read(segmenter.bundle.channels)
        (prediction,) = segmenter.predict([pixels])
        refused += not prediction.analysed
        for found in prediction.outlined:
            true = regions[table.structures.index(found.structure)]
            numbers = len(np.unique(true[true > 0]))
            rows[found.structure].append((dice(found.mask, true > 0), found.mask.mean(), numbers, found.count or 0))
    figures = {label: _figures(np.array(rows[label]), label in counted) for label in labels if rows[label]}
    return {"model": segmenter.model, "pictures": len(table.rows), "refused": refused, "structures": figures}


def dice(one: Mask, other: Mask) -> float:
    """Return the overlap of two masks: twice what they share by the sum of both; 1 where both are empty."""
    both = int(one.sum()) + int(other.sum())
    return 2 * int((one & other).sum()) / both if both else 1.0


def _figures(rows: FloatArray, counted: bool) -> dict[str, Any]:
    """`rows` are dice, share of the picture that is outlined, true number and found number of each picture."""
    there = rows[:, 2] > 0
    result: dict[str, Any] = {"pictures_with_it": int(there.sum())}
    if there.any():
        result |= {
            "dice": _round(rows[there, 0].mean()),
            "dice_5th_percentile": _round(np.quantile(rows[there, 0], 0.05)),
        }
    if not there.all():
        result["false_area"] = _round(rows[~there, 1].mean())
    if counted:
        errors = np.abs(rows[:, 2] - rows[:, 3])
        result |= {"count_error": _round(errors.mean()), "count_right": _round((errors == 0).mean())}
    return result


def _round(value: float) -> float:
    return round(float(value), 4)


def outlines_markdown(result: dict[str, Any]) -> str:
    """Return the figures as a table in Markdown."""
    lines = [
        f"{result['pictures']} pictures, {result['refused']} refused.", "",
        "| structure | pictures with it | Dice, mean | Dice, 5th percentile | false area | count error | count right |",
        "|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    keys = ("pictures_with_it", "dice", "dice_5th_percentile", "false_area", "count_error", "count_right")
    for label, row in result["structures"].items():
        lines.append(f"| {label} | " + " | ".join(str(row.get(key, "")) for key in keys) + " |")
    return "\n".join(lines)
