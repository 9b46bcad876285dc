"""daemon.analysis.locating: the page and the journal's result give the same place, each in its own pixels."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from daemon import translate
from daemon.analysis.locating import location_on_page, result_with_locations
from dicom_io.composite.analysis import Analysis
from dicom_io.image.decode import decode
from dicom_io.image.header import read_header
from dicom_io.results.presentation_state import presentation_states
from inference.bundle import load_bundle
from inference.prediction import refused
from inference.serving.classifier import Classifier
from inference.serving.contour import centroid
from inference.serving.location_rule import NEVER_COMPARED
from inference.training.location.fit_location import fit_location
from tests.dicom_io.test_decode import write
from tests.support.sample_results import STARTED, read
from tests.support.spots import SQUASHED, marked_spots, picture_with_spot, spot_bundle, without_spot

ROWS, COLUMNS, X, Y = 240, 200, 60.0, 150.0


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    return Classifier(spot_bundle(tmp_path_factory.mktemp("bundle") / "plain", SQUASHED), "torch")


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    directory = tmp_path_factory.mktemp("bundle") / "spots"
    fit_location(Classifier(spot_bundle(directory, SQUASHED), "torch"), without_spot(20), marked_spots(40), "spots")
    return Classifier(load_bundle(directory), "torch")


@pytest.fixture
def mirrored(tmp_path: Path) -> Path:
    """A file that is stored with left and right exchanged, with a spot at (X, Y)."""
    pixels = np.asarray(255 * picture_with_spot(ROWS, COLUMNS, X, Y, 32), np.uint8)
    return write(tmp_path / "spot.dcm", pixels, PatientOrientation="R\\F")


def test_page_and_result_name_the_same_place(compared: Classifier, mirrored: Path) -> None:
    """The page counts in shares of the picture as it is shown, the result in pixels as they are stored."""
    pixels, header = decode(mirrored), read_header(mirrored)
    (prediction,) = compared.predict([pixels])
    page = location_on_page(header, pixels, prediction, compared)
    assert page is not None
    assert (page.finding, page.reason) == ("Mass", "")
    shown = centroid(np.array(page.polygons[0])) * np.array([COLUMNS, ROWS])
    assert np.hypot(*(shown - (COLUMNS - X, Y))) < 16
    result = result_with_locations("1.2.3", header, pixels, prediction, compared)
    assert result is not None
    (row,) = [row for row in result["findings"] if row["finding"] == "Mass"]
    assert np.hypot(*(np.array(centroid(np.array(row["location"][0]))) - (X, Y))) < 16
    assert np.allclose(page.stored[0], row["location"][0], atol=0.1)


def test_the_overlay_lies_on_the_stored_pixels(compared: Classifier, mirrored: Path) -> None:
    """A presentation state is drawn on the image as it is stored, whichever way the page turns it."""
    pixels, header = decode(mirrored), read_header(mirrored)
    (prediction,) = compared.predict([pixels])
    source = translate.source_image(header, prediction, "")
    place = location_on_page(header, pixels, prediction, compared)
    located = replace(source, location=lambda: place)
    (encoded,) = presentation_states(Analysis((located,), translate.model_identity(compared), STARTED))
    (line,) = read(encoded).GraphicAnnotationSequence[0].GraphicObjectSequence
    assert np.hypot(*(np.array(centroid(np.array(line.GraphicData).reshape(-1, 2))) - (X, Y))) < 16


def test_a_model_that_was_never_compared_says_so_on_the_page(plain: Classifier, mirrored: Path) -> None:
    """The finding is present, its place is not given, and the reason goes to the page."""
    pixels, header = decode(mirrored), read_header(mirrored)
    (prediction,) = plain.predict([pixels])
    page = location_on_page(header, pixels, prediction, plain)
    assert page is not None
    assert (page.finding, page.polygons, page.reason) == ("Mass", (), NEVER_COMPARED)


def test_nothing_is_located_where_nothing_is_present(compared: Classifier, mirrored: Path) -> None:
    """A picture without a finding, one that was refused, and one that could not be decoded have no location."""
    dark, header = picture_with_spot(ROWS, COLUMNS, -90, 0, 1), read_header(mirrored)
    (prediction,) = compared.predict([dark])
    assert location_on_page(header, dark, prediction, compared) is None
    assert location_on_page(header, None, None, compared) is None
    assert location_on_page(header, dark, refused("constant"), compared) is None
    assert result_with_locations("1.2.3", header, None, None, compared) is None
    refusal = result_with_locations("1.2.3", header, dark, refused("constant"), compared)
    assert refusal is not None
    assert "findings" not in refusal
