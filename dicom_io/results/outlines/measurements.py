"""The measurement groups of a report for the structures that a model outlined (TID 1410 and 1501, with TID 1419)."""

from dicom_io.composite import codes
from dicom_io.composite.analysis import ModelIdentity, SourceImage, percent
from dicom_io.composite.codes import Code
from dicom_io.composite.encode import element, item
from dicom_io.composite.evidence import reference
from dicom_io.composite.options import ReportOptions
from dicom_io.composite.repertoire import repertoire
from dicom_io.composite.structures import (
    AREA,
    COUNT,
    PIXELS,
    SHARE_OF_PICTURE,
    SHARE_OF_STRUCTURES,
    SQUARE_MILLIMETRE,
    OutlinedStructure,
    coded_structure,
)
from dicom_io.results import references
from dicom_io.results import templates as tid
from dicom_io.results.language import Language
from dicom_io.results.outlines.words import name_of

# TID 1410
REFERENCED_SEGMENTATION_FRAME = Code("121214", "DCM", "Referenced Segmentation Frame")
SOURCE_IMAGE_FOR_SEGMENTATION = Code("121233", "DCM", "Source image for segmentation")
LATERALITY = Code("272741003", "SCT", "Laterality")


def measurement_groups(image: SourceImage, model: ModelIdentity, options: ReportOptions) -> list[bytes]:
    """A group for each structure outlined in an image.

    It refers to the segment (TID 1410) where the destination gets the segmentation, else to the image (TID 1501).
    """
    return [_group(place, image, model, options) for place in range(len(image.outlined))]


def _group(place: int, image: SourceImage, model: ModelIdentity, options: ReportOptions) -> bytes:
    one, source = image.outlined[place], reference(image)
    coded = coded_structure(one.structure)
    name = name_of(one, Language.of(options.language))
    where = (
        [_segment(references.segmentation_uid(image, model), place), _image(SOURCE_IMAGE_FOR_SEGMENTATION, source)]
        if options.outlines
        else [_image(codes.SOURCE_OF_MEASUREMENT, source)]
    )
    side = [tid.code("HAS CONCEPT MOD", LATERALITY, coded.side)] if coded.side else []
    content = [
        tid.text("HAS OBS CONTEXT", codes.TRACKING_IDENTIFIER, name, repertoire(image.dataset)),
        tid.uidref("HAS OBS CONTEXT", codes.TRACKING_UNIQUE_IDENTIFIER, references.tracking_uid(image, one)),
        tid.code("CONTAINS", codes.FINDING, coded.kind),
        tid.code("HAS CONCEPT MOD", codes.FINDING_SITE, coded.site),
        *side,
        *where,
        *tid.tid_4019_algorithm(model.name, model.version, [] if model.trained else ["trained=no (UNTRAINED weights)"]),
        *tid_1419_measurements(one),
    ]
    return tid.container("CONTAINS", codes.MEASUREMENT_GROUP, content, "1410" if options.outlines else "1501")


def tid_1419_measurements(one: OutlinedStructure) -> list[bytes]:
    """TID 1419: the area, in mm2 only where they hold in the patient; its share; and how many regions, if counted."""
    calibrated = one.area_mm2 is not None and one.plane == "patient"
    area = (f"{one.area_mm2:.1f}", SQUARE_MILLIMETRE) if calibrated else (str(one.area_pixels), PIXELS)
    measured = [tid.number("CONTAINS", AREA, *area, ())]
    if one.share is not None:
        share = SHARE_OF_PICTURE if one.share_of == "picture" else SHARE_OF_STRUCTURES
        measured.append(tid.number("CONTAINS", share, percent(one.share), codes.PERCENT, ()))
    if one.count is not None:
        measured.append(tid.number("CONTAINS", COUNT, str(one.count), codes.NO_UNITS, ()))
    return measured


def _image(name: Code, source: tuple[str, str]) -> bytes:
    return tid.image("CONTAINS", name, *source)


def _segment(uid: str, place: int) -> bytes:
    """The frame of a segment. Its number stands for that of the segment, which may not be named too (PS3.3 C.18.4)."""
    segment = item(
        element("ReferencedSOPClassUID", references.SEGMENTATION_CLASS),
        element("ReferencedSOPInstanceUID", uid),
        element("ReferencedFrameNumber", str(place + 1)),
    )
    return tid.image_of_item("CONTAINS", REFERENCED_SEGMENTATION_FRAME, segment)
