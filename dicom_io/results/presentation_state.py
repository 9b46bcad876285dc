"""The Grayscale Softcopy Presentation State (PS3.3 A.33.1): the contour and the words, to be laid over the radiograph.

Each image on which something is above its threshold gets one. The viewer shows the radiograph itself, as the archive
has it and with its own window, and draws the layer "AI" on it, which the reader can switch off.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from pydicom.dataset import Dataset
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
    ExplicitVRLittleEndian,
    GrayscaleSoftcopyPresentationStateStorage,
)

from dicom_io.composite import copying, encode, grayscale, iod
from dicom_io.composite.analysis import (
    Analysis,
    Encoded,
    Location,
    ModelIdentity,
    PredecessorRef,
    ResultKind,
    SourceImage,
    check_analysis,
    result_uid,
)
from dicom_io.composite.encode import element, item, number, sequence
from dicom_io.composite.located import with_locations
from dicom_io.composite.macros import sop_reference
from dicom_io.composite.options import READING, ReadingOptions
from dicom_io.composite.repertoire import repertoire
from dicom_io.elements import element_numbers
from dicom_io.identity import MANUFACTURER
from dicom_io.results import wording
from dicom_io.results.caption import caption
from dicom_io.results.language import Language

SERIES_NUMBER = 9921
CLASS_UID = str(GrayscaleSoftcopyPresentationStateStorage)
LONGEST_LINE = 200
LAYER = "AI"
LARGEST = 0xFFFF  # of Rows and Columns
GRAY, ORANGE = (0xFFFF,), (0xB63D, 0x94A5, 0xCB72)  # P-value; CIELab of the contour's orange (PS3.3 C.10.7.1.1)
REFERENCED = frozenset(
    map(str, (
        ComputedRadiographyImageStorage, DigitalXRayImageStorageForPresentation, DigitalXRayImageStorageForProcessing
    ))
)  # fmt: skip


def presentation_states(analysis: Analysis, options: ReadingOptions = READING) -> Iterator[Encoded]:
    """Yield the presentation state of each image with something above its threshold, in Explicit VR Little Endian.

    All are in one series. The same analysis gives the same UIDs; patient and study are copied as for the report. There
    is none for an image that is no CR or DX image, or that does not say how large it is; no other header makes it
    fail. Raises as `structured_report` does.
    """
    check_analysis(analysis.images, analysis.started)
    overlays = list(_overlays(analysis, options))
    for place, overlay in enumerate(overlays, start=1):
        yield _presentation_state(analysis, options, overlay, overlays[0].uid, place)


@dataclass(frozen=True)
class _Overlay:
    """What lies over one image: `size` is its columns and rows, `uid` the SOP Instance UID of the state."""

    image: SourceImage
    location: Location | None
    size: tuple[int, int]
    uid: str


def _overlays(analysis: Analysis, options: ReadingOptions) -> Iterator[_Overlay]:
    for image, location in with_locations(analysis):
        size = _size(image.dataset)
        if size and copying.sop_class_uid(image.dataset) in REFERENCED:
            where = f"{location.finding} {location.stored}" if location else ""
            uid = result_uid("presentation state", [image], analysis.model, where, *options.parts)
            yield _Overlay(image, location, size, uid)


def _presentation_state(
    analysis: Analysis, options: ReadingOptions, overlay: _Overlay, first: str, place: int
) -> Encoded:
    """The state at `place`, from 1; the series follows from the UID of the `first`."""
    source, model, started = overlay.image.dataset, analysis.model, analysis.started
    said = caption(analysis.images, model, options, analysis.revision)
    series = iod.series_number(SERIES_NUMBER, analysis.revision), first, said, started, source
    lines = label(overlay.image, model, overlay.location, Language.of(options.language))
    elements = {
        **copying.patient_and_study(source),
        **iod.series("PR", *series),
        "Laterality": element("Laterality"),  # Type 2C, PS3.3 C.7.3.1: it cannot be known here
        **iod.equipment(model, started, source),
        **_identification(said, started, source),
        **_relationship(source),
        **_displayed_area(source, overlay.size),
        **_graphics(source, lines, overlay.location, overlay.size),
        **grayscale.modality_lut(source),
        **_softcopy_voi_lut(source),
        "PresentationLUTShape": grayscale.polarity(source),
        **iod.sop_common(CLASS_UID, overlay.uid, started, source, instance_number=place),
    }
    return Encoded(CLASS_UID, overlay.uid, str(ExplicitVRLittleEndian), encode.dataset(elements))


def _size(source: Dataset) -> tuple[int, int] | None:
    """Columns and rows; None where the header does not have them."""
    found = [value for keyword in ("Columns", "Rows") for value in element_numbers(source, keyword)[:1]]
    return (int(found[0]), int(found[1])) if len(found) == 2 and all(0 < value <= LARGEST for value in found) else None


def _identification(said: str, started: datetime, source: Dataset) -> dict[str, bytes]:
    """Presentation State Identification, PS3.3 C.11.10."""
    day, time = iod.day_and_time(started, source)
    return {
        "PresentationCreationDate": element("PresentationCreationDate", day),
        "PresentationCreationTime": element("PresentationCreationTime", time),
        "ContentLabel": element("ContentLabel", LAYER),
        "ContentDescription": element("ContentDescription", repertoire(source).encode(said, 64)),
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
    source: Dataset, lines: Sequence[str], location: Location | None, size: tuple[int, int]
) -> dict[str, bytes]:
    """Graphic Annotation and Graphic Layer, PS3.3 C.10.5, C.10.7: all on one layer."""
    polygons = location.stored if location else ()
    annotation = item(
        sequence("ReferencedImageSequence", [_reference(source)]),
        element("GraphicLayer", LAYER),
        sequence("TextObjectSequence", [_text(source, lines, polygons, size)]),
        *([sequence("GraphicObjectSequence", map(_polyline, polygons))] if polygons else []),
    )
    layer = item(
        element("GraphicLayer", LAYER),
        element("GraphicLayerOrder", "1"),
        number("GraphicLayerRecommendedDisplayGrayscaleValue", *GRAY),
        element("GraphicLayerDescription", "Findings of a program, to be laid over the radiograph"),
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


def _text(
    source: Dataset, lines: Sequence[str], polygons: Sequence[Sequence[tuple[float, float]]], size: tuple[int, int]
) -> bytes:
    """The words in the image's upper left corner, or in the lower one where the contour reaches into the upper one."""
    columns, rows = size
    left, top, height = 0.02 * columns, 0.02 * rows, 0.03 * rows * len(lines)
    within = [y for polygon in polygons for x, y in polygon if x < columns / 2]
    top = top if min(within, default=rows) > top + height else rows - top - height
    return item(
        element("BoundingBoxAnnotationUnits", "PIXEL"),
        element("UnformattedTextValue", b"\r\n".join(repertoire(source).encode(line, LONGEST_LINE) for line in lines)),
        encode.floats("BoundingBoxTopLeftHandCorner", left, top),
        encode.floats("BoundingBoxBottomRightHandCorner", columns - left, top + height),
        element("BoundingBoxTextHorizontalJustification", "LEFT"),
    )


