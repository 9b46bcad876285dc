"""The Grayscale Softcopy Presentation State (PS3.3 A.33.1): the contour and the words, to be laid over the radiograph.

Each image on which something is above its threshold gets one. The viewer shows the radiograph itself, as the archive
has it and with its own window, and draws the layer "AI" on it, which the reader can switch off.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime

from pydicom.dataset import Dataset
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
    ExplicitVRLittleEndian,
    GrayscaleSoftcopyPresentationStateStorage,
)

from dicom_io.composite import codes, copying, encode, grayscale, iod
from dicom_io.composite.analysis import (
    Analysis,
    Encoded,
    Location,
    ModelIdentity,
    NoOptions,
    PredecessorRef,
    ResultKind,
    SourceImage,
    check_analysis,
    result_uid,
    with_locations,
)
from dicom_io.composite.codes import coded
from dicom_io.composite.encode import element, item, number, plain, sequence
from dicom_io.composite.macros import sop_reference
from dicom_io.elements import element_numbers
from dicom_io.identity import MANUFACTURER
from dicom_io.results import wording

SERIES_NUMBER = "9921"
LAYER = "AI"
LARGEST = 0xFFFF  # of Rows and Columns
GRAY, ORANGE = (0xFFFF,), (0xB63D, 0x94A5, 0xCB72)  # P-value; CIELab of the contour's orange (PS3.3 C.10.7.1.1)
REFERENCED = frozenset(
    map(str, (
        ComputedRadiographyImageStorage, DigitalXRayImageStorageForPresentation, DigitalXRayImageStorageForProcessing
    ))
)  # fmt: skip


def presentation_state(
    image: SourceImage, model: ModelIdentity, started: datetime, location: Location | None
) -> Encoded | None:
    """The presentation state of one image, encoded in Explicit VR Little Endian.

    The same analysis gives the same UID; patient and study are copied as for the report. None where the image is no CR
    or DX image, or does not say how large it is. No other header makes it fail.
    """
    check_analysis([image], started)
    source = image.dataset
    size = _size(source)
    if size is None or copying.sop_class_uid(source) not in REFERENCED:
        return None
    class_uid = str(GrayscaleSoftcopyPresentationStateStorage)
    place = f"{location.finding} {location.stored}" if location else ""
    uid = result_uid("presentation state", [image], model, place)
    elements = {
        **copying.patient_and_study(source),
        **iod.series("PR", SERIES_NUMBER, uid, model, started, source),
        "Laterality": element("Laterality"),  # Type 2C, PS3.3 C.7.3.1: it cannot be known here
        **iod.equipment(model, started, source),
        **_identification(model, started, source),
        **_relationship(source),
        **_displayed_area(source, size),
        **_graphics(image, model, location, size),
        **grayscale.modality_lut(source),
        **_softcopy_voi_lut(source),
        "PresentationLUTShape": grayscale.polarity(source),
        **iod.sop_common(class_uid, uid, started, source),
    }
    return Encoded(class_uid, uid, str(ExplicitVRLittleEndian), encode.dataset(elements))


def _size(source: Dataset) -> tuple[int, int] | None:
    """Columns and rows; None where the header does not have them."""
    found = [value for keyword in ("Columns", "Rows") for value in element_numbers(source, keyword)[:1]]
    return (int(found[0]), int(found[1])) if len(found) == 2 and all(0 < value <= LARGEST for value in found) else None


def _identification(model: ModelIdentity, started: datetime, source: Dataset) -> dict[str, bytes]:
    """Presentation State Identification, PS3.3 C.11.10."""
    day, time = iod.day_and_time(started, source)
    described = iod.SERIES_DESCRIPTION if model.trained else iod.SERIES_DESCRIPTION_UNTRAINED
    return {
        "PresentationCreationDate": element("PresentationCreationDate", day),
        "PresentationCreationTime": element("PresentationCreationTime", time),
        "ContentLabel": element("ContentLabel", LAYER),
        "ContentDescription": element("ContentDescription", described),
        "ContentCreatorName": element("ContentCreatorName", MANUFACTURER),
    }


def _relationship(source: Dataset) -> dict[str, bytes]:
    """Presentation State Relationship, PS3.3 C.11.11."""
    series = item(
        sequence("ReferencedImageSequence", [_reference(source)]),
        element("SeriesInstanceUID", copying.series_instance_uid(source)),
    )
    return {"ReferencedSeriesSequence": sequence("ReferencedSeriesSequence", [series])}


def _reference(source: Dataset) -> bytes:
    return sop_reference(copying.sop_class_uid(source), copying.sop_instance_uid(source))


def _displayed_area(source: Dataset, size: tuple[int, int]) -> dict[str, bytes]:
    """Displayed Area, PS3.3 C.10.4: the whole image, as large as the viewport lets it be."""
    stated = element_numbers(source, "PixelAspectRatio")
    ratio = map(int, stated if len(stated) == 2 and all(1 <= value <= LARGEST for value in stated) else (1, 1))
    area = item(
        encode.longs("DisplayedAreaTopLeftHandCorner", 1, 1),
        encode.longs("DisplayedAreaBottomRightHandCorner", *size),
        element("PresentationSizeMode", "SCALE TO FIT"),
        element("PresentationPixelAspectRatio", "\\".join(map(str, ratio))),
    )
    return {"DisplayedAreaSelectionSequence": sequence("DisplayedAreaSelectionSequence", [area])}


def _graphics(
    image: SourceImage, model: ModelIdentity, location: Location | None, size: tuple[int, int]
) -> dict[str, bytes]:
    """Graphic Annotation and Graphic Layer, PS3.3 C.10.5, C.10.7: all on one layer."""
    polygons = location.stored if location else ()
    annotation = item(
        sequence("ReferencedImageSequence", [_reference(image.dataset)]),
        element("GraphicLayer", LAYER),
        sequence("TextObjectSequence", [_text(label(image, model, location), polygons, size)]),
        *([sequence("GraphicObjectSequence", map(_polyline, polygons))] if polygons else []),
    )
    layer = item(
        element("GraphicLayer", LAYER),
        element("GraphicLayerOrder", "1"),
        number("GraphicLayerRecommendedDisplayGrayscaleValue", *GRAY),
        element("GraphicLayerDescription", iod.DISCLAIMER),
        number("GraphicLayerRecommendedDisplayCIELabValue", *ORANGE),
    )
    return {
        "GraphicAnnotationSequence": sequence("GraphicAnnotationSequence", [annotation]),
        "GraphicLayerSequence": sequence("GraphicLayerSequence", [layer]),
    }


def _polyline(polygon: Sequence[tuple[float, float]]) -> bytes:
    """A closed line; the origin is the top left corner of the top left pixel (PS3.3 C.10.5.1.2)."""
    points = [*polygon, polygon[0]]
    return item(
        element("GraphicAnnotationUnits", "PIXEL"),
        number("GraphicDimensions", 2),
        number("NumberOfGraphicPoints", len(points)),
        encode.floats("GraphicData", *(value for point in points for value in point)),
        element("GraphicType", "POLYLINE"),
        element("GraphicFilled", "N"),
    )


def _text(lines: Sequence[str], polygons: Sequence[Sequence[tuple[float, float]]], size: tuple[int, int]) -> bytes:
    """The words in the image's upper left corner, or in the lower one where the contour reaches into the upper one."""
    columns, rows = size
    left, top, height = 0.02 * columns, 0.02 * rows, 0.03 * rows * len(lines)
    within = [y for polygon in polygons for x, y in polygon if x < columns / 2]
    top = top if min(within, default=rows) > top + height else rows - top - height
    return item(
        element("BoundingBoxAnnotationUnits", "PIXEL"),
        element("UnformattedTextValue", "\r\n".join(lines)),
        encode.floats("BoundingBoxTopLeftHandCorner", left, top),
        encode.floats("BoundingBoxBottomRightHandCorner", columns - left, top + height),
        element("BoundingBoxTextHorizontalJustification", "LEFT"),
    )


