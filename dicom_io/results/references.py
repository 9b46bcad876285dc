"""How the report and the pages of one analysis name each other.

Each SOP Instance UID follows from images, model, results and options alone, never from another object's UID. So either
side can name the other without making it, and there is no circle.
"""

from collections.abc import Iterable, Sequence
from hashlib import sha256

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import (
    Comprehensive3DSRStorage,
    ComprehensiveSRStorage,
    EnhancedSRStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
)

from dicom_io.composite import codes, copying
from dicom_io.composite.analysis import (
    ModelIdentity,
    PredecessorRef,
    SourceImage,
    result_uid,
    series_uid,
)
from dicom_io.composite.encode import element, item, sequence
from dicom_io.composite.evidence import hierarchy, reference
from dicom_io.composite.macros import code_item, sop_reference
from dicom_io.composite.options import ReportOptions
from dicom_io.composite.structures import OutlinedStructure, coded_structure
from dicom_io.identity import derived_uid

SOP_CLASSES = {
    "comprehensive-3d": str(Comprehensive3DSRStorage),
    "comprehensive": str(ComprehensiveSRStorage),
    "enhanced": str(EnhancedSRStorage),
}
PAGE_CLASS = str(SecondaryCaptureImageStorage)
SEGMENTATION_CLASS = str(SegmentationStorage)


def report_uid(images: Sequence[SourceImage], model: ModelIdentity, options: ReportOptions) -> str:
    """The SOP Instance UID of the report."""
    return result_uid("report", images, model, *options.parts)


def page_uid(images: Sequence[SourceImage], model: ModelIdentity, options: ReportOptions, number: int) -> str:
    """The SOP Instance UID of the page of an image, by the image's number from 1.

    A location follows from image and model, so it has no part in it.
    """
    looks = [f"{image.side} {image.view} {image.pixels is not None}" for image in images]
    return result_uid("page", images, model, *options.parts, str(number), *looks)


def pages(images: Sequence[SourceImage]) -> tuple[int, ...]:
    """The numbers of the images that have a page: those that were analysed, in their order; else the first alone."""
    return tuple(number for number, image in enumerate(images, start=1) if not image.reason) or (1,)


def page_uids(images: Sequence[SourceImage], model: ModelIdentity, options: ReportOptions) -> list[str]:
    """The SOP Instance UIDs of all pages; their series follows from the first."""
    return [page_uid(images, model, options, number) for number in pages(images)]


def pages_by_series(
    images: Sequence[SourceImage], model: ModelIdentity, options: ReportOptions
) -> dict[str, list[bytes]]:
    """The pages by their series, as the report's evidence names them; {} where the destination gets no pages."""
    if not options.paired:
        return {}
    uids = page_uids(images, model, options)
    return {series_uid(uids[0]): [sop_reference(PAGE_CLASS, uid) for uid in uids]}


def segmentation_uid(image: SourceImage, model: ModelIdentity) -> str:
    """The SOP Instance UID of an image's segmentation, which depends on every pixel of its masks."""
    state = sha256()
    for one in image.outlined:
        state.update(f"{one.structure} {one.mask.shape}".encode() + np.packbits(one.mask).tobytes())
    return result_uid("segmentation", [image], model, state.hexdigest())


def tracking_uid(image: SourceImage, one: OutlinedStructure) -> str:
    """The Tracking UID of a structure in an image, by which the report and the segmentation name the same thing."""
    return derived_uid("tracking", reference(image)[1], coded_structure(one.structure).display)


def segmentations_by_series(
    images: Sequence[SourceImage], model: ModelIdentity, options: ReportOptions
) -> dict[str, list[bytes]]:
    """The segmentations by their series, as the report's evidence names them; {} where the destination gets none."""
    uids = [segmentation_uid(image, model) for image in images if image.outlined and options.outlines]
    return {series_uid(uids[0]): [sop_reference(SEGMENTATION_CLASS, uid) for uid in uids]} if uids else {}


def to_report(images: Sequence[SourceImage], model: ModelIdentity, options: ReportOptions) -> dict[str, bytes]:
    """The element with which a page names its report (PS3.3 C.12.4); {} where the destination gets no report."""
    if not options.paired:
        return {}
    report = item(
        element("ReferencedSOPClassUID", SOP_CLASSES[options.sr_class]),
        element("ReferencedSOPInstanceUID", report_uid(images, model, options)),
        sequence("PurposeOfReferenceCodeSequence", [code_item(codes.CURRENT_PROCEDURE_EVIDENCE)]),
    )
    return {"ReferencedInstanceSequence": sequence("ReferencedInstanceSequence", [report])}


def predecessors(
    earlier: Iterable[PredecessorRef | str], sop_class_uid: str, sop_instance_uid: str, source: Dataset
) -> dict[str, bytes]:
    """Predecessor Documents Sequence (0040,A360): the earlier reports, each in the series that follows from it."""
    named = [one if isinstance(one, PredecessorRef) else PredecessorRef(sop_class_uid, one) for one in earlier]
    series = {
        one.series_instance_uid: [sop_reference(one.sop_class_uid, one.sop_instance_uid)]
        for one in named
        if one.sop_instance_uid != sop_instance_uid  # the same analysis done again is no predecessor of itself
    }
    if not series:
        return {}
    of_study = hierarchy(copying.study_instance_uid(source), series)
    return {"PredecessorDocumentsSequence": sequence("PredecessorDocumentsSequence", [of_study])}
