"""Labelled radiographs on disk: manifests, pictures, and folds in which no patient is on both sides.

A data directory holds one or more manifests `<name>.csv` beside `<name>.zip` or a folder `<name>/` with the pictures
(PNG or JPEG, found by their base name). A manifest has a row for each picture:

    file, patient_id       required
    age, sex, view, follow_up, cohort      optional
    one column for each finding, 1 or 0    every column named in `FINDINGS` (or in `findings=`)

A picture that several manifests list, under whatever suffix, counts once: the first manifest in alphabetical order.
"""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import numpy.typing as npt

from inference.arrays import Array
from inference.errors import DataError
from inference.pictures import display_values
from inference.preprocess import Image, Transform, preprocess

#: The fourteen labels of ChestX-ray14 (Wang et al., CVPR 2017), in alphabetical order: the order of the manifests'
#: columns and of the outputs of the networks trained here. `bundle_writer.LABELS` holds the same labels in the order of
#: published networks. Both orders are file formats and must not change.
FINDINGS = (
    "Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Effusion", "Emphysema", "Fibrosis", "Hernia",
    "Infiltration", "Mass", "Nodule", "Pleural_Thickening", "Pneumonia", "Pneumothorax",
)  # fmt: skip
PATHOLOGY = "Pathology"  # the extra output of a network: whether any finding is present

#: The patients of these cohorts were selected by their labels, so the cohort itself gives the label away. A figure over
#: them says little; they are neither mixed with other cohorts nor used for calibration.
CONFOUNDED = ("talo",)
COMMON = 30  # positives that a finding needs within a group to count in the group's mean


@dataclass(frozen=True)
class Row:
    """One labelled picture. `age` is nan and strings are "" where the manifest does not say."""

    file: str
    manifest: Path
    patient_id: str
    age: float
    sex: str
    view: str
    follow_up: float
    cohort: str
    targets: tuple[float, ...]  # 0 or 1 for each finding


@dataclass(frozen=True)
class Table:
    """The rows of a data directory, and the names of the targets' columns."""

    findings: tuple[str, ...]
    rows: tuple[Row, ...]

    @property
    def targets(self) -> Array:
        """float32 [n, findings]."""
        return np.array([row.targets for row in self.rows], np.float32).reshape(len(self.rows), len(self.findings))

    @property
    def patients(self) -> npt.NDArray[np.str_]:
        return np.array([row.patient_id for row in self.rows])

    @property
    def cohorts(self) -> npt.NDArray[np.str_]:
        return np.array([row.cohort for row in self.rows])

    @property
    def confounded(self) -> npt.NDArray[np.bool_]:
        """Whether each row belongs to a cohort of `CONFOUNDED`."""
        return np.isin(self.cohorts, CONFOUNDED)

    def folds(self, count: int) -> npt.NDArray[np.int64]:
        """The fold 0..count-1 of each row."""
        return np.array([fold_of(row.patient_id, count) for row in self.rows], np.int64)

    def take(self, chosen: Sequence[int] | npt.NDArray[np.int64]) -> "Table":
        """The rows with these numbers."""
        return Table(self.findings, tuple(self.rows[int(i)] for i in chosen))


def targets_with_pathology(table: Table) -> Array:
    """float32 [n, findings + 1]: the last column is 1 where any finding is present."""
    targets = table.targets
    return np.concatenate([targets, targets.max(axis=1, keepdims=True)], axis=1)


def fold_of(patient_id: str, count: int) -> int:
    """A patient's fold: a function of the identifier alone, so that more data never moves a patient."""
    return int(sha256(patient_id.encode()).hexdigest(), 16) % count


def read_table(directory: Path, manifests: Sequence[str] = (), findings: Sequence[str] = FINDINGS) -> Table:
    """The labelled pictures of `directory`; `manifests` names the CSV files (without suffix), default: all that fit.

    Raises DataError.
    """
    names = [directory / f"{name}.csv" for name in manifests] or sorted(directory.glob("*.csv"))
    present = [(path, columns) for path in names if (columns := _columns(path, bool(manifests)))]
    shared = tuple(f for f in findings if all(f in columns for _, columns in present))
    if not present or not shared:
        raise DataError(f"{directory} holds no manifest (CSV with file, patient_id and columns of findings such as "
                        f"{', '.join(findings[:3])})")  # fmt: skip
    seen: dict[str, Row] = {}
    for path, _ in present:
        for row in _rows(path, shared):
            seen.setdefault(Path(row.file).stem, row)
    return Table(shared, tuple(seen.values()))


def _columns(path: Path, demanded: bool) -> list[str]:
    """The manifest's columns; none for a CSV file that is no manifest of ours."""
    if not path.is_file():
        raise DataError(f"{path} is missing")
    with path.open(newline="", encoding="utf-8") as file:
        columns = next(csv.reader(file), [])
    fits = {"file", "patient_id"} <= set(columns) and not set(FINDINGS).isdisjoint(columns)
    if demanded and not fits:
        raise DataError(f"{path} has the columns {columns[:8]}, expected file, patient_id and findings")
    return columns if fits or demanded else []


def _rows(path: Path, findings: Sequence[str]) -> Iterator[Row]:
    with path.open(newline="", encoding="utf-8") as file:
        for number, row in enumerate(csv.DictReader(file), start=2):
            try:
                targets = tuple(float(row[f]) for f in findings)
            except (TypeError, ValueError):
                raise DataError(f"{path}, line {number}: a finding is neither 0 nor 1") from None
            yield Row(
                row["file"], path, row["patient_id"], _number(row.get("age")), row.get("sex") or "",
                row.get("view") or "", _number(row.get("follow_up")), row.get("cohort") or path.stem, targets,
            )  # fmt: skip


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return float("nan")


def pictures(table: Table) -> Iterator[Image]:
    """The picture of each row as display values, float32 [rows, columns] in 0..1. Raises DataError."""
    sources = {manifest: Source(manifest) for manifest in {row.manifest for row in table.rows}}
    for row in table.rows:
        yield display_values(sources[row.manifest].read(row.file), row.file)


def preprocessed(table: Table, transforms: Sequence[Transform]) -> list[Array]:
    """For each transform, float32 [n, channels, S, S]: what the function that serving uses makes of each row."""
    first = next(pictures(table.take([0])))
    results = [np.empty((len(table.rows), *preprocess(t, first).shape), np.float32) for t in transforms]
    for i, picture in enumerate(pictures(table)):
        for result, transform in zip(results, transforms, strict=True):
            result[i] = preprocess(transform, picture)
    return results


class Source:
    """Where a manifest's pictures lie: a ZIP archive or a folder of the same name. Raises DataError."""

    def __init__(self, manifest: Path) -> None:
        folder, archive = manifest.with_suffix(""), manifest.with_suffix(".zip")
        self.archive = ZipFile(archive) if archive.is_file() else None
        if self.archive is None and not folder.is_dir():
            raise DataError(f"neither {archive} nor {folder}/ is there")
        names = self.archive.namelist() if self.archive else [str(p) for p in folder.rglob("*") if p.is_file()]
        self.where = {Path(name).name: name for name in names}
        self.manifest = manifest

    def read(self, file: str) -> bytes:
        """The content of a file of the manifest. Raises DataError."""
        name = self.where.get(Path(file).name)
        if name is None:
            raise DataError(f"{self.manifest} lists {file}, which is not in {self.manifest.stem}.zip or its folder")
        return self.archive.read(name) if self.archive else Path(name).read_bytes()
