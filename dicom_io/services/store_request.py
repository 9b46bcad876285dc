"""The three parts of a C-STORE request: presentation context, command set, and the encoding of the data set."""

from collections.abc import Callable
from io import BytesIO
from struct import pack

from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGBaseline8Bit, RLELossless

from dicom_io.network.association import Association


def accepted_syntaxes(assoc: Association, sop_class_uid: str) -> dict[str, int]:
    """Return the transfer syntaxes that the peer accepted for a SOP class, with their presentation context IDs."""
    contexts = [c for c in assoc.accepted_contexts if c.abstract_syntax == sop_class_uid]
    return {str(c.transfer_syntax[0]): c.context_id for c in contexts}


def accepted_classes(assoc: Association) -> set[str]:
    """Return the SOP classes for which the peer accepted a presentation context."""
    return {c.abstract_syntax for c in assoc.accepted_contexts}


def c_store_rq(sop_class_uid: str, sop_instance_uid: str, message_id: int) -> bytes:
    """Encode the command set of PS3.7 Table 9.3-1 in Implicit VR Little Endian, with priority MEDIUM."""

    def element(number: int, value: bytes) -> bytes:
        value += b"\0" * (len(value) % 2)
        return pack("<HHL", 0x0000, number, len(value)) + value

    body = (
        element(0x0002, sop_class_uid.encode("ascii"))
        + element(0x0100, pack("<H", 0x0001))
        + element(0x0110, pack("<H", message_id))
        + element(0x0700, pack("<H", 0x0000))
        + element(0x0800, pack("<H", 0x0001))
        + element(0x1000, sop_instance_uid.encode("ascii"))
    )
    return element(0x0000, pack("<L", len(body))) + body


def encodings(transfer_syntax_uid: str) -> dict[str, Callable[[bytes], bytes]]:
    """Return the transfer syntaxes that an object can be sent in, best first, each with a function that converts to it.

    The functions take the bytes of the data set in `transfer_syntax_uid`, and equal bytes give equal bytes. An object
    that is not compressed can also be sent in Implicit VR, which every peer accepts (PS3.5 10.1). An image in JPEG
    Baseline or RLE is decoded for a peer that does not accept it.
    """
    if transfer_syntax_uid == ExplicitVRLittleEndian:
        return {ExplicitVRLittleEndian: bytes, ImplicitVRLittleEndian: as_implicit}
    if transfer_syntax_uid in (JPEGBaseline8Bit, RLELossless):
        return {
            transfer_syntax_uid: bytes,
            ExplicitVRLittleEndian: lambda data: as_uncompressed(data, transfer_syntax_uid),
            ImplicitVRLittleEndian: lambda data: as_implicit(as_uncompressed(data, transfer_syntax_uid)),
        }
    return {transfer_syntax_uid: bytes}


def as_implicit(data: bytes) -> bytes:
    """Convert an encoded data set from Explicit VR Little Endian to Implicit VR Little Endian."""
    return _written(dcmread(BytesIO(data), force=True), implicit=True)


def as_uncompressed(data: bytes, transfer_syntax_uid: str = JPEGBaseline8Bit) -> bytes:
    """Convert an encoded data set from JPEG Baseline or RLE to Explicit VR Little Endian with RGB pixels.

    One from JPEG still says that it was compressed with loss (Lossy Image Compression, PS3.3 C.7.6.1.1.5).
    """
    dataset = dcmread(BytesIO(data), force=True)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID(transfer_syntax_uid)
    dataset.decompress(generate_instance_uid=False)
    return _written(dataset, implicit=False)


def _written(dataset: Dataset, implicit: bool) -> bytes:
    out = DicomBytesIO()
    out.is_implicit_VR, out.is_little_endian = implicit, True
    write_dataset(out, dataset)
    return bytes(out.getvalue())
