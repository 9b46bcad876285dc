"""Labelled radiographs on disk: manifests, pictures, and folds by patient.

A data directory holds one or more manifests `<name>.csv`, each beside `<name>.zip` or a folder `<name>/` with the
pictures (PNG or JPEG, found by their base name). A manifest has a row for each picture:

    file, patient_id                       required
    age, sex, view, follow_up, cohort      optional
    one column for each finding            those of `FINDINGS` (or of `findings=`): 1, 0, or blank or -1, not labelled
    labels, bbox, note                     optional, not read

Any other column is refused unless it is ignored by name. A finding that one of the manifests does not have is not
labelled in its pictures. Where a finding is not labelled, it counts neither in the training nor in any figure.

A picture that several manifests list, under any suffix, counts once, with the row of the first manifest in alphabetical
order.
"""

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import numpy.typing as npt

from inference.arrays import Array
from inference.errors import DataError
from inference.evaluation.columns import ensure_known, label_of, lacks, number_of, read_columns
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
    """One labelled picture. Numbers are nan and strings "" if the manifest does not state them."""

    file: str
    manifest: Path
    patient_id: str
    age: float  # years
    sex: str
    view: str
    follow_up: float  # number of the follow-up examination, 0 for the first one
    cohort: str  # the manifest's name if it states none
    targets: tuple[float, ...]  # 0 or 1 for each finding of the table, nan if it is not labelled
    sick: float  # 1 if any finding of the manifest is there, 0 if none is, nan if that is not known


@dataclass(frozen=True)
class Table:
    """The rows of a data directory, and the names of the targets' columns."""

    findings: tuple[str, ...]
    rows: tuple[Row, ...]

    @property
    def targets(self) -> Array:
        """float32 [n, findings]: 0, 1, or nan where a finding is not labelled."""
        return np.array([row.targets for row in self.rows], np.float32).reshape(len(self.rows), len(self.findings))

    @property
    def patients(self) -> npt.NDArray[np.str_]:
        """The patient's identifier of each row."""
        return np.array([row.patient_id for row in self.rows])

    @property
    def cohorts(self) -> npt.NDArray[np.str_]:
        """The cohort of each row."""
        return np.array([row.cohort for row in self.rows])

    @property
    def confounded(self) -> npt.NDArray[np.bool_]:
        """Whether each row belongs to a cohort of `CONFOUNDED`."""
        return np.isin(self.cohorts, CONFOUNDED)

    @property
    def sick(self) -> Array:
        """Whether any finding is there, float32 [n]: 0, 1, or nan where that is not known. Findings left out count."""
        return np.array([row.sick for row in self.rows], np.float32)

    @property
    def counted(self) -> npt.NDArray[np.bool_]:
        """Which rows count in figures over several cohorts: those of no confounded one, unless there are no others."""
        apart = ~self.confounded
        return apart if apart.any() else np.ones(len(apart), np.bool_)

    def folds(self, count: int) -> npt.NDArray[np.int64]:
        """Return the fold of each row, 0 to `count` - 1. All rows of a patient are in the same fold."""
        return np.array([fold_of(row.patient_id, count) for row in self.rows], np.int64)

    def take(self, chosen: Sequence[int] | npt.NDArray[np.int64]) -> "Table":
        """Return a table of the rows with these indices."""
        return Table(self.findings, tuple(self.rows[int(i)] for i in chosen))

    def with_findings(self, findings: Sequence[str]) -> "Table":
        """Return the same rows with these of the findings alone."""
        columns = [self.findings.index(finding) for finding in findings]
        rows = (replace(row, targets=tuple(row.targets[k] for k in columns)) for row in self.rows)
        return Table(tuple(findings), tuple(rows))


def targets_with_pathology(table: Table) -> Array:
    """Return the targets, float32 [n, findings + 1]. The last column says whether any finding is there."""
    return np.column_stack([table.targets, table.sick])


def fold_of(patient_id: str, count: int) -> int:
    """Return a patient's fold. It depends on the identifier only, so that additional data never moves a patient."""
    return int(sha256(patient_id.encode()).hexdigest(), 16) % count


