"""A DICOM file split into what a sender needs to know and the bytes of its data set (PS3.10 7.1)."""

from dataclasses import dataclass
from io import BytesIO

from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_dataset, read_preamble
from pydicom.uid import UID


@dataclass(frozen=True)
class Part10:
    """UIDs from the File Meta Information; `data` is the data set's bytes as they stand in the file."""

    sop_class_uid: UID
    sop_instance_uid: UID
    transfer_syntax_uid: UID
    data: bytes


def read_part10(content: bytes) -> Part10:
    """Split a file's bytes. Raises ValueError if they are not a DICOM file or its File Meta Information lacks a UID."""
    file = BytesIO(content)
    try:
        read_preamble(file, force=False)
        # stops, and leaves the file, at the first element after group 0002
        meta = read_dataset(file, False, True, stop_when=lambda tag, _vr, _length: tag >> 16 != 2)
        uids = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID, meta.TransferSyntaxUID
        return Part10(*uids, data=file.read())
    except (InvalidDicomError, AttributeError, NotImplementedError) as error:
        raise ValueError("not a DICOM file with File Meta Information") from error
