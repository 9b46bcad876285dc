"""Which columns a manifest may have, what their cells mean, and what is said of a column that is not known."""

import csv
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from inference.errors import DataError

REQUIRED = ("file", "patient_id")
DESCRIBING = ("age", "sex", "view", "follow_up", "cohort")
REMARKS = ("labels", "bbox", "note")  # for people: they are not read
_LABELS = {"": float("nan"), "-1": float("nan"), "-1.0": float("nan"), "nan": float("nan"), "0": 0.0, "0.0": 0.0,
           "1": 1.0, "1.0": 1.0}  # fmt: skip


def label_of(cell: str | None, where: str) -> float:
    """Return 1 or 0, or nan where the finding is not labelled: a blank cell, or -1 (uncertain, in CheXpert's labels).

    `where` names the cell in the message. Raises DataError for anything else.
    """
    value = _LABELS.get((cell or "").strip().lower())
    if value is None:
        raise DataError(f"{where} is {cell!r}, expected 1 (there), 0 (not there), or blank or -1 (not labelled)")
    return value


def number_of(cell: str | None) -> float:
    """Return the number in a cell, nan for anything else."""
    try:
        return float(cell or "nan")
    except ValueError:
        return float("nan")


def read_columns(path: Path) -> list[str]:
    """Return the names of a CSV file's columns. Raises DataError if there is no such file, or no text in it."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return next(csv.reader(file), [])
    except FileNotFoundError:
        raise DataError(f"{path} is missing") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is not a CSV file in UTF-8: {error}") from error


def lacks(columns: Sequence[str], findings: Sequence[str]) -> str:
    """Return what a manifest with these columns has to have besides them, as the end of a sentence; "" if nothing."""
    missing = [_missing(name, columns) for name in REQUIRED if name not in columns]
    if set(findings).isdisjoint(columns):
        missing.append(f"no column of a finding (known: {', '.join(findings)}; others with --findings)")
    return " and ".join(missing)


def _missing(name: str, columns: Sequence[str]) -> str:
    near = get_close_matches(name, columns, 1)
    return f"no column {name}" + (f" (is {near[0]!r} meant to be it?)" if near else "")


def ensure_known(path: Path, columns: Sequence[str], findings: Sequence[str], ignored: Sequence[str]) -> None:
    """Raise DataError if a manifest has a column that is not known and not `ignored`, or one column twice."""
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        raise DataError(f"{path} has more than one column {', '.join(twice)}: leave one of them out")
    known = (*REQUIRED, *DESCRIBING, *REMARKS, *findings)
    strays = [name for name in columns if name not in known and name not in ignored]
    if strays:
        said = ", ".join(name + _suggested(name, known) for name in strays)
        raise DataError(f"{path} has columns that are not known: {said}. Correct the name, name all columns of "
                        "findings with --findings, or leave it out with --ignore-column NAME")  # fmt: skip


def _suggested(name: str, known: Sequence[str]) -> str:
    by_spelling = {other.lower().replace("_", " "): other for other in known}
    near = get_close_matches(name.lower().replace("_", " "), by_spelling, 1, 0.75)
    return f" (did you mean {by_spelling[near[0]]}?)" if near else ""