def read_table(
    directory: Path, manifests: Sequence[str] = (), findings: Sequence[str] = FINDINGS, ignored: Sequence[str] = ()
) -> Table:
    """Return the labelled pictures of `directory`.

    `manifests` names the CSV files, without suffix; by default all CSV files with the required columns are read. The
    findings are those of `findings` that a manifest has. Columns in `ignored` are left out. Raises DataError.
    """
    names = [directory / f"{name}.csv" for name in manifests] or sorted(directory.glob("*.csv"))
    columns = {path: [c for c in read_columns(path) if c not in ignored] for path in names}
    faults = {path: lacks(own, findings) for path, own in columns.items()}
    present = [path for path in names if not faults[path]]
    if not present or (manifests and len(present) < len(names)):
        said = "; ".join(f"{path.name} has {fault}" for path, fault in faults.items() if fault)
        raise DataError(f"{directory} holds no manifest (a CSV file with the columns file, patient_id and one for each "
                        f"finding): {said or 'there is no CSV file in it'}")  # fmt: skip
    for path in present:
        ensure_known(path, columns[path], findings, ignored)
    shared = tuple(f for f in findings if any(f in columns[path] for path in present))
    seen: dict[str, Row] = {}
    for path in present:
        for row in _rows(path, shared, set(columns[path])):
            seen.setdefault(Path(row.file).stem, row)
    return Table(shared, tuple(seen.values()))


def _rows(path: Path, findings: Sequence[str], columns: set[str]) -> Iterator[Row]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        for number, row in enumerate(csv.DictReader(file), start=2):
            targets = tuple(label_of(row[f], f"{path}, line {number}: {f}") if f in columns else float("nan")
                            for f in findings)  # fmt: skip
            yield Row(
                row["file"], path, row["patient_id"], number_of(row.get("age")), row.get("sex") or "",
                row.get("view") or "", number_of(row.get("follow_up")), row.get("cohort") or path.stem, targets,
                1.0 if 1.0 in targets else float("nan") if any(t != t for t in targets) else 0.0,
            )  # fmt: skip


def pictures(table: Table) -> Iterator[Image]:
    """Yield the picture of each row as display values, float32 [rows, columns] in 0..1. Raises DataError."""
    sources = {manifest: Source(manifest) for manifest in {row.manifest for row in table.rows}}
    for row in table.rows:
        yield display_values(sources[row.manifest].read(row.file), row.file)


def preprocessed(
    table: Table, transforms: Sequence[Transform], each: Callable[[Image], None] = lambda picture: None
) -> list[Array]:
    """Return for each transform the network's input for each row, float32 [n, channels, S, S].

    It is made by the same function as in serving. `each` is called with each picture. Raises DataError.
    """
    first = next(pictures(table.take([0])))
    results = [np.empty((len(table.rows), *preprocess(t, first).shape), np.float32) for t in transforms]
    for i, picture in enumerate(pictures(table)):
        each(picture)
        for result, transform in zip(results, transforms, strict=True):
            result[i] = preprocess(transform, picture)
    return results


class Source:
    """The pictures of a manifest: a ZIP archive or a folder of the same name. Raises DataError if neither exists."""

    def __init__(self, manifest: Path) -> None:
        folder, archive = manifest.with_suffix(""), manifest.with_suffix(".zip")
        self.archive = ZipFile(archive) if archive.is_file() else None
        if self.archive is None and not folder.is_dir():
            raise DataError(f"neither {archive} nor {folder}/ exists")
        names = self.archive.namelist() if self.archive else [str(p) for p in folder.rglob("*") if p.is_file()]
        self.where = {Path(name).name: name for name in names}
        self.manifest = manifest

    def read(self, file: str) -> bytes:
        """Return the content of a file that the manifest lists. Raises DataError if there is no such file."""
        name = self.where.get(Path(file).name)
        if name is None:
            raise DataError(f"{self.manifest} lists {file}, which is not in {self.manifest.stem}.zip or its folder")
        return self.archive.read(name) if self.archive else Path(name).read_bytes()