def label(image: SourceImage, model: ModelIdentity, location: Location | None, language: Language) -> list[str]:
    """The lines of words on the image: what is above and near its threshold, whether it was located, the disclaimer."""
    return list(_lines(image, model, location, language))


def _lines(image: SourceImage, model: ModelIdentity, location: Location | None, language: Language) -> Iterator[str]:
    if not model.trained:
        yield wording.untrained(language)
    yield wording.headline([image], language)
    if image.pathology and not wording.above([image]):
        yield wording.line(image.pathology, language)
    yield from wording.called(image, language)
    if location and location.stored:
        finding = wording.lowered(wording.display(location.finding, language))
        yield language.say(
            "Region that weighed most for {finding}. Approximate; not a lesion outline.", finding=finding
        )
    else:
        yield language.say("No location given.")
    yield wording.disclaimer(language)


def _softcopy_voi_lut(source: Dataset) -> dict[str, bytes]:
    """Softcopy VOI LUT, PS3.3 C.11.8; absent where the whole range of values is shown."""
    copied = grayscale.voi_lut(source)
    return {"SoftcopyVOILUTSequence": sequence("SoftcopyVOILUTSequence", [copied])} if copied else {}


def _make(analysis: Analysis, options: ReadingOptions, _earlier: Sequence[PredecessorRef]) -> Iterator[Encoded]:
    return presentation_states(analysis, options)


KIND = ResultKind((CLASS_UID,), ReadingOptions, _make)
