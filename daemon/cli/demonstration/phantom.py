"""`hilum phantom`: writes drawn radiographs, as pictures that `hilum train` reads or as DICOM files."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from dicom_io.phantom.studies import drawn_study
from dicom_io.phantom.thorax import BITS, DrawnFinding, draw_thorax

#: What is drawn, in turn, and the name under which the manifest and the models know it.
LABELS: dict[DrawnFinding, str] = {
    "none": "", "effusion": "Effusion", "pneumothorax": "Pneumothorax", "cardiomegaly": "Cardiomegaly", "mass": "Mass",
}  # fmt: skip
NAMED = sorted(filter(None, LABELS.values()))
ROWS = 256  # of a picture; its columns vary as the shapes of detectors do
NARROWEST, WIDEST = 0.8, 1.0  # columns for each row
DICOM_SIZE = (1250, 1024)


def write_drawings(out: Path, count: int, seed: int, dicom: bool) -> Path:
    """Draw `count` radiographs with the seeds from `seed` on, write them to `out`, and return the manifest.

    The pictures are out/drawn/<seed>.png, and the manifest out/drawn.csv. A picture that is there already is kept. With
    `dicom`, each drawing is also written as out/dicom/<seed>.dcm. Raises OSError.
    """
    (out / "drawn").mkdir(parents=True, exist_ok=True)
    rows = [_row(number, finding) for number, finding in _plan(count, seed)]
    for number, finding in _plan(count, seed):
        _write_picture(out / f"drawn/{number}.png", number, finding)
        if dicom:
            (out / "dicom").mkdir(exist_ok=True)
            (out / f"dicom/{number}.dcm").write_bytes(drawn_study(number, finding, *DICOM_SIZE).data)
    manifest = out / "drawn.csv"
    with manifest.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return manifest


def _plan(count: int, seed: int) -> Iterator[tuple[int, DrawnFinding]]:
    """Yield seed and finding of each drawing."""
    kinds = list(LABELS)
    return ((seed + i, kinds[i % len(kinds)]) for i in range(count))


def _row(number: int, finding: DrawnFinding) -> dict[str, Any]:
    targets = {name: int(LABELS[finding] == name) for name in NAMED}
    # no view: what is learned of drawings holds for all views that the headers of drawings state
    return {"file": f"{number}.png", "patient_id": f"drawn{number}", "view": ""} | targets


def _write_picture(file: Path, number: int, finding: DrawnFinding) -> None:
    if file.is_file():
        return
    columns = round(ROWS * np.random.default_rng((number, 1)).uniform(NARROWEST, WIDEST))
    levels = draw_thorax(number, finding, ROWS, columns)
    part = file.with_suffix(".part")
    Image.fromarray((levels >> (BITS - 8)).astype(np.uint8)).save(part, "PNG")
    part.replace(file)
