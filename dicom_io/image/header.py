"""The elements before Pixel Data, read tolerantly: hospitals send missing, empty and malformed values."""

from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import BinaryIO

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from dicom_io.elements import element_items, element_numbers, element_text
from dicom_io.image.data_elements import read_elements
from dicom_io.image.inflated import open_inflated
from dicom_io.image.no_picture import NoPicture, NotDicom

PIXEL_TAGS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})  # Float, Double Float and Pixel Data
INFLATED_LIMIT = 64 << 20  # bytes before Pixel Data in a deflated data set
_PREAMBLE, _GROUP_LENGTH_ELEMENT = 132, 12  # PS3.10 7.1: preamble and prefix, then (0002,0000) UL


@dataclass(frozen=True)
class Header:
    """The header of one object. None of its methods and properties raises.

    `dataset` holds the elements before Pixel Data as raw bytes, but private ones and large values of bulk data, which
    nothing here reads (`data_elements`). `pixel_offset` is the position of Pixel Data, or one at or beyond the
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
    """Read the elements before Pixel Data, those that the data dictionary knows.

    Raises NotDicom, TooLarge where they are beyond the limits of `data_elements` or of a deflated data set, OSError
    if the file cannot be read, and MemoryError if memory runs out.
    """
    try:
        with path.open("rb") as file:
            dataset, offset = _read(file)
    except (NoPicture, MemoryError):
        raise  # MemoryError: says something of this process, and nothing of the bytes
    except Exception as error:  # the last resort: whatever the bytes are, they are not to raise anything else
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the file system failed
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
    """Open the stream in which `pixel_offset` counts: the file, or the data set as it is inflated.

    A damaged deflated data set raises NotDicom while it is read.
    """
    file = header.path.open("rb")
    if header.transfer_syntax_uid != DeflatedExplicitVRLittleEndian:
        return file
    _read_meta(file)
    return open_inflated(file)


def _read(file: BinaryIO) -> tuple[Dataset, int]:
    """Return the data set with its File Meta Information, and the position at which reading stopped."""
    meta = _read_meta(file)
    syntax = element_text(meta, "TransferSyntaxUID")
    if syntax == DeflatedExplicitVRLittleEndian:
        file = open_inflated(file, INFLATED_LIMIT)
    implicit = syntax in ("", ImplicitVRLittleEndian)
    dataset = read_elements(file, implicit, syntax != ExplicitVRBigEndian, PIXEL_TAGS.__contains__)
    dataset.file_meta = FileMetaDataset(meta)
    return dataset, file.tell()


def _read_meta(file: BinaryIO) -> Dataset:
    """Read File Meta Information and leave the file at the first byte after it (PS3.10 7.1). Raises NotDicom."""
    if file.read(_PREAMBLE)[-4:] != b"DICM":
        raise NotDicom("not a DICOM Part 10 file: no DICM after the preamble")
    meta = read_elements(file, False, True, lambda tag: tag >> 16 != 2)
    if element_text(meta, "TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
        # what follows are no elements, so that only the length tells where it begins
        file.seek(_PREAMBLE + _GROUP_LENGTH_ELEMENT + int(meta.FileMetaInformationGroupLength))
    return meta
