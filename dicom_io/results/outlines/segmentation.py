"""The Segmentation (PS3.3 A.51): the structures that a model outlined, one binary frame for each, over the radiograph.

Each image with outlined structures gets one; all are in one series. Frames have the rows and columns of the image as it
is stored, so that a viewer can lay them over it without a frame of reference, which a radiograph has not.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from dicom_io.composite import codes, copying, encode, iod
from dicom_io.composite.analysis import (
    Analysis,
    Encoded,
    ModelIdentity,
    PredecessorRef,
    ResultKind,
    SourceImage,
    check_analysis,
)
from dicom_io.composite.codes import Code
from dicom_io.composite.encode import element, item, number, plain, sequence
from dicom_io.composite.evidence import reference
from dicom_io.composite.macros import code_item, sop_reference
from dicom_io.composite.options import READING, ReadingOptions
from dicom_io.composite.repertoire import repertoire
from dicom_io.composite.structures import Mask, coded_structure
from dicom_io.identity import MANUFACTURER, derived_uid
from dicom_io.results.caption import caption
from dicom_io.results.references import SEGMENTATION_CLASS, segmentation_uid, tracking_uid

SERIES_NUMBER = 9961
# CID 7203, and CID 7162
SEGMENTATION = Code("113076", "DCM", "Segmentation")
ARTIFICIAL_INTELLIGENCE = Code("123110", "DCM", "Artificial Intelligence")
#: CIELab (PS3.3 C.10.7.1.1) of the colours of `contour.COLOURS`
LAB = ((0xB63D, 0x94A5, 0xCB72), (0xB158, 0x6FA3, 0x5CD6), (0x9379, 0x539C, 0x8CC3), (0xE53F, 0x77FC, 0xCBC5))


def segmentations(analysis: Analysis, options: ReadingOptions = READING) -> Iterator[Encoded]:
    """Yield the segmentation of each image with outlined structures, in Explicit VR Little Endian.

    The same analysis gives the same UIDs; patient and study are copied as for the report; no header makes
    it fail. Raises as `structured_report` does.
    """
    check_analysis(analysis.images, analysis.started)
    outlined = [image for image in analysis.images if image.outlined]
    for place, image in enumerate(outlined, start=1):
        first = segmentation_uid(outlined[0], analysis.model)
        yield _segmentation(analysis, options, image, first, place)


def _segmentation(analysis: Analysis, options: ReadingOptions, image: SourceImage, first: str, place: int) -> Encoded:
    """The segmentation at `place`, from 1; the series follows from the UID of the `first`."""
    source, model, started = image.dataset, analysis.model, analysis.started
    uid = segmentation_uid(image, model)
    said = caption(analysis.images, model, options, analysis.revision)
    series = iod.series_number(SERIES_NUMBER, analysis.revision), first, said, started, source
    kinds = [coded_structure(one.structure) for one in image.outlined]
    used = tuple(code for kind in kinds for code in (kind.kind, kind.category))
    elements = {
        **copying.patient_and_study(source),
        **iod.series("SEG", *series),
        **iod.equipment(model, started, source),
        **_image(image, said, analysis),
        **_image_pixel([one.stored() for one in image.outlined]),
        "SegmentSequence": sequence("SegmentSequence", [_segment(n, image, model) for n in range(len(kinds))]),
        **_functional_groups(image, len(kinds)),
        **_dimensions(uid),
        **_references(source, reference(image)),
        **iod.sop_common(SEGMENTATION_CLASS, uid, started, source, used, instance_number=place),
    }
    return Encoded(SEGMENTATION_CLASS, uid, str(ExplicitVRLittleEndian), encode.dataset(elements))


def _image(image: SourceImage, said: str, analysis: Analysis) -> dict[str, bytes]:
    """General Image, Segmentation Image and Content Identification, PS3.3 C.7.6.1, C.8.20.2, 10.9."""
    source = image.dataset
    day, time = iod.day_and_time(analysis.started, source)
    overlap = np.sum([one.mask for one in image.outlined], axis=0).max() > 1
    lossy = copying.text(source, "LossyImageCompression") == "01"
    return {
        "ImageType": element("ImageType", "DERIVED\\PRIMARY"),
        "ContentDate": element("ContentDate", day),
        "ContentTime": element("ContentTime", time),
        "PatientOrientation": element("PatientOrientation"),
        "LossyImageCompression": element("LossyImageCompression", "01" if lossy else "00"),
        "ContentLabel": element("ContentLabel", "AI"),
        "ContentDescription": element("ContentDescription", repertoire(source).encode(said, 64)),
        "ContentCreatorName": element("ContentCreatorName", MANUFACTURER),
        "SegmentationType": element("SegmentationType", "BINARY"),
        "SegmentsOverlap": element("SegmentsOverlap", "YES" if overlap else "NO"),
    }


def _image_pixel(masks: Sequence[Mask]) -> dict[str, bytes]:
    """Image Pixel, PS3.3 C.8.20.2.1: one bit a pixel, packed across the borders of frames (PS3.5 8.1.1)."""
    rows, columns = masks[0].shape
    return {
        "SamplesPerPixel": number("SamplesPerPixel", 1),
        "PhotometricInterpretation": element("PhotometricInterpretation", "MONOCHROME2"),
        "NumberOfFrames": element("NumberOfFrames", str(len(masks))),
        "Rows": number("Rows", rows),
        "Columns": number("Columns", columns),
        "BitsAllocated": number("BitsAllocated", 1),
        "BitsStored": number("BitsStored", 1),
        "HighBit": number("HighBit", 0),
        "PixelRepresentation": number("PixelRepresentation", 0),
        "PixelData": element("PixelData", np.packbits(np.stack(masks).ravel(), bitorder="little").tobytes()),
    }


def _segment(place: int, image: SourceImage, model: ModelIdentity) -> bytes:
    """Segment Description, PS3.3 C.8.20.4."""
    one = image.outlined[place]
    coded = coded_structure(one.structure)
    modifier = [sequence("SegmentedPropertyTypeModifierCodeSequence", [code_item(coded.side)])] if coded.side else []
    kind = item(
        element("CodeValue", coded.kind.value),
        element("CodingSchemeDesignator", coded.kind.scheme),
        element("CodeMeaning", coded.kind.meaning),
        *modifier,
    )
    elements = {
        "AnatomicRegionSequence": sequence("AnatomicRegionSequence", [code_item(coded.site)]),
        "SegmentedPropertyCategoryCodeSequence": sequence(
            "SegmentedPropertyCategoryCodeSequence", [code_item(coded.category)]
        ),
        "SegmentNumber": number("SegmentNumber", place + 1),
        "SegmentLabel": element("SegmentLabel", plain(coded.display, 64)),
        "SegmentAlgorithmType": element("SegmentAlgorithmType", "AUTOMATIC"),
        "SegmentAlgorithmName": element("SegmentAlgorithmName", plain(model.name, 64) or "unknown"),
        "SegmentationAlgorithmIdentificationSequence": sequence(
            "SegmentationAlgorithmIdentificationSequence", [_algorithm(model)]
        ),
        "RecommendedDisplayCIELabValue": number("RecommendedDisplayCIELabValue", *LAB[place % len(LAB)]),
        "SegmentedPropertyTypeCodeSequence": sequence("SegmentedPropertyTypeCodeSequence", [kind]),
        "TrackingID": element("TrackingID", plain(coded.display, 64)),
        "TrackingUID": element("TrackingUID", tracking_uid(image, one)),
    }
    return item(encode.dataset(elements))


def _algorithm(model: ModelIdentity) -> bytes:
    """Algorithm Identification, PS3.3 10.16."""
    return item(
        sequence("AlgorithmFamilyCodeSequence", [code_item(ARTIFICIAL_INTELLIGENCE)]),
        element("AlgorithmVersion", plain(model.version, 64) or "unknown"),
        element("AlgorithmParameters", plain(model.digest, 256)),
        element("AlgorithmName", plain(model.name, 64) or "unknown"),
    )


def _functional_groups(image: SourceImage, frames: int) -> dict[str, bytes]:
    """Multi-frame Functional Groups, PS3.3 C.7.6.16: all frames are of one image, and each is one segment."""
    sop_class_uid, sop_instance_uid = reference(image)
    source = item(
        element("ReferencedSOPClassUID", sop_class_uid),
        element("ReferencedSOPInstanceUID", sop_instance_uid),
        element("SpatialLocationsPreserved", "YES"),
        sequence("PurposeOfReferenceCodeSequence", [code_item(codes.SOURCE_IMAGE)]),
    )
    derivation = item(
        sequence("SourceImageSequence", [source]), sequence("DerivationCodeSequence", [code_item(SEGMENTATION)])
    )
    derived = sequence("DerivationImageSequence", [derivation])  # of each frame: highdicom does not read a shared one
    return {
        "SharedFunctionalGroupsSequence": sequence("SharedFunctionalGroupsSequence", [item()]),
        "PerFrameFunctionalGroupsSequence": sequence(
            "PerFrameFunctionalGroupsSequence", [_frame(place, derived) for place in range(1, frames + 1)]
        ),
    }


def _frame(place: int, derived: bytes) -> bytes:
    content = item(encode.unsigned_longs("DimensionIndexValues", place))
    segment = item(number("ReferencedSegmentNumber", place))
    return item(
        derived, sequence("FrameContentSequence", [content]), sequence("SegmentIdentificationSequence", [segment])
    )


def _dimensions(uid: str) -> dict[str, bytes]:
    """Multi-frame Dimension, PS3.3 C.7.6.17: the one dimension is the segment."""
    organization = derived_uid("dimension", uid)
    index = item(
        element("DimensionOrganizationUID", organization),
        encode.tag_of("DimensionIndexPointer", "ReferencedSegmentNumber"),
        encode.tag_of("FunctionalGroupPointer", "SegmentIdentificationSequence"),
        element("DimensionDescriptionLabel", "Segment Number"),
    )
    named = item(element("DimensionOrganizationUID", organization))
    return {
        "DimensionOrganizationSequence": sequence("DimensionOrganizationSequence", [named]),
        "DimensionIndexSequence": sequence("DimensionIndexSequence", [index]),
    }


def _references(source: Dataset, image: tuple[str, str]) -> dict[str, bytes]:
    """Common Instance Reference, PS3.3 C.12.2."""
    series = item(
        sequence("ReferencedInstanceSequence", [sop_reference(*image)]),
        element("SeriesInstanceUID", copying.series_instance_uid(source)),
    )
    return {"ReferencedSeriesSequence": sequence("ReferencedSeriesSequence", [series])}


def _make(analysis: Analysis, options: ReadingOptions, _earlier: Sequence[PredecessorRef]) -> Iterator[Encoded]:
    return segmentations(analysis, options)


KIND = ResultKind((SEGMENTATION_CLASS,), ReadingOptions, _make)
