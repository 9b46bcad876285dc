"""Dividing patients into a part to train on and a part to calibrate on, and the findings that both can bear."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from inference.errors import DataError
from inference.evaluation.data import Table, fold_of

LEAST = 10  # positives that a finding needs in each part: fewer teach nothing, and calibrate to silence
_COUNTS = (10, 5, 4, 3)  # of folds: a tenth is held out if that is enough for every finding

Flags = npt.NDArray[np.bool_]
Remark = Callable[[str], None]


def stratified_folds(table: Table, count: int) -> npt.NDArray[np.int64]:
    """Return the fold of each row, 0 to `count` - 1, with each finding's positives spread evenly over the folds.

    All rows of a patient are in the same fold. Unlike that of `Table.folds`, it depends on the whole table.
    """
    patients, codes = np.unique(table.patients, return_inverse=True)
    counts = np.zeros((len(patients), len(table.findings) + 1))
    np.add.at(counts, codes, np.pad(np.nan_to_num(table.targets), ((0, 0), (0, 1))))
    counts[:, -1] = ~counts.any(axis=1)  # the last column: patients without a finding
    number = np.bincount(codes)
    rarest = np.argsort(counts.sum(axis=0), kind="stable")
    first = np.argmax(counts[:, rarest] > 0, axis=1)  # each patient is dealt out by the rarest finding that he has
    filled, images, result = np.zeros((count, counts.shape[1])), np.zeros(count), np.zeros(len(patients), np.int64)
    for i in sorted(range(len(patients)), key=lambda i: (first[i], fold_of(str(patients[i]), 2**64))):
        best = int(np.lexsort((images, filled[:, rarest[first[i]]]))[0])
        result[i] = best
        filled[best] += counts[i]
        images[best] += number[i]
    return np.asarray(result[codes])


def fitting_count(table: Table) -> int:
    """Return in how many folds to divide, one of which is held out: 10, or fewer if a finding then has more positives.

    As many as possible are taken with which no finding is left out that three folds would keep.
    """
    kept = {}
    for count in _COUNTS:
        held = stratified_folds(table, count) == 0
        kept[count] = {name for name, counts in _positives(table, [~held, held]).items() if min(counts) >= LEAST}
    return next(count for count in _COUNTS if kept[count] >= kept[_COUNTS[-1]])


def common_findings(table: Table, held: Flags, remark: Remark) -> Table:
    """Return the table with the findings that have at least LEAST positives among the rows `held`, and among the rest.

    If no row is held out, the rest alone counts. `remark` is called with a sentence that names what is left out. Raises
    DataError if nothing is left.
    """
    return _borne(table, {"in training": ~held} | ({"held out": held} if held.any() else {}), remark)


def common_findings_of_folds(table: Table, folds: npt.NDArray[np.int64], remark: Remark) -> Table:
    """Return the table with the findings that have at least LEAST positives outside of each fold, as `common_findings`.

    All rows are held out once, so that together they calibrate.
    """
    return _borne(table, {f"without fold {k}": folds != k for k in np.unique(folds)}, remark)


def _borne(table: Table, parts: Mapping[str, Flags], remark: Remark) -> Table:
    positives = _positives(table, list(parts.values()))
    rare = {name: counts for name, counts in positives.items() if min(counts) < LEAST}
    said = "; ".join(f"{name} ({', '.join(f'{n} {part}' for n, part in zip(counts, parts, strict=True))})"
                     for name, counts in rare.items())  # fmt: skip
    if len(rare) == len(table.findings):
        raise DataError(f"no finding has {LEAST} positive images in each part of the data: {said}")
    if rare:
        remark(f"left out, because a finding needs {LEAST} positive images in each part of the data: {said}")
    return table.with_findings([name for name in table.findings if name not in rare]) if rare else table


def _positives(table: Table, parts: Sequence[Flags]) -> dict[str, list[int]]:
    """Return how many positive images each finding has in each part."""
    counts = np.array([np.nansum(table.targets[part], axis=0) for part in parts]).astype(int)
    return dict(zip(table.findings, counts.T.tolist(), strict=True))
