"""Makes directories and files for hilum's user alone, whatever the umask, and finds those that others may open."""

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path


def make_directory(directory: Path) -> None:
    """Make a directory with mode 0700, as are those above it that are missing. One that exists stays as it is."""
    if not directory.parent.exists():
        make_directory(directory.parent)
    directory.mkdir(mode=0o700, exist_ok=True)


def make_file(file: Path) -> None:
    """Make an empty file with mode 0600. One that exists stays as it is. Raises OSError if it cannot be made."""
    with suppress(FileExistsError):
        os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def with_contents(place: Path) -> Iterator[Path]:
    """Yield `place` and everything in it, at any depth; only `place` if it is a file. Links are not followed."""
    yield place
    for folder, directories, files in () if place.is_symlink() else os.walk(place):
        yield from (Path(folder, name) for name in (*directories, *files))


def open_to_others(paths: Iterable[Path]) -> list[Path]:
    """Return those of `paths` that users other than the owner may read, write or enter. Missing ones are left out."""
    return [path for path in paths if _mode(path) & (stat.S_IRWXG | stat.S_IRWXO)]


def _mode(path: Path) -> int:
    """Return the mode of a file or directory; 0 if there is none that can be seen, and for a link, which has none."""
    with suppress(OSError):
        found = path.lstat().st_mode
        return 0 if stat.S_ISLNK(found) else found
    return 0
