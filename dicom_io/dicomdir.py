"""The files that a DICOMDIR names (PS3.10 8.6, PS3.3 F.3): how a disc of images says what is on it."""

from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.filereader import dcmread

from dicom_io.elements import element_items

NAME = "DICOMDIR"


def is_dicomdir(path: Path) -> bool:
    """Whether a file has the name of a DICOMDIR (PS3.10 8.6)."""
    return path.name.upper() == NAME


def referenced_files(path: Path) -> list[Path]:
    """Return the files that a DICOMDIR names, in its order, each once, whether they exist or not.

    Names that lead out of its folder are left out. Raises ValueError if it is no DICOMDIR, and OSError.
    """
    try:
        records = element_items(dcmread(path), "DirectoryRecordSequence")
    except (InvalidDicomError, ValueError, NotImplementedError, EOFError) as error:
        raise ValueError(f"{path} is no DICOMDIR: {error}") from error
    named = (_parts(record) for record in records)
    return list(dict.fromkeys(path.parent.joinpath(*parts) for parts in named if parts))


def _parts(record: Dataset) -> tuple[str, ...]:
    """Return the components of Referenced File ID; () if there is none, or one that is not a plain name."""
    value = record.get("ReferencedFileID")
    parts = (value,) if isinstance(value, str) else tuple(map(str, value or ()))
    return parts if all(part not in ("", ".", "..") and "/" not in part for part in parts) else ()
