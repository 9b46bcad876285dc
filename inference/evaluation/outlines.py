"""Pictures with masks on disk.

A data directory holds one or more manifests `<name>.csv`, each beside a folder `<name>/` with the pictures and masks. A
manifest has a row for each picture:

    file, patient_id        required
    one column for each     the name of the picture's mask of this structure: a PNG file of the same size, whose pixels
    structure               are 0 outside, and inside hold the number of the region, from 1
"""

import csv
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow

from inference.errors import DataError
from inference.pictures import display_values
from inference.preprocess import Image

Numbers = npt.NDArray[np.int64]
_OWN = ("file", "patient_id")


@dataclass(frozen=True)
class OutlinedPicture:
    """One picture and the files of its masks, in the order of the structures."""

    file: Path
    patient_id: str
    masks: tuple[Path, ...]

    def read(self, channels: int = 1) -> tuple[Image, Numbers]:
        """Return the picture, float32 [rows, columns], and the numbers of its regions, [structures, rows, columns].

        With three `channels` the picture is in colour, [rows, columns, 3].

        Raises DataError.
        """
        picture = display_values(_content(self.file), self.file.name, channels)
        regions = [_numbers(path) for path in self.masks]
        other = [path.name for path, mask in zip(self.masks, regions, strict=True) if mask.shape != picture.shape[:2]]
        if other:
            raise DataError(f"{self.file} has {list(picture.shape)} pixels, but these masks have not: {other}")
        return picture, np.stack(regions)


@dataclass(frozen=True)
class OutlinedTable:
    """The pictures of a data directory, and the names of the structures."""

    structures: tuple[str, ...]
    rows: tuple[OutlinedPicture, ...]

    def folds(self, number: int) -> Numbers:
        """Return the fold of each picture, 0 to `number` - 1: all pictures of a patient are in one."""
        digests = (sha256(row.patient_id.encode()).digest() for row in self.rows)
        return np.array([int.from_bytes(digest[:8], "big") % number for digest in digests], np.int64)


def read_outlined(data: Path) -> OutlinedTable:
    """Read the manifests of a directory, which must name the same structures. Raises DataError."""
    manifests = sorted(data.glob("*.csv"))
    if not manifests:
        raise DataError(f"{data} holds no manifest (*.csv); `hilum phantom {data} --masks` makes one")
    rows: list[OutlinedPicture] = []
    structures: tuple[str, ...] = ()
    for manifest in manifests:
        found, more = _read(manifest)
        if structures and found != structures:
            raise DataError(f"{manifest} has the structures {found}, but {manifests[0]} has {structures}")
        structures, rows = found, rows + more
    return OutlinedTable(structures, tuple(rows))


def _read(manifest: Path) -> tuple[tuple[str, ...], list[OutlinedPicture]]:
    with manifest.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        names = tuple(reader.fieldnames or ())
        structures = tuple(name for name in names if name not in _OWN)
        if not set(_OWN) <= set(names) or not structures:
            raise DataError(f"{manifest} has the columns {list(names)}, expected file, patient_id and one for each "
                            "structure, with the names of masks")  # fmt: skip
        folder = manifest.with_suffix("")
        rows = [
            OutlinedPicture(folder / row["file"], row["patient_id"], tuple(folder / (row[s] or "") for s in structures))
            for row in reader
        ]
    missing = [p for row in rows for p in (row.file, *row.masks) if not p.is_file()]
    if missing or not rows:
        raise DataError(f"{manifest}: {len(missing)} files are missing, the first is {missing[0]}" if missing else
                        f"{manifest} has no rows")  # fmt: skip
    return structures, rows


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error


def _numbers(path: Path) -> Numbers:
    try:
        with Pillow.open(path) as picture:
            values = np.asarray(picture)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is not a readable mask: {error}") from error
    if values.ndim != 2:
        raise DataError(f"{path} has {values.ndim} dimensions, expected a grey mask [rows, columns]")
    return values.astype(np.int64)
