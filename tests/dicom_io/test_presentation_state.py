"""The presentation state: contour and words on the radiograph itself."""

import subprocess
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import ComputedRadiographyImageStorage, SecondaryCaptureImageStorage

from dicom_io.composite.analysis import Analysis, Encoded, Location, ModelIdentity, SourceImage
from dicom_io.image.header import read_header
from dicom_io.results.presentation_state import KIND, presentation_states
from tests.conftest import require
from tests.support.peers import dx_file
from tests.support.sample_results import (
    FAILED,
    FOUND,
    MODEL,
    SECOND,
    STARTED,
    UNTRAINED,
    WITHOUT,
    findings,
    header,
    read,
    save,
)  # fmt: skip
from tests.support.validators import iod_errors

SQUARE = ((100.0, 50.0), (200.0, 50.0), (200.0, 150.0), (100.0, 150.0))
CONTOUR = Location("Effusion", (), "", (SQUARE,))
LUT = Dataset()
LUT.LUTDescriptor, LUT.LUTData = [4096, 0, 12], np.arange(4096, dtype="<u2").tobytes()
LUT["LUTDescriptor"].VR, LUT["LUTData"].VR = "US", "OW"
SIZED = {"Rows": 300, "Columns": 400, "PhotometricInterpretation": "MONOCHROME2"}


def presentation_state(
    image: SourceImage, model: ModelIdentity, started: datetime, location: Location | None
) -> Encoded | None:
    """The presentation state of one image; None where there is none."""
    located = replace(image, location=lambda: location)
    return next(presentation_states(Analysis((located,), model, started)), None)


def image(**values: Any) -> SourceImage:
    return replace(FOUND, dataset=header(**{**SIZED, **values}))


def made(location: Location | None = CONTOUR, **values: Any) -> Encoded:
    encoded = presentation_state(image(**values), MODEL, STARTED, location)
    assert encoded
    return encoded


