"""The files that `hilum predict` looks at: named ones, and those in folders, ZIP archives and DICOMDIRs."""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile, ZipFile, is_zipfile

from dicom_io.dicomdir import is_dicomdir, referenced_files


class Unreadable(Exception):
    """A file cannot be taken out of its archive; the text says why."""


@dataclass(frozen=True)
class ImageFile:
    """One file to look at."""

    name: str  # its path; of a file in an archive, the archive's path, a slash, and its path in the archive
    path: Path  # the file itself, or the archive
    member: str = ""  # its path in the archive
    named: bool = False  # whether the user named it, rather than a place that holds it

    @contextmanager
    def opened(self, most_bytes: int) -> Iterator[Path]:
        """Give the path of the file, which may be a copy that exists until the end of the block.

        Raises Unreadable if it cannot be taken out of its archive, or is larger than `most_bytes` there.
        """
        if not self.member:
            yield self.path
            return
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "file"
            try:
                with ZipFile(self.path) as archive:
                    if archive.getinfo(self.member).file_size > most_bytes:
                        raise Unreadable(f"the file in the archive has more than {most_bytes} bytes")
                    with archive.open(self.member) as packed, copy.open("wb") as file:
                        shutil.copyfileobj(packed, file)  # zipfile gives no more than file_size
            except (BadZipFile, OSError, RuntimeError, NotImplementedError) as error:
                raise Unreadable(f"the file cannot be taken out of the archive: {error}") from error
            yield copy


def sources(paths: Sequence[Path]) -> list[ImageFile]:
    """Return the files in `paths`, in order. Folders are searched at any depth, and so are archives in them.

    A DICOMDIR stands for the files that it names; in a folder, whose files are looked at anyway, it is passed over.
    """
    return [source for path in paths for source in _found(path)]


def _found(path: Path) -> Iterator[ImageFile]:
    if path.is_dir():
        for file in sorted(path.rglob("*")):
            if file.is_file() and not is_dicomdir(file):
                yield from _members(file) if _is_archive(file) else [ImageFile(str(file), file)]
    elif is_dicomdir(path):
        yield from _listed(path)
    elif _is_archive(path):
        yield from _members(path)
    else:
        yield ImageFile(str(path), path, named=True)


def _is_archive(path: Path) -> bool:
    try:
        return path.suffix.lower() == ".zip" and is_zipfile(path)
    except OSError:
        return False


def _listed(path: Path) -> Iterator[ImageFile]:
    try:
        yield from (ImageFile(str(file), file, named=True) for file in referenced_files(path))
    except (OSError, ValueError):
        yield ImageFile(str(path), path, named=True)  # what is wrong with it is said when it is read


def _members(path: Path) -> Iterator[ImageFile]:
    with ZipFile(path) as archive:
        for info in archive.infolist():
            if not info.is_dir() and not is_dicomdir(Path(info.filename)):
                yield ImageFile(f"{path}/{info.filename}", path, info.filename)


def told_apart(names: Sequence[str]) -> list[str]:
    """Return each path's last parts, as few of them as tell it from all others."""
    parts = [Path(name).parts for name in names]
    result = []
    for own in parts:
        others = [other for other in parts if other != own]
        least = next((k for k in range(1, len(own)) if all(other[-k:] != own[-k:] for other in others)), len(own))
        result.append(str(Path(*own[-least:])) if own else "")
    return result
