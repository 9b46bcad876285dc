"""Where the objects that peers send are written while they arrive: one DICOM file (PS3.10 7.1) for each request."""

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from tempfile import mkstemp
from typing import Any

from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_file_meta_info
from pynetdicom.dsutils import create_file_meta

# Implementation Class UID (0002,0012) and Version Name (0002,0013) of every file. They never change, whatever version
# of pynetdicom is installed: the same object sent twice is recognised by the digest of the whole file.
FILE_META_CLASS_UID = "1.2.826.0.1.3680043.9.3811.3.0.4"
FILE_META_VERSION_NAME = "PYNETDICOM_304"


@dataclass(frozen=True)
class Intake:
    """How the objects that peers send are taken in.

    directory          where their files are made; the caller chooses one on the file system where it will keep them
    max_object_bytes   a longer data set is answered with ObjectTooLarge
    check              called with the command set of each C-STORE request before its data set is written; what it
                       raises becomes the answer, and no file is made
    digest             compute the SHA-256 of each file while it is written
    """

    directory: Path
    max_object_bytes: int = 2**31
    check: Callable[[Dataset], None] = lambda command_set: None
    digest: bool = False


def file_head(command_set: Dataset, transfer_syntax_uid: str) -> bytes:
    """Preamble and File Meta Information (PS3.10 7.1) for the object that a C-STORE command set announces.

    Raises AttributeError or ValueError where the command set lacks the UIDs of class and instance.
    """
    head = DicomBytesIO()
    head.write(b"\0" * 128 + b"DICM")
    meta = create_file_meta(
        sop_class_uid=command_set.AffectedSOPClassUID,
        sop_instance_uid=command_set.AffectedSOPInstanceUID,
        transfer_syntax=transfer_syntax_uid,
        implementation_uid=FILE_META_CLASS_UID,
        implementation_version=FILE_META_VERSION_NAME,
    )
    write_file_meta_info(head, meta)
    return bytes(head.getvalue())


class DataSetFile:
    """One file, which begins with `head`; the fragments of the data set are appended as they arrive.

    Raises OSError where the file cannot be made or written; then nothing is left of it.
    """

    def __init__(self, directory: Path, head: bytes, digest: bool):
        self._sha256: Any = sha256() if digest else None
        self._descriptor, name = mkstemp(suffix=".dcm", dir=directory)
        self.path = Path(name)
        try:
            self.write(memoryview(head))
        except OSError:
            self.remove()
            raise

    def write(self, fragment: memoryview) -> None:
        """Append `fragment`. Raises OSError, for example where the disk is full."""
        if self._sha256 is not None:
            self._sha256.update(fragment)
        while fragment:
            fragment = fragment[os.write(self._descriptor, fragment) :]

    @property
    def sha256(self) -> str:
        """The SHA-256 of all that was written, in hex; "" where none was asked for."""
        return self._sha256.hexdigest() if self._sha256 is not None else ""

    def remove(self) -> None:
        """Close the file and remove it, unless somebody has moved it away. May be called again; raises nothing."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            with contextlib.suppress(OSError):
                os.close(descriptor)
            with contextlib.suppress(OSError):
                self.path.unlink(missing_ok=True)
