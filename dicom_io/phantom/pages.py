"""Reads back the page that hilum sent as a Secondary Capture, for whoever has no viewer at hand."""

from io import BytesIO

from PIL import Image
from pydicom import dcmread
from pydicom.encaps import generate_frames
from pydicom.uid import JPEGBaseline8Bit, SecondaryCaptureImageStorage


def page_of(file: bytes) -> tuple[str, int, Image.Image] | None:
    """Return Study Instance UID, Instance Number and picture (RGB) of a Secondary Capture in JPEG Baseline.

    None for another object.

    Raises pydicom's InvalidDicomError if `file` is not a DICOM file, and OSError if the picture is broken.
    """
    ds = dcmread(BytesIO(file))
    if ds.SOPClassUID != SecondaryCaptureImageStorage or ds.file_meta.TransferSyntaxUID != JPEGBaseline8Bit:
        return None
    frame = next(generate_frames(ds.PixelData, number_of_frames=1))
    return str(ds.StudyInstanceUID), int(ds.InstanceNumber), Image.open(BytesIO(frame)).convert("RGB")