def label(image: SourceImage, model: ModelIdentity, location: Location | None) -> list[str]:
    """The lines of words on the image: what is above and near its threshold, whether it was located, the disclaimer."""
    return [plain(line, 200) for line in _lines(image, model, location)]


def _lines(image: SourceImage, model: ModelIdentity, location: Location | None) -> Iterator[str]:
    if not model.trained:
        yield iod.UNTRAINED
    shown = [result for result in wording.ranked(image.findings) if result.call != "below"]
    if image.pathology and not any(result.call == "above" for result in shown):
        yield f"AI: {codes.PATHOLOGY.meaning} {wording.said(image.pathology)}"
    for result in shown:
        yield f"AI: {coded(result.finding).display} {wording.said(result)}"
    if location and location.polygons:
        yield f"Contour: region that weighed most for {coded(location.finding).display}; approximate"
    else:
        yield "No location given"
    yield iod.DISCLAIMER


def _softcopy_voi_lut(source: Dataset) -> dict[str, bytes]:
    """Softcopy VOI LUT, PS3.3 C.11.8; absent where the whole range of values is shown."""
    copied = grayscale.voi_lut(source)
    return {"SoftcopyVOILUTSequence": sequence("SoftcopyVOILUTSequence", [copied])} if copied else {}


def _make(analysis: Analysis, _options: NoOptions, _earlier: Sequence[PredecessorRef]) -> Iterator[Encoded]:
    for image, location in with_locations(analysis):
        if made := presentation_state(image, analysis.model, analysis.started, location):
            yield made


KIND = ResultKind((str(GrayscaleSoftcopyPresentationStateStorage),), NoOptions, _make)