IMAGES: dict[str, dict[str, Any]] = {
    "plain": {},
    "window": {"WindowCenter": [2048, 1], "WindowWidth": [4096, 1]},
    "sigmoid": {"WindowCenter": "2048.5", "WindowWidth": "1000.5", "VOILUTFunction": "SIGMOID"},
    "table and window": {"VOILUTSequence": [LUT], "WindowCenter": 1, "WindowWidth": 1},
    "rescaled": {"RescaleSlope": "1.5", "RescaleIntercept": "-1024", "RescaleType": "US"},
    "modality table": {"ModalityLUTSequence": [LUT]},
    "modality table and window": {"ModalityLUTSequence": [LUT], "WindowCenter": 1025, "WindowWidth": 2049},
    "both tables": {"ModalityLUTSequence": [LUT], "VOILUTSequence": [LUT]},
    "MONOCHROME1": {"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "IDENTITY"},
    "CR": {"SOPClassUID": ComputedRadiographyImageStorage, "Modality": "CR"},
    "ends": {"SmallestImagePixelValue": 5, "LargestImagePixelValue": 4000},
    "long pixels": {"PixelAspectRatio": [2, 1]},
}


@pytest.mark.parametrize("kind", IMAGES)
@pytest.mark.parametrize("location", [CONTOUR, None], ids=["contour", "no location"])
def test_dciodvfy_finds_no_error(kind: str, location: Location | None, tmp_path: Path) -> None:
    """Every kind of presentation state is a valid instance of its IOD."""
    assert iod_errors(save(made(location, **IMAGES[kind]), tmp_path / "pr.dcm")) == []


def test_contour_and_words_are_on_the_layer_of_the_image() -> None:
    """Another implementation reads the polygon in pixels of the stored image, closed, and the words beside it."""
    state = read(made())
    (annotation,) = state.GraphicAnnotationSequence
    (line,), (text,) = annotation.GraphicObjectSequence, annotation.TextObjectSequence
    points = np.array(line.GraphicData).reshape(-1, 2)
    highdicom.pr.GraphicObject("POLYLINE", points, "PIXEL")
    assert (points == [*SQUARE, SQUARE[0]]).all()
    assert text.UnformattedTextValue.splitlines()[:2] == [
        "AI: 2 findings above threshold",
        "Mass: above threshold (score 89)",
    ]
    assert "not for primary diagnosis" in text.UnformattedTextValue
    assert [layer.GraphicLayer for layer in state.GraphicLayerSequence] == [annotation.GraphicLayer] == ["AI"]
    (reference,) = annotation.ReferencedImageSequence
    assert reference.ReferencedSOPInstanceUID == FOUND.dataset.SOPInstanceUID
    assert state.ReferencedSeriesSequence[0].SeriesInstanceUID == FOUND.dataset.SeriesInstanceUID
    assert (state.Modality, state.SeriesNumber) == ("PR", 9921)
    assert (state.PatientName, state.StudyInstanceUID) == (FOUND.dataset.PatientName, FOUND.dataset.StudyInstanceUID)


def test_words_alone_where_no_location_is_given() -> None:
    """Without a contour the words stay, and say that no location is given."""
    (annotation,) = read(made(None)).GraphicAnnotationSequence
    assert "GraphicObjectSequence" not in annotation
    assert "No location given" in annotation.TextObjectSequence[0].UnformattedTextValue


@pytest.mark.parametrize("top", [10.0, 200.0])
def test_the_words_keep_clear_of_the_contour(top: float) -> None:
    """The words stand in the corner that the contour leaves free, within the image."""
    place = Location("Effusion", (), "", (((20, top), (90, top), (90, top + 50)),))
    (text,) = read(made(place)).GraphicAnnotationSequence[0].TextObjectSequence
    (_, first), (_, last) = text.BoundingBoxTopLeftHandCorner, text.BoundingBoxBottomRightHandCorner
    assert 0 <= first < last <= 300
    assert last < top or first > top + 50


def test_the_window_is_the_images() -> None:
    """The table where it has one, else its first window; the range of its values where the header tells it."""

    def voi(kind: str) -> Dataset:
        found: Dataset = read(made(**IMAGES[kind])).SoftcopyVOILUTSequence[0]
        return found

    assert (voi("window").WindowCenter, voi("window").WindowWidth) == (2048, 4096)
    assert (voi("sigmoid").WindowCenter, voi("sigmoid").VOILUTFunction) == (2048.5, "SIGMOID")
    table = voi("table and window").VOILUTSequence[0]
    assert list(table.LUTDescriptor) == [4096, 0, 16]
    assert np.allclose(np.frombuffer(table.LUTData, "<u2"), np.arange(4096) * 65535 / 4095, atol=1)
    assert "WindowCenter" not in voi("table and window")
    words = np.frombuffer(voi("modality table and window").VOILUTSequence[0].LUTData, "<u2")
    assert np.allclose(words[[0, 1024, 2048, 4095]], [0, 32752, 65519, 65535], atol=1)
    assert (voi("ends").WindowCenter, voi("ends").WindowWidth) == (2003, 3996)
    assert "SoftcopyVOILUTSequence" not in read(made())
    assert read(made(**IMAGES["rescaled"])).RescaleIntercept == -1024
    assert read(made(**IMAGES["MONOCHROME1"])).PresentationLUTShape == "INVERSE"


INFINITE = ("Rows", "Columns", "PixelAspectRatio", "SmallestImagePixelValue", "LargestImagePixelValue")


@pytest.mark.parametrize("keyword", INFINITE)
@pytest.mark.parametrize("value", [b"inf\\inf ", b"nan\\nan ", b"-1\\-1 ", b"1e300\\1e300 "])
def test_no_number_is_too_large(keyword: str, value: bytes) -> None:
    """A number that the header writes as text may be anything; without a size there is no presentation state."""
    source = header(**SIZED, SmallestImagePixelValue=1, LargestImagePixelValue=9)
    source[keyword] = RawDataElement(Tag(keyword), "DS", len(value), value, 0, False, True)
    encoded = presentation_state(replace(FOUND, dataset=source), MODEL, STARTED, CONTOUR)
    assert (encoded is None) == (keyword in ("Rows", "Columns"))
    if encoded:
        (area,) = read(encoded).DisplayedAreaSelectionSequence
        assert area.PresentationPixelAspectRatio == [1, 1]


BAD = {"WindowCenter": b"12\\x ", "WindowWidth": b"nan ", "RescaleSlope": b"0 ", "PatientName": b"\x1b\xff\xfe"}


@pytest.mark.parametrize("keyword", BAD)
def test_no_malformed_value_stops_it(keyword: str, tmp_path: Path) -> None:
    """What the header says wrongly is left out of how the image is shown; the rest is there."""
    from tests.dicom_io.test_report import with_raw

    source = header(**SIZED, WindowCenter=1, WindowWidth=1, RescaleSlope=1, RescaleIntercept=1)
    with_raw(source, keyword, BAD[keyword])
    encoded = presentation_state(replace(FOUND, dataset=source), MODEL, STARTED, CONTOUR)
    assert encoded
    assert read(encoded).GraphicAnnotationSequence


def test_one_for_each_image_with_a_call_above() -> None:
    """Negative and refused images, images that are no CR or DX and images of unknown size get none."""
    second = replace(SECOND, dataset=header(2, **SIZED))
    capture = replace(FOUND, dataset=header(4, **SIZED, SOPClassUID=SecondaryCaptureImageStorage))
    negative = replace(WITHOUT, dataset=header(5, **SIZED))
    first = replace(image(), location=lambda: CONTOUR)
    analysis = Analysis((first, second, FAILED, capture, negative, replace(FOUND, dataset=header(6))), MODEL, STARTED)
    states = [read(encoded) for encoded in KIND.make(analysis, KIND.options(), ())]
    shown = [s.GraphicAnnotationSequence[0] for s in states]
    assert [s.ReferencedImageSequence[0].ReferencedSOPInstanceUID for s in shown] == [
        image().dataset.SOPInstanceUID, second.dataset.SOPInstanceUID
    ]  # fmt: skip
    assert ["GraphicObjectSequence" in s for s in shown] == [True, False]
    assert len({s.SeriesInstanceUID for s in states}) == 1
    assert [s.InstanceNumber for s in states] == [1, 2]


def test_only_whether_there_is_anything() -> None:
    """Where the model is above on the whole but on no single finding, the words say that."""
    (source,) = [replace(image(), findings=findings())]
    encoded = presentation_state(source, MODEL, STARTED, None)
    assert encoded
    text = read(encoded).GraphicAnnotationSequence[0].TextObjectSequence[0].UnformattedTextValue
    assert "Any finding: above threshold (score 95)" in text


def test_untrained_weights_are_named_on_the_image() -> None:
    """A test of the connection cannot be taken for a finding."""
    encoded = presentation_state(image(), UNTRAINED, STARTED, None)
    assert encoded
    assert "UNTRAINED" in read(encoded).GraphicAnnotationSequence[0].TextObjectSequence[0].UnformattedTextValue


def test_same_analysis_is_the_same_object() -> None:
    """UID and bytes depend on the analysis alone; another place is another object."""
    assert made() == made()
    assert made().sop_instance_uid != made(None).sop_instance_uid


def drawn(path: Path, *options: str | Path) -> np.ndarray:
    """What dcmtk shows of an image."""
    out = path.with_suffix(".pgm")
    done = subprocess.run(["dcmp2pgm", *options, path, out], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return np.asarray(Image.open(out), dtype=float)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_dcmtk_draws_it(photometric: str, tmp_path: Path) -> None:
    """dcmtk applies the state to the image that it names: the picture stays as it is without it."""
    require("dcmp2pgm", "dcmpschk")
    path = dx_file(tmp_path / "dx.dcm", PhotometricInterpretation=photometric, WindowCenter=1000, WindowWidth=900,
                   PresentationLUTShape="INVERSE" if photometric == "MONOCHROME1" else "IDENTITY")  # fmt: skip
    source = replace(FOUND, dataset=read_header(path).dataset)
    encoded = presentation_state(source, MODEL, STARTED, CONTOUR)
    assert encoded
    state = save(encoded, tmp_path / "pr.dcm")
    checked = subprocess.run(["dcmpschk", state], capture_output=True, text=True)
    assert "Test passed" in checked.stdout + checked.stderr
    with_state, without = drawn(path, "-p", state), drawn(path)
    assert without.std() > 10
    assert np.abs(with_state - without).max() <= 1


def test_real_headers(shared: Path, tmp_path: Path) -> None:
    """A presentation state of every real radiograph is valid, as far as its header lets there be one."""
    valid = []
    for path in sorted((shared / "data" / "dicom").glob("*.dcm")):
        source = replace(FOUND, dataset=dcmread(path, stop_before_pixels=True, force=True))
        if encoded := presentation_state(source, MODEL, STARTED, CONTOUR):
            valid.append(save(encoded, tmp_path / path.name))
    assert valid
    carried = ("Value invalid for this VR", "Illegal root for UID")  # identity goes byte for byte
    assert [line for line in iod_errors(*valid) if not any(words in line for words in carried)] == []
