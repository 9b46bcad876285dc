"""The files of received objects: written durably or not at all, under names that nobody outside chose."""

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
from storage.records import Spooled

FAULT_POINTS = (
    "spool.adopt:before-part",
    "spool.adopt:before-fsync",
    "spool.adopt:before-rename",
    "spool.adopt:before-directory-fsync",
    "spool.adopt:done",
)
"""Where `Spool(fault=...)` is called, in this order, for one object."""

DOUBT_SECONDS = 60.0  # by then, a commit whose answer got lost has taken effect or never will

_NAME = re.compile(r"objects/[0-9a-f]{2}/[0-9a-f]{32}\.dcm")


def no_fault(point: str) -> None:
    """The fault hook of everyday life."""


class Spool:
    """A directory of received objects, exactly as they arrived.

    `incoming` is where the receiver streams to, on the same file system; `objects` holds what was adopted.
    `fault` is called with the name of each durable operation before it (tests of crashes).
    """

    def __init__(self, directory: Path, fault: Callable[[str], None] = no_fault) -> None:
        self.directory = directory
        self.incoming = directory / "incoming"
        self._objects = directory / "objects"
        self._fault = fault
        self._doubted: dict[str, float] = {}  # since when
        with _spool_trouble():
            self.incoming.mkdir(parents=True, exist_ok=True)
            self._objects.mkdir(exist_ok=True)
            for first in range(256):
                (self._objects / f"{first:02x}").mkdir(exist_ok=True)
            _fsync_directory(self._objects)
            _fsync_directory(directory)

    def adopt(self, file: Path, sha256: str = "") -> Spooled:
        """Take over a complete file of `incoming`. On return it is durable under its new name.

        `sha256`: of the file's content, in hex, where the caller took it while writing; else the file is read for it.

        On an error, `SpoolUnavailable` for trouble with the disk, neither a part nor an object remains; the
        incoming file does, and is the caller's to remove.
        """
        identity = uuid.uuid4().hex
        name = f"objects/{identity[:2]}/{identity}.dcm"
        final = self.directory / name
        part = final.with_suffix(".part")
        with _spool_trouble():
            self._fault("spool.adopt:before-part")
            try:
                # A link, not a copy: the bytes are written once. The incoming name goes when the object has its own.
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
        """Where an adopted object lies; `UnsafeName` for a name that this class did not make."""
        if not _NAME.fullmatch(name):
            raise UnsafeName("found a name that the spool did not give out, expected objects/<2 hex>/<32 hex>.dcm")
        return self.directory / name

    def verified(self, name: str, sha256: str) -> Path:
        """As `path`, after its bytes were found to be those received; `SpoolDamaged` if missing or altered."""
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
        """Remove an object; one that is not there any more is no error."""
        with _spool_trouble():
            self.path(name).unlink(missing_ok=True)

    def doubt(self, name: str) -> None:
        """Note an object of which nobody can tell now whether a row needs it: its commit was not answered."""
        self._doubted[name] = time.monotonic()

    def settle(self, known: Callable[[str], bool]) -> None:
        """Remove what was doubted more than `DOUBT_SECONDS` ago and `known` (the journal) does not know.

        Costs nothing where nothing is doubted. What `known` raises goes through, and the doubt stays.
        """
        for name, since in list(self._doubted.items()):  # several threads may settle the same one: no harm
            if time.monotonic() - since > DOUBT_SECONDS:
                if not known(name):
                    self.remove(name)
                self._doubted.pop(name, None)

    def free_bytes(self) -> int:
        """Room that is left for us on the spool's file system."""
        with _spool_trouble():
            return shutil.disk_usage(self.directory).free

    def sweep(self, known: Callable[[str], bool]) -> list[str]:
        """Clear up after a crash, before anything is received; names of the objects removed.

        Goes: all of `incoming`, all parts, and objects that `known` (the journal) does not know: they were
        never acknowledged, so their sender will send them again.
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
    """The one border where trouble with the disk becomes `SpoolUnavailable`."""
    try:
        yield
    except OSError as error:
        if error.errno not in _DISK:
            raise
        raise SpoolUnavailable(f"the spool cannot be used: {_DISK[error.errno]}") from error


def _digest(path: Path) -> str:
    """SHA-256 of a file's content, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _fsync(path: Path) -> int:
    """Make a file's content durable; its size in bytes."""
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
        return os.fstat(stream.fileno()).st_size


def _fsync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
