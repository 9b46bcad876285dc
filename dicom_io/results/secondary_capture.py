"""The Secondary Capture image (PS3.3 A.8.1): the result as pages, which every viewer shows.

Each image that was analysed has a page of its own. The pages of an analysis are one series, in the order of the images.
"""

from collections.abc import Iterator, Sequence

from PIL.Image import Image
from pydicom.uid import JPEGBaseline8Bit, RLELossless

from dicom_io.composite import codes, copying, encode, iod
from dicom_io.composite.analysis import (
    Analysis,
    Encoded,
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
from dicom_io.results import reasons, references, wording
from dicom_io.results.caption import caption
from dicom_io.results.language import Language
from dicom_io.results.page.content import Page, pages
from dicom_io.results.page.encoding import jpeg, rle
from dicom_io.results.page.sheet import draw

SERIES_NUMBER = 9911
ALONE = ReportOptions()


def secondary_captures(analysis: Analysis, options: ReportOptions = ALONE) -> Iterator[Encoded]:
    """Yield the pages of an analysis as objects; 8 bit RGB, without name, number or birth date in the pixels.

    The same analysis gives the same UIDs. Patient and study are copied as for the report. Raises as
    `structured_report` does.
    """
    check_analysis(analysis.images, analysis.started)
    for image in analysis.images:
        if image.pixels is not None and (image.pixels.ndim != 2 or not image.pixels.size):
            raise ReportError(f"the picture must be [rows, columns], found shape {image.pixels.shape}")
    images, model, source = analysis.images, analysis.model, analysis.images[0].dataset
    language, replaces = Language.of(options.language), iod.replaced_in_zone(analysis.replaces, source)
    uids = references.page_uids(images, model, options)
    number_of_series = iod.series_number(SERIES_NUMBER, analysis.revision)
    said = caption(images, model, options, analysis.revision)
    shared = {
        **copying.patient_and_study(source),
        **iod.series("OT", number_of_series, uids[0], said, analysis.started, source),
        **references.to_report(images, model, options),
        **iod.equipment(model, analysis.started, source),
        "ConversionType": element("ConversionType", "WSD"),  # SC Equipment, PS3.3 C.8.6.1: a workstation made it
    }
    made = pages(analysis, language, wording.replaced(replaces, language) if replaces else "")
    for place, (page, uid) in enumerate(zip(made, uids, strict=True), start=1):
        yield _secondary_capture(page, uid, place, shared, options)


def _secondary_capture(page: Page, uid: str, place: int, shared: dict[str, bytes], options: ReportOptions) -> Encoded:
    """One page; `shared` is what all pages of the analysis have."""
    elements = {
        **shared,
        **_body_part(page),
        **_general_image(page),
        **_image_pixel(draw(page), options),
        **iod.sop_common(references.PAGE_CLASS, uid, page.started, page.images[0].dataset, instance_number=place),
    }
    syntax = JPEGBaseline8Bit if options.sc_encoding == "jpeg" else RLELossless
    return Encoded(references.PAGE_CLASS, uid, str(syntax), encode.dataset(elements))


def _body_part(page: Page) -> dict[str, bytes]:
    """General Series, PS3.3 C.7.3.1: a chest has no laterality; that of a hand, which a page may name, is unknown."""
    if all(reasons.is_another_part(image.reason) for image in page.images):
        return {"Laterality": element("Laterality")}
    return {"BodyPartExamined": element("BodyPartExamined", "CHEST")}


def _general_image(page: Page) -> dict[str, bytes]:
    """General Image and General Reference, PS3.3 C.7.6.1, C.12.4."""
    source, model = page.images[0].dataset, page.model
    day, time = iod.day_and_time(page.started, source)
    untrained = [] if model.trained else [wording.untrained(page.language)]
    comment = repertoire(source).encode(" ".join([wording.disclaimer(page.language), *untrained]), 10240)  # LT
    sources = [page.image] if page.image else page.images
    return {
        "ImageType": element("ImageType", "DERIVED\\SECONDARY"),
        "ContentDate": element("ContentDate", day),
        "ContentTime": element("ContentTime", time),
        "ContentQualification": element("ContentQualification", "RESEARCH"),
        "PatientOrientation": element("PatientOrientation"),  # a page has none
        **_as_the_source_says(page, "BurnedInAnnotation"),
        **_as_the_source_says(page, "RecognizableVisualFeatures"),
        "ImageComments": element("ImageComments", comment),
        "DerivationDescription": element("DerivationDescription", f"Radiograph with the results of a {model.task}"),
        "SourceImageSequence": sequence("SourceImageSequence", [_source(image) for image in sources]),
    }


def _as_the_source_says(page: Page, keyword: str) -> dict[str, bytes]:
    """YES or NO as the image says that is shown; absent where it does not say. A page without an image has NO.

    What the page adds identifies nobody, but what is burned into the image is burned into the page.
    """
    if page.image is None or page.image.pixels is None:
        return {keyword: element(keyword, "NO")}
    said = copying.text(page.image.dataset, keyword).upper()
    return {keyword: element(keyword, said)} if said in ("YES", "NO") else {}


def _source(image: SourceImage) -> bytes:
    return item(
        element("ReferencedSOPClassUID", copying.sop_class_uid(image.dataset)),
        element("ReferencedSOPInstanceUID", copying.sop_instance_uid(image.dataset)),
        sequence("PurposeOfReferenceCodeSequence", [code_item(codes.SOURCE_IMAGE)]),
    )


def _image_pixel(picture: Image, options: ReportOptions) -> dict[str, bytes]:
    """Image Pixel, PS3.3 C.7.6.3, and what C.7.6.1.1.5 asks of a lossy compression."""
    pixels = {
        "SamplesPerPixel": number("SamplesPerPixel", 3),
        "Rows": number("Rows", picture.height),
        "Columns": number("Columns", picture.width),
        "BitsAllocated": number("BitsAllocated", 8),
        "BitsStored": number("BitsStored", 8),
        "HighBit": number("HighBit", 7),
        "PixelRepresentation": number("PixelRepresentation", 0),
    }
    return pixels | (_lossy(picture) if options.sc_encoding == "jpeg" else _lossless(picture))


def _lossy(picture: Image) -> dict[str, bytes]:
    frame, size = jpeg(picture), 3 * picture.height * picture.width
    return {
        "PlanarConfiguration": number("PlanarConfiguration", 0),
        "PhotometricInterpretation": element("PhotometricInterpretation", "YBR_FULL_422"),  # PS3.5 8.2.1
        "LossyImageCompression": element("LossyImageCompression", "01"),
        "LossyImageCompressionRatio": element("LossyImageCompressionRatio", f"{size / len(frame):.1f}"),
        "LossyImageCompressionMethod": element("LossyImageCompressionMethod", "ISO_10918_1"),
        "PixelData": encode.encapsulated_pixel_data(frame),
    }


def _lossless(picture: Image) -> dict[str, bytes]:
    return {
        "PlanarConfiguration": number("PlanarConfiguration", 1),  # PS3.5 G.2: a segment for each colour
        "PhotometricInterpretation": element("PhotometricInterpretation", "RGB"),
        "PixelData": encode.encapsulated_pixel_data(rle(picture)),
    }


def _make(analysis: Analysis, options: ReportOptions, _earlier: Sequence[PredecessorRef]) -> list[Encoded]:
    return list(secondary_captures(analysis, options))


KIND = ResultKind((references.PAGE_CLASS,), ReportOptions, _make)
