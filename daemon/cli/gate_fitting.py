"""`hilum model gate`: fits a bundle's gate to radiographs, to DICOM files of other things, and to drawn chests.

It belongs to the daemon because it needs both `inference`, for the gate, and `dicom_io`, to decode and draw pictures.
"""

import csv
import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dicom_io.image.decode import decode
from dicom_io.image.no_picture import NoPicture
from dicom_io.phantom.lateral import draw_lateral
from dicom_io.phantom.studies import phantom_studies
from dicom_io.phantom.thorax import BITS, FINDINGS, draw_thorax
from inference.bundle import PACKAGED, load_bundle, pin_packaged
from inference.errors import BundleError, DataError
from inference.evaluation.columns import number_of, read_columns
from inference.evaluation.data import Source
from inference.evaluation.evaluate_gate import ADULT
from inference.pictures import display_values
from inference.preprocess import Image
from inference.serving.classifier import Classifier
from inference.training.fit_gate import EXPECTS, Example, fit_gate

DRAWN = "drawn chest"
DRAWN_EACH = 16  # chests drawn with each finding
LATERALS = 200  # chests drawn from the side
MADE_EACH = 300  # counter-examples of each kind that are made of the pictures that pass, or `most`
SEED = 1000  # of the drawings; those of the demonstration have other seeds
SIDE = 128  # pixels: a picture that is reduced keeps at least as many a side
#: Files whose header says chest although they show something else: a dog from the side.
NOT_FRONTAL = ("ImagingDataCommons__dx_image.dcm",)


def refit_gate(
    data: Path, directory: Path, chests: Sequence[str], others: Sequence[str], dicom: str, expects: str | None = None,
    most: int = 3000,
) -> dict[str, Any]:  # fmt: skip
    """Fit the gate of the bundle in `directory`, and return how good it is. This is also written to its docs/gate.json.

    `chests` and `others` name CSV files in `data` with a column `file`, each beside a folder or a ZIP archive of the
    same name with the pictures; without `chests`, these are all manifests in `data`, of whatever pictures pass. Drawn
    counter-examples, and those made of the chests, are always used: there need be no others. At most `most` pictures of
    each of `chests`, and a fourth of that of each of `others`, are used; patients who are known to be minors are left
    out. `dicom` names such a CSV file of DICOM files, which are all counter-examples except those whose `scope` is
    "chest"; "" names none. `expects` completes "the picture does not look like". A bundle of the package is pinned
    again. Raises DataError, BundleError, and what reading files raises.
    """
    if not (directory / "configs/metadata.json").is_file():
        raise BundleError(f"{directory} is not a bundle: it has no configs/metadata.json")
    named = [name for name in chests if name] or _manifests(data, [*others, dicom])
    adults = [example for name in named for example in _pictures(data / f"{name}.csv", most)]
    if not adults:
        raise DataError(f"{data}: no picture of an adult in {', '.join(f'{name}.csv' for name in named)}")
    rest = [example for name in filter(None, others) for example in _pictures(data / f"{name}.csv", most // 4)]
    studies = list(_phantoms())
    drawn = [*_drawn(), *(example for example in studies if example.kind == DRAWN)]
    rest += [
        *_laterals(min(LATERALS, most)),
        *(_dicom_files(data / f"{dicom}.csv") if dicom else ()),
        *(example for example in studies if example.kind != DRAWN),
    ]
    worth = fit_gate(
        Classifier(load_bundle(directory), precision="f32"),
        adults,
        rest,
        drawn=drawn,
        expects=expects or EXPECTS,
        per_kind=min(MADE_EACH, most),
    )
    (directory / "docs").mkdir(exist_ok=True)
    (directory / "docs/gate.json").write_text(json.dumps(worth, indent=1) + "\n")
    if directory.resolve().parent == PACKAGED:
        pin_packaged(directory.resolve().name)
    return worth


def _manifests(data: Path, but: Sequence[str]) -> list[str]:
    """Return the names of the manifests in `data`, but for those named. Raises DataError if there are none."""
    files = [path for path in sorted(data.glob("*.csv")) if path.stem not in but]
    found = [path.stem for path in files if {"file", "patient_id"} <= set(read_columns(path))]
    if not found:
        raise DataError(f"{data} holds no manifest, a CSV file with the columns file and patient_id: name the CSV "
                        "files of the pictures that pass with --chests")  # fmt: skip
    return found


def _pictures(manifest: Path, most: int) -> Iterator[Example]:
    rows, source = [row for row in _rows(manifest) if not number_of(row.get("age")) < ADULT], Source(manifest)
    for i in np.random.default_rng(0).permutation(len(rows))[:most]:
        row = rows[i]
        patient = row.get("patient_id") or row.get("patient_group") or row["file"]
        picture = _reduced(display_values(source.read(row["file"]), row["file"]))
        yield Example(picture, manifest.stem, patient)


def _reduced(picture: Image) -> Image:
    """Return the means of k x k pixels: thousands of pictures are varied, and networks see still fewer pixels."""
    factor = max(1, min(picture.shape) // SIDE)
    rows, columns = (side // factor for side in picture.shape)
    parts = picture[: rows * factor, : columns * factor].reshape(rows, factor, columns, factor)
    return np.asarray(parts.mean(axis=(1, 3)), np.float32)


def _dicom_files(manifest: Path) -> Iterator[Example]:
    """Yield the files that can be decoded and are not frontal chests, with the body part as their kind."""
    for row in _rows(manifest):
        if row["scope"] == "chest" and row["file"] not in NOT_FRONTAL:
            continue
        try:
            picture = decode(manifest.with_suffix("") / row["file"], size_hint=SIDE)
        except NoPicture:
            continue
        yield Example(_reduced(picture), (row["body_part"] or row["study_description"]).lower(), row["file"])


def _rows(manifest: Path) -> list[dict[str, str]]:
    if "file" not in read_columns(manifest):
        raise DataError(f"{manifest} has no column file")
    with manifest.open(newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


def _drawn() -> Iterator[Example]:
    for number in range(DRAWN_EACH * len(FINDINGS)):
        levels = draw_thorax(SEED + number, FINDINGS[number % len(FINDINGS)], 250, 205)
        yield Example(np.asarray(levels / (2**BITS - 1), np.float32), DRAWN, f"drawn {number}")


def _laterals(count: int) -> Iterator[Example]:
    for number in range(count):
        levels = draw_lateral(SEED + number, 250, 205)
        yield Example(np.asarray(levels / (2**BITS - 1), np.float32), "drawn lateral", f"lateral {number}")


def _phantoms() -> Iterator[Example]:
    """Yield the demonstration's studies, drawn with another seed and decoded. Those that are not chests are hands."""
    with tempfile.TemporaryDirectory() as directory:
        for study in phantom_studies(seed=SEED):
            file = Path(directory) / "phantom.dcm"
            file.write_bytes(study.data)
            if study.expectation != "refused":
                kind = DRAWN if study.expectation == "analysed" else "drawn hand"
                yield Example(_reduced(decode(file, size_hint=SIDE)), kind, study.name)
