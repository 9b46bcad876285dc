"""The elements before Pixel Data, read tolerantly: hospitals send missing, empty and malformed values."""

import io
import warnings
import zlib
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import BinaryIO

import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filereader import read_dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian

from dicom_io.image.elements import element_items, element_numbers, element_text
from dicom_io.image.no_picture import NoPicture, NotDicom, TooLarge

PIXEL_TAGS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})  # Float, Double Float and Pixel Data
INFLATED_LIMIT = 1 << 30  # bytes; the limit is needed because some kilobytes can inflate to gigabytes
_PREAMBLE, _GROUP_LENGTH_ELEMENT = 132, 12  # PS3.10 7.1: preamble and prefix, then (0002,0000) UL


@dataclass(frozen=True)
class Header:
    """The header of one object. None of its methods and properties raises.

    `dataset` holds the elements before Pixel Data as raw bytes. `pixel_offset` is the position of Pixel Data, or the
    end where it is absent, in bytes from the start of the file; in a deflated file, of the inflated data set.
    """

    path: Path
    dataset: Dataset
    transfer_syntax_uid: str
    pixel_offset: int

    def text(self, keyword: str) -> str:
        """The element's value without padding, decoded by Specific Character Set; "" if missing.

        The values of a multi-valued element stay joined by a backslash. The element in `dataset` stays raw.
        """
        return element_text(self.dataset, keyword)

    def texts(self, keyword: str) -> tuple[str, ...]:
        """The values of a multi-valued element, each without surrounding blanks; () if missing."""
        text = self.text(keyword)
        return tuple(part.strip() for part in text.split("\\")) if text else ()

    def numbers(self, keyword: str) -> tuple[float, ...]:
        """The numbers of a DS, IS, US or SS element; () if missing or malformed."""
        return element_numbers(self.dataset, keyword)

    def integer(self, keyword: str, default: int = 0) -> int:
        """The first number, rounded towards zero; `default` if missing, malformed or not finite."""
        numbers = self.numbers(keyword)
        return int(numbers[0]) if numbers and isfinite(numbers[0]) else default

    def items(self, keyword: str) -> tuple[Dataset, ...]:
        """The items of a sequence; () if missing, empty or unreadable."""
        return element_items(self.dataset, keyword)

    @property
    def study_instance_uid(self) -> str:
        return self.text("StudyInstanceUID")

    @property
    def series_instance_uid(self) -> str:
        return self.text("SeriesInstanceUID")

    @property
    def sop_class_uid(self) -> str:
        return self.text("SOPClassUID") or element_text(self.dataset.file_meta, "MediaStorageSOPClassUID")

    @property
    def sop_instance_uid(self) -> str:
        return self.text("SOPInstanceUID") or element_text(self.dataset.file_meta, "MediaStorageSOPInstanceUID")

    @property
    def patient_id(self) -> str:
        return self.text("PatientID")

    @property
    def accession_number(self) -> str:
        return self.text("AccessionNumber")

    @property
    def study_date(self) -> str:
        return self.text("StudyDate")

    @property
    def modality(self) -> str:
        return self.text("Modality").upper()

    @property
    def body_part_examined(self) -> str:
        return self.text("BodyPartExamined").upper()

    @property
    def view_position(self) -> str:
        return self.text("ViewPosition").upper()

    @property
    def presentation_intent_type(self) -> str:
        return self.text("PresentationIntentType").upper()

    @property
    def photometric_interpretation(self) -> str:
        return self.text("PhotometricInterpretation").upper()

    @property
    def rows(self) -> int:
        return self.integer("Rows")

    @property
    def columns(self) -> int:
        return self.integer("Columns")


def read_header(path: Path) -> Header:
    """Read the elements before Pixel Data.

    Raises NotDicom, TooLarge for a data set that inflates beyond 1 GiB, and OSError if the file cannot be read.
    """
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # malformed values are common and are kept as they are
            dataset, offset = _read_deflated(file) if _is_deflated(file) else _read(file)
    except NoPicture:
        raise
    except Exception as error:  # fuzzing found that pydicom's parser raises many kinds
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the file system failed; pydicom's own OSError, for a truncated file, has no errno
        raise NotDicom(f"not a readable DICOM Part 10 file ({type(error).__name__} while parsing)") from error
    meta = dataset.file_meta
    for keyword, fallback in (
        ("SOPClassUID", "MediaStorageSOPClassUID"),
        ("SOPInstanceUID", "MediaStorageSOPInstanceUID"),
    ):
        if not element_text(dataset, keyword) and not element_text(meta, fallback):
            raise NotDicom(f"no {keyword}: not a composite object")
    return Header(path, dataset, element_text(meta, "TransferSyntaxUID"), offset)


def open_data_set(header: Header) -> BinaryIO:
    """Open the stream in which `pixel_offset` counts: the file, or the inflated data set."""
    file = header.path.open("rb")
    if header.transfer_syntax_uid != DeflatedExplicitVRLittleEndian:
        return file
    with file:
        _read_meta(file)
        return io.BytesIO(_inflate(file.read()))


def _read(file: BinaryIO) -> tuple[Dataset, int]:
    dataset = pydicom.dcmread(file, stop_before_pixels=True)
    return dataset, file.tell()  # pydicom seeks back to the start of the element at which it stopped


def _is_deflated(file: BinaryIO) -> bool:
    head = file.read(1024)
    file.seek(0)
    return DeflatedExplicitVRLittleEndian.encode() in head


def _read_deflated(file: BinaryIO) -> tuple[Dataset, int]:
    meta = _read_meta(file)
    if element_text(meta, "TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
        file.seek(0)
        return _read(file)
    stream = io.BytesIO(_inflate(file.read()))
    dataset = read_dataset(stream, False, True, stop_when=lambda tag, _vr, _length: tag in PIXEL_TAGS)
    dataset.file_meta = meta
    return dataset, stream.tell()


def _read_meta(file: BinaryIO) -> FileMetaDataset:
    """Read File Meta Information and leave the file at the first byte after it (PS3.10 7.1)."""
    file.seek(_PREAMBLE)
    meta = FileMetaDataset(read_dataset(file, False, True, stop_when=lambda tag, _vr, _length: tag >= 0x00030000))
    file.seek(_PREAMBLE + _GROUP_LENGTH_ELEMENT + int(meta.FileMetaInformationGroupLength))
    return meta


def _inflate(data: bytes) -> bytes:
    """Inflate a data set (PS3.5 A.5: without a zlib header). Raises TooLarge beyond INFLATED_LIMIT."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = inflater.decompress(data, INFLATED_LIMIT)
    if inflater.unconsumed_tail:
        raise TooLarge(f"the deflated data set grows beyond {INFLATED_LIMIT} bytes")
    return inflated
