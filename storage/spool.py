"""The files of received objects. Each is written durably or not at all, under a random name that no sender chose."""

import errno
import hashlib
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from storage.errors import SpoolDamaged, SpoolUnavailable, UnsafeName
from storage.private import make_directory
from storage.records import Spooled

FAULT_POINTS = (
    "spool.adopt:before-part",
    "spool.adopt:before-fsync",
    "spool.adopt:before-rename",
    "spool.adopt:before-directory-fsync",
    "spool.adopt:done",
)
"""The names with which `Spool(fault=...)` is called while one object is adopted, in this order."""

# A commit whose answer was lost has, after this time, either taken effect or never will.
DOUBT_SECONDS = 60.0

_NAME = re.compile(r"objects/[0-9a-f]{2}/[0-9a-f]{32}\.dcm")


def no_fault(point: str) -> None:
    """The fault hook outside of tests: does nothing."""


class Spool:
    """A directory that holds received objects exactly as they arrived.

    The receiver writes an object to `incoming` while it arrives; `adopt` then moves the complete file to `objects`, on
    the same file system. `fault` is called with a name before each durable operation, so that a test can crash there.
    Every method that touches the disk raises `SpoolUnavailable` when the disk cannot be used.
    """

    def __init__(self, directory: Path, fault: Callable[[str], None] = no_fault) -> None:
        self.directory = directory
        self.incoming = directory / "incoming"
        self._objects = directory / "objects"
        self._fault = fault
        self._doubted: dict[str, float] = {}  # by name, the time.monotonic() of `doubt`
        with _spool_trouble():
            for made in (directory, self.incoming, self._objects):
                make_directory(made)
            for first in range(256):
                (self._objects / f"{first:02x}").mkdir(mode=0o700, exist_ok=True)
            _fsync_directory(self._objects)
            _fsync_directory(directory)

    def adopt(self, file: Path, sha256: str = "") -> Spooled:
        """Move a complete file from `incoming` to its final place; when this returns, the file is durable there.

        `sha256` is the digest of the file's content, in hexadecimal, if the caller computed it while writing. Without
        it the file is read again.

        Raises `SpoolUnavailable` if the disk cannot be used. After any error neither a `.part` file nor an object
        remains. The incoming file does; the caller removes it.
        """
        identity = uuid.uuid4().hex
        name = f"objects/{identity[:2]}/{identity}.dcm"
        final = self.directory / name
        part = final.with_suffix(".part")
        with _spool_trouble():
            self._fault("spool.adopt:before-part")
            try:
                # A link, not a copy, so that the bytes are written once. The incoming name is removed at the end.
                os.link(file, part)
                self._fault("spool.adopt:before-fsync")
                size, sha256 = _fsync(part), sha256 or _digest(part)
                self._fault("spool.adopt:before-rename")
                part.rename(final)
                self._fault("spool.adopt:before-directory-fsync")
                _fsync_directory(final.parent)
                self._fault("spool.adopt:done")
                file.unlink(missing_ok=True)
            except BaseException:
                part.unlink(missing_ok=True)
                final.unlink(missing_ok=True)
                raise
        return Spooled(name, size, sha256)

    def path(self, name: str) -> Path:
        """Return the path of an adopted object. Raises `UnsafeName` for a name that this class did not make."""
        if not _NAME.fullmatch(name):
            raise UnsafeName("found a name that the spool did not give out, expected objects/<2 hex>/<32 hex>.dcm")
        return self.directory / name

    def verified(self, name: str, sha256: str) -> Path:
        """As `path`, but check the file's digest first. Raises `SpoolDamaged` if the file is missing or was altered."""
        path = self.path(name)
        with _spool_trouble():
            try:
                found = _digest(path)
            except FileNotFoundError:
                raise SpoolDamaged(f"{name} is missing from the spool; ask the sender to send it again") from None
        if found != sha256:
            raise SpoolDamaged(f"{name} was altered: found SHA-256 {found[:16]}..., expected {sha256[:16]}...")
        return path

    def remove(self, name: str) -> None:
        """Remove an object. It is not an error if the object is already gone."""
        with _spool_trouble():
            self.path(name).unlink(missing_ok=True)

    def doubt(self, name: str) -> None:
        """Remember an object whose commit failed without an answer, so that a row may or may not refer to it."""
        self._doubted[name] = time.monotonic()

    def settle(self, known: Callable[[str], bool]) -> None:
        """Remove the objects passed to `doubt` more than `DOUBT_SECONDS` ago to which no row refers.

        `known` tells whether the journal has a row for a name. If it raises, the error is passed on and the object is
        checked again next time. Cheap when no object is in doubt.
        """
        for name, since in list(self._doubted.items()):  # two threads may check the same name: harmless
            if time.monotonic() - since > DOUBT_SECONDS:
                if not known(name):
                    self.remove(name)
                self._doubted.pop(name, None)

    def free_bytes(self) -> int:
        """Return the bytes that hilum's user may still write to the spool's file system."""
        with _spool_trouble():
            return shutil.disk_usage(self.directory).free

    def sweep(self, known: Callable[[str], bool]) -> list[str]:
        """Clean up after a crash, before anything is received. Return the names of the objects that were removed.

        Everything in `incoming`, all `.part` files, and all objects for which `known` finds no row in the journal are
        removed. Such objects were never acknowledged, so their sender will send them again.
        """
        removed = []
        with _spool_trouble():
            for path in [*self.incoming.iterdir(), *self._objects.glob("*/*.part")]:
                path.unlink(missing_ok=True)
            for path in self._objects.glob("*/*.dcm"):
                name = path.relative_to(self.directory).as_posix()
                if not known(name):
                    path.unlink(missing_ok=True)
                    removed.append(name)
        return removed


_DISK = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the file system is read-only",
    errno.EIO: "the disk reports an error",
    errno.EMFILE: "too many files are open",
    errno.ENFILE: "too many files are open",
    errno.EACCES: "permission is denied",
    errno.EPERM: "permission is denied",
    errno.ESTALE: "the network file system went away",
}


@contextmanager
def _spool_trouble() -> Iterator[None]:
    """The one place where an OSError that may pass becomes `SpoolUnavailable`; any other OSError is passed on."""
    try:
        yield
    except OSError as error:
        if error.errno not in _DISK:
            raise
        raise SpoolUnavailable(f"the spool cannot be used: {_DISK[error.errno]}") from error


def _digest(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _fsync(path: Path) -> int:
    """Make a file's content durable and return its size in bytes."""
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
        return os.fstat(stream.fileno()).st_size


def _fsync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
