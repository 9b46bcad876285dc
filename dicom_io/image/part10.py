"""A DICOM file taken apart: what a sender needs to know of it, and the data set's bytes (PS3.10 7.1)."""

from dataclasses import dataclass
from io import BytesIO

from pydicom.errors import InvalidDicomError
from pydicom.filereader import _read_file_meta_info, read_preamble
from pydicom.uid import UID


@dataclass(frozen=True)
class Part10:
    """File meta information in strings; `data` is the data set as it stands in the file."""

    sop_class_uid: UID
    sop_instance_uid: UID
    transfer_syntax_uid: UID
    data: bytes


def read_part10(content: bytes) -> Part10:
    """Take a file's bytes apart. Raises ValueError where it is no DICOM file or its meta information is incomplete."""

    file = BytesIO(content)
    try:
        read_preamble(file, force=False)
        meta = _read_file_meta_info(file)
        uids = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID, meta.TransferSyntaxUID
        return Part10(*uids, data=file.read())
    except (InvalidDicomError, AttributeError, NotImplementedError) as error:
        raise ValueError("no DICOM file with file meta information") from error
