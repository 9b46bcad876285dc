"""The pictures and boxes with which the rule for locations is fitted: `hilum model location`.

Boxes of patients are in a CSV file with the columns file, finding, x, y, w, h: a file of the manifests, a label of the
bundle, and the box's top left corner, width and height in pixels of that file. Without such a file, lesions are drawn
into pictures without a finding (`drawn_lesions`).
"""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from inference.bundle import PACKAGED, load_bundle, pin_packaged
from inference.errors import BundleError, DataError
from inference.evaluation.data import FINDINGS, Row, Source, Table, pictures, read_table
from inference.pictures import display_values
from inference.preprocess import Image
from inference.serving.classifier import Classifier
from inference.training.location.drawn_lesions import Marked, lesions
from inference.training.location.fit_location import fit_location

ADULT = 18  # years
DRAWINGS = "lesions that were drawn into real radiographs"
COLUMNS = ("file", "finding", "x", "y", "w", "h")


def refit_location(
    data: Path, directory: Path, boxes: Path | None = None, *, manifests: Sequence[str] = (),
    ignored: Sequence[str] = (), method: str = "cam", precision: str = "low", plain: int = 256, each: int = 300,
    seed: int = 0,
) -> dict[str, Any]:  # fmt: skip
    """Fit one method's rule for locations of the bundle in `directory`, and return what `fit_location` returns.

    Mean maps are made from `plain` pictures of `data` without a box. With `boxes`, the maps are compared with the boxes
    in that file; without, with up to `each` drawings of each finding that can be drawn. Patients who are known to be
    minors, and cohorts that were selected by label, are left out. A bundle of the package is pinned again. Raises
    DataError, BundleError, and what reading files raises.
    """
    if not (directory / "configs/metadata.json").is_file():
        raise BundleError(f"{directory} is not a bundle: it has no configs/metadata.json")
    classifier, rng = Classifier(load_bundle(directory)), np.random.default_rng(seed)
    table = read_table(data, manifests, tuple(dict.fromkeys((*FINDINGS, *classifier.bundle.labels))), ignored)
    if boxes:
        rows = read_boxes(boxes, table, classifier.bundle.labels)
        boxed = {row.file for row, *_ in rows}
        marked, words = _boxed(rows), f"boxes of {boxes.name}"
    else:
        boxed, words = set(), DRAWINGS
        marked = _drawn(table, classifier, each, rng)
    rest = _chosen(table, [i for i in _adults(table) if table.rows[i].file not in boxed], plain, rng)
    part = fit_location(classifier, _with_patients(rest, classifier), marked, words, method, precision)
    if directory.resolve().parent == PACKAGED:
        pin_packaged(directory.resolve().name)
    return part


def read_boxes(file: Path, table: Table, labels: Sequence[str]) -> list[tuple[Row, str, tuple[float, ...]]]:
    """Return (row of the table, finding, (x, y, w, h)) for each line of a file of boxes.

    Raises DataError for a file without the columns, and for a line whose file, finding or numbers are not usable.
    """
    by_name, found = {row.file: row for row in table.rows}, []
    with file.open(newline="", encoding="utf-8") as lines:
        reader = csv.DictReader(lines)
        if not set(COLUMNS) <= set(reader.fieldnames or ()):
            raise DataError(f"{file} has the columns {reader.fieldnames}, expected {', '.join(COLUMNS)}")
        for number, line in enumerate(reader, start=2):
            where = f"{file}, line {number}"
            if line["file"] not in by_name:
                raise DataError(f"{where}: no manifest lists {line['file']}")
            if line["finding"] not in labels:
                raise DataError(f"{where}: {line['finding']} is not a label of the bundle ({', '.join(labels)})")
            try:
                box = tuple(float(line[key]) for key in ("x", "y", "w", "h"))
            except (TypeError, ValueError):
                raise DataError(f"{where}: x, y, w, h are not four numbers") from None
            if not np.isfinite(box).all() or min(box[2:]) <= 0:
                raise DataError(f"{where}: the box is {box}, expected finite numbers and a width and height above 0")
            found.append((by_name[line["file"]], line["finding"], box))
    return found


def _boxed(rows: Sequence[tuple[Row, str, tuple[float, ...]]]) -> Iterator[Marked]:
    sources = {manifest: Source(manifest) for manifest in {row.manifest for row, *_ in rows}}
    for row, finding, (x, y, w, h) in rows:
        picture = display_values(sources[row.manifest].read(row.file), row.file)
        yield Marked(picture, finding, row.patient_id, (x, y, w, h))


def _drawn(table: Table, classifier: Classifier, each: int, rng: np.random.Generator) -> Iterator[Marked]:
    """Yield drawn lesions in pictures of adults without a finding: three pictures for each drawing."""
    healthy = [i for i in _adults(table) if not any(table.rows[i].targets)]
    chosen = list(_with_patients(_chosen(table, healthy, 3 * each, rng), classifier))
    return lesions(chosen, classifier.bundle.labels, each, rng)


def _adults(table: Table) -> list[int]:
    apart = np.flatnonzero(~table.confounded)
    return [int(i) for i in apart if not table.rows[int(i)].age < ADULT]  # an unknown age is nan, and is kept


def _chosen(table: Table, rows: Sequence[int], most: int, rng: np.random.Generator) -> Table:
    return table.take(rng.permutation(np.array(rows, np.int64))[:most])


def _with_patients(table: Table, classifier: Classifier) -> Iterator[tuple[Image, str]]:
    side = max(classifier.bundle.input_size)
    for picture, row in zip(pictures(table), table.rows, strict=True):
        yield _reduced(picture, side), row.patient_id


def _reduced(picture: Image, side: int) -> Image:
    """Return the means of k x k pixels, both sides at least `side` long if they were: the network sees no more."""
    factor = max(1, min(picture.shape) // side)
    rows, columns = (length // factor for length in picture.shape)
    parts = picture[: rows * factor, : columns * factor].reshape(rows, factor, columns, factor)
    return np.asarray(parts.mean(axis=(1, 3)), np.float32)
