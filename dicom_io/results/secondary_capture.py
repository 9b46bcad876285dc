"""The Secondary Capture image (PS3.3 A.8.1): the result as a picture, which every viewer shows."""

import io
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.uid import JPEGBaseline8Bit

from dicom_io.composite import codes, copying, encode, iod
from dicom_io.composite.analysis import (
    Analysis,
    Encoded,
    Location,
    ModelIdentity,
    PredecessorRef,
    ReportError,
    ResultKind,
    SourceImage,
    check_analysis,
)
from dicom_io.composite.encode import element, item, number, sequence
from dicom_io.composite.macros import code_item
from dicom_io.composite.options import ReportOptions
from dicom_io.composite.repertoire import repertoire
from dicom_io.results import references, wording
from dicom_io.results.caption import caption
from dicom_io.results.language import Language
from dicom_io.results.picture import draw

SERIES_NUMBER = 9911
JPEG_QUALITY = 90
ALONE = ReportOptions()


def secondary_capture(
    images: Sequence[SourceImage],
    model: ModelIdentity,
    started: datetime,
    pixels: NDArray[np.floating[Any]] | None = None,
    location: Location | None = None,
    options: ReportOptions = ALONE,
    revision: int = 1,
    place: int = 1,
) -> Encoded:
    """The page at `place`, from 1, of the results over `images`; 8 bit RGB, no patient data in the pixels.

    `pixels` is the image to show, float [rows, columns], 0 black to 1 white; None shows the table alone. Encoded in
    JPEG Baseline. The same analysis gives the same UID; patient and study are copied as for the report. Raises as
    `structured_report` does.
    """
    check_analysis(images, started)
    if pixels is not None and (pixels.ndim != 2 or not pixels.size):
        raise ReportError(f"the picture must be [rows, columns], found shape {pixels.shape}")
    source, uids = images[0].dataset, references.page_uids(images, model, options)
    said = caption(images, model, options, revision)
    elements = {
        **copying.patient_and_study(source),
        **iod.series("OT", iod.series_number(SERIES_NUMBER, revision), uids[0], said, started, source),
        **iod.equipment(model, started, source),
        "ConversionType": element("ConversionType", "WSD"),  # SC Equipment, PS3.3 C.8.6.1: a workstation made it
        **_general_image(images, model, started, source, options),
        **references.to_report(images, model, options),
        **_image_pixel(draw(images, model, pixels, location)),
        **iod.sop_common(references.PAGE_CLASS, uids[place - 1], started, source, instance_number=place),
    }
    return Encoded(references.PAGE_CLASS, uids[place - 1], str(JPEGBaseline8Bit), encode.dataset(elements))


def _general_image(
    images: Sequence[SourceImage], model: ModelIdentity, started: datetime, source: Dataset, options: ReportOptions
) -> dict[str, bytes]:
    """General Image and General Reference, PS3.3 C.7.6.1, C.12.4."""
    day, time = iod.day_and_time(started, source)
    language = Language.of(options.language)
    comment = " ".join([wording.disclaimer(language), *([] if model.trained else [wording.untrained(language)])])
    return {
        "ImageType": element("ImageType", "DERIVED\\SECONDARY"),
        "ContentDate": element("ContentDate", day),
        "ContentTime": element("ContentTime", time),
        "PatientOrientation": element("PatientOrientation"),
        "Laterality": element("Laterality"),
        "BurnedInAnnotation": element("BurnedInAnnotation", "NO"),  # nothing that identifies the patient
        "RecognizableVisualFeatures": element("RecognizableVisualFeatures", "NO"),
        "ImageComments": element("ImageComments", repertoire(source).encode(comment, 10240)),  # LT
        "DerivationDescription": element("DerivationDescription", "Radiograph with the results of a classification"),
        "SourceImageSequence": sequence("SourceImageSequence", [_source(image) for image in images]),
    }


def _source(image: SourceImage) -> bytes:
    return item(
        element("ReferencedSOPClassUID", copying.sop_class_uid(image.dataset)),
        element("ReferencedSOPInstanceUID", copying.sop_instance_uid(image.dataset)),
        sequence("PurposeOfReferenceCodeSequence", [code_item(codes.SOURCE_IMAGE)]),
    )


def _image_pixel(picture: Image.Image) -> dict[str, bytes]:
    """Image Pixel, PS3.3 C.7.6.3, and what C.7.6.1.1.5 asks of a lossy compression."""
    pixels = {
        "SamplesPerPixel": number("SamplesPerPixel", 3),
        "PlanarConfiguration": number("PlanarConfiguration", 0),
        "Rows": number("Rows", picture.height),
        "Columns": number("Columns", picture.width),
        "BitsAllocated": number("BitsAllocated", 8),
        "BitsStored": number("BitsStored", 8),
        "HighBit": number("HighBit", 7),
        "PixelRepresentation": number("PixelRepresentation", 0),
    }
    frame, size = _jpeg(picture), 3 * picture.height * picture.width
    return pixels | {
        "PhotometricInterpretation": element("PhotometricInterpretation", "YBR_FULL_422"),  # PS3.5 8.2.1
        "LossyImageCompression": element("LossyImageCompression", "01"),
        "LossyImageCompressionRatio": element("LossyImageCompressionRatio", f"{size / len(frame):.1f}"),
        "LossyImageCompressionMethod": element("LossyImageCompressionMethod", "ISO_10918_1"),
        "PixelData": encode.encapsulated_pixel_data(frame),
    }


def _jpeg(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling="4:2:2")
    return buffer.getvalue()


def _make(analysis: Analysis, options: ReportOptions, _earlier: Sequence[PredecessorRef]) -> list[Encoded]:
    location = analysis.location() if analysis.pixels is not None else None
    shown = analysis.images, analysis.model, analysis.started, analysis.pixels, location
    places = range(1, len(references.pages(analysis.images)) + 1)
    return [secondary_capture(*shown, options, analysis.revision, place) for place in places]


KIND = ResultKind((references.PAGE_CLASS,), ReportOptions, _make)
