"""What readers' verdicts say of images: for each finding whether it is there.

A verdict on a finding says whether that finding is there, and nothing of the others. A verdict that none of the
findings is there says so of each; one that something is there says so of any finding alone. Any finding is there where
a reader says so of one; that nothing is there is known only where a reader says just that. A later verdict of a reader
takes the place of an earlier one on the same finding. Where readers differ the majority counts, and where they are
equally many nothing is known.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from inference.arrays import FloatArray
from inference.prediction import ANY_FINDING

NOTHING = "none"  # the finding of a verdict that none is there
#: Results hold probabilities with four decimals: one that reads 0 lies between 0 and this.
LEAST = 5e-5


@dataclass(frozen=True)
class ReaderVerdict:
    """What one reader says of one finding in one image."""

    image: str
    patient: str
    view: str  # "PA", "AP", or another text if it is not known
    finding: str  # or NOTHING
    present: bool
    reader: str
    shipped: Mapping[str, float]  # the bundle's probability of each finding, and of ANY_FINDING


@dataclass(frozen=True)
class Labels:
    """The images of which it is known whether a finding is there."""

    probabilities: FloatArray  # [n], the bundle's
    targets: FloatArray  # [n], 0 or 1
    patients: npt.NDArray[np.str_]  # [n]
    views: npt.NDArray[np.str_]  # [n]
    shipped: tuple[Mapping[str, float], ...]  # [n], the bundle's probabilities of all findings

    def take(self, chosen: npt.NDArray[np.bool_]) -> "Labels":
        """Return the rows that are chosen."""
        kept = tuple(one for one, keep in zip(self.shipped, chosen, strict=True) if keep)
        return Labels(self.probabilities[chosen], self.targets[chosen], self.patients[chosen], self.views[chosen], kept)


def labels_of(verdicts: Iterable[ReaderVerdict], names: Sequence[str]) -> tuple[dict[str, Labels], int]:
    """Return the labels of each of `names`, and of how many findings of images readers are equally divided.

    `verdicts` come in the order in which they were given.
    """
    images: dict[str, dict[str, list[ReaderVerdict]]] = defaultdict(lambda: defaultdict(list))
    for verdict in verdicts:
        images[verdict.image][verdict.reader].append(verdict)
    rows: dict[str, list[tuple[ReaderVerdict, bool]]] = {name: [] for name in names}
    divided = 0
    for readers in images.values():
        said = [_said(own, names) for own in readers.values()]
        newest = next(reversed(readers.values()))[-1]
        for name in names:
            votes = [one[name] for one in said if name in one]
            if votes and 2 * sum(votes) == len(votes):
                divided += 1
            elif votes and name in newest.shipped:
                rows[name].append((newest, 2 * sum(votes) > len(votes)))
    return {name: _labels(name, row) for name, row in rows.items()}, divided


def _said(verdicts: Sequence[ReaderVerdict], names: Sequence[str]) -> dict[str, bool]:
    """Return what one reader says of one image."""
    said: dict[str, bool] = {}
    something: bool | None = None
    for verdict in verdicts:
        if verdict.finding != NOTHING:
            said[verdict.finding] = verdict.present
            continue
        something = verdict.present
        if not something:
            said.update(dict.fromkeys(names, False))
    said.pop(ANY_FINDING, None)
    if any(said.values()):
        something = True
    return said if something is None else {**said, ANY_FINDING: something}


def _labels(name: str, rows: Sequence[tuple[ReaderVerdict, bool]]) -> Labels:
    probabilities = np.array([verdict.shipped[name] for verdict, _ in rows], np.float64)
    return Labels(
        np.clip(probabilities, LEAST, 1 - LEAST),
        np.array([present for _, present in rows], np.float64),
        np.array([verdict.patient for verdict, _ in rows], np.str_),
        np.array([verdict.view for verdict, _ in rows], np.str_),
        tuple(verdict.shipped for verdict, _ in rows),
    )
