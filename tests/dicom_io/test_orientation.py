"""dicom_io.image.orientation: a frontal radiograph is shown with the patient's left on the viewer's right, head up."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import uid

from dicom_io.image.decode import decode
from dicom_io.image.header import read_header
from dicom_io.image.orientation import Orientation, Side, orientation, stored_mask, stored_points
from dicom_io.phantom.studies import compressed, draw_thorax
from tests.dicom_io.test_decode import write

CHEST = draw_thorax(3, "effusion", 611, 533)
WINDOW = {"BitsStored": 12, "WindowCenter": 2048, "WindowWidth": 4096}
# how a chest is stored under this Patient Orientation: rows run to the first, columns to the second
STORED = {
    "L\\F": lambda a: a,
    "R\\F": lambda a: a[:, ::-1],
    "L\\H": lambda a: a[::-1],
    "R\\H": lambda a: a[::-1, ::-1],
    "F\\L": lambda a: a.T,
    "F\\R": lambda a: a[:, ::-1].T,
    "H\\L": lambda a: a[::-1].T,
    "H\\R": lambda a: a[::-1, ::-1].T,
}


def stored(directory: Path, patient_orientation: str | None, pixels: NDArray[Any] = CHEST, **elements: Any) -> Path:
    """A file whose pixels lie as its Patient Orientation says; `pixels` are as displayed."""
    turned = np.ascontiguousarray(STORED.get(patient_orientation or "", lambda a: a)(pixels))
    return write(directory / "o.dcm", turned, PatientOrientation=patient_orientation, **(WINDOW | elements))


@pytest.mark.parametrize("stated", STORED)
@pytest.mark.parametrize("hint", [None, 64, 100])
def test_every_way_to_store_a_chest_is_shown_alike(tmp_path: Path, stated: str, hint: int | None) -> None:
    """Files of one patient that differ in how the pixels lie give the same picture, bit for bit."""
    expected = decode(stored(tmp_path, "L\\F"), size_hint=hint)
    path = stored(tmp_path, stated)
    assert np.array_equal(decode(path, size_hint=hint), expected)
    found = orientation(read_header(path))
    assert found.side is (Side.AS_DISPLAYED if stated == "L\\F" else Side.TURNED)
    assert np.array_equal(found.turn(STORED[stated](CHEST)), CHEST)


@pytest.mark.parametrize("stated", STORED)
def test_padding_and_shutters_turn_with_the_pixels(tmp_path: Path, stated: str) -> None:
    """Shutters count rows and columns as stored; what they and padding hide is hidden in the turned picture."""
    hidden = np.zeros(CHEST.shape, bool)
    hidden[:60], hidden[:, 500:] = True, True
    collimated = np.where(hidden, 4000, CHEST).astype(np.uint16)
    collimated[100:110] = 17  # padding
    expected = np.where(hidden | (collimated == 17), 0, collimated)
    visible = np.argwhere(~STORED[stated](hidden))
    (top, left), (bottom, right) = visible.min(0) + 1, visible.max(0) + 1
    for shape in ("RECTANGULAR", "POLYGONAL"):
        path = stored(
            tmp_path, stated, collimated, PixelPaddingValue=17, ShutterShape=shape,
            ShutterLeftVerticalEdge=int(left), ShutterRightVerticalEdge=int(right),
            ShutterUpperHorizontalEdge=int(top), ShutterLowerHorizontalEdge=int(bottom),
            VerticesOfThePolygonalShutter=list(map(int, (top, left, top, right, bottom, right, bottom, left))),
        )  # fmt: skip
        assert np.allclose(decode(path), np.clip((expected - 0.0) / 4095, 0, 1), atol=2e-4)


@pytest.mark.parametrize("syntax", [uid.JPEGLosslessSV1, uid.JPEG2000Lossless, uid.RLELossless, uid.HTJ2KLossless])
def test_compressed_files_are_turned_too(tmp_path: Path, syntax: str) -> None:
    """Every transfer syntax is turned, at a lower resolution of the codestream too."""
    mirrored = np.ascontiguousarray(CHEST[:, ::-1])
    path = write(tmp_path / "c.dcm", compressed(mirrored, syntax), syntax, Rows=611, Columns=533,
                 PatientOrientation="R\\F", **WINDOW)  # fmt: skip
    assert np.array_equal(decode(path), decode(stored(tmp_path, "L\\F")))
    small = decode(path, size_hint=64)
    expected = decode(stored(tmp_path, "L\\F"), size_hint=64)
    rows, columns = min(small.shape[0], expected.shape[0]), min(small.shape[1], expected.shape[1])
    assert np.abs(small[:rows, :columns] - expected[:rows, :columns]).mean() < 0.02


@pytest.mark.parametrize("stated", [None, "", " ", "L", "R", "\\", "L\\", "\\F", "L\\F\\H", "X\\Y", "LEFT\\FOOT",
                                    "L/F", "RF", "LAFH\\F", "LE\\CD"])  # fmt: skip
def test_an_orientation_that_says_nothing_leaves_the_picture(tmp_path: Path, stated: str | None) -> None:
    """Where Patient Orientation is missing, empty or unreadable, the side is unknown."""
    path = stored(tmp_path, stated)
    assert np.array_equal(decode(path), decode(stored(tmp_path, "L\\F")))
    assert orientation(read_header(stored(tmp_path, stated))) == Orientation(Side.UNKNOWN)


@pytest.mark.parametrize("stated", ["A\\F", "P\\F", "A\\H", "L\\P", "F\\A", "L\\A", "LA\\F", "RA\\F", "FL\\LH",
                                    "L\\FA", "L\\R", "F\\H", "L\\L"])  # fmt: skip
def test_another_plane_is_left_alone(tmp_path: Path, stated: str) -> None:
    """A lateral or oblique picture is shown as it is stored."""
    path = stored(tmp_path, stated)
    assert orientation(read_header(path)) == Orientation(Side.NOT_FRONTAL)
    assert np.array_equal(decode(path), decode(stored(tmp_path, "L\\F")))


@pytest.mark.parametrize("stated", ["r\\f", " R \\ F", "R \\F "])
def test_case_and_blanks_do_not_matter(tmp_path: Path, stated: str) -> None:
    """Small letters and blanks around the values are read as meant."""
    path = write(tmp_path / "o.dcm", CHEST[:, ::-1].copy(), PatientOrientation=stated, **WINDOW)
    assert np.array_equal(decode(path), decode(stored(tmp_path, "L\\F")))


def test_the_field_of_view_asks_for_no_turn(tmp_path: Path) -> None:
    """Field of View Rotation and Horizontal Flip describe the detector (PS3.3 C.8.11.3), not the display."""
    path = stored(tmp_path, "L\\F", FieldOfViewRotation="180", FieldOfViewHorizontalFlip="YES")
    assert np.array_equal(decode(path), decode(stored(tmp_path, "L\\F")))


@pytest.mark.parametrize("stated", [*STORED, None])
@pytest.mark.parametrize("hint", [None, 64, 100])
def test_points_of_the_picture_go_back_to_the_file(tmp_path: Path, stated: str | None, hint: int | None) -> None:
    """Where the decoded picture is bright, the stored pixels are bright too, however they were turned and reduced."""
    shown = np.zeros((611, 533), np.uint16)
    shown[80:120, 300:360] = 4095
    path = stored(tmp_path, stated, shown)  # type: ignore[arg-type]
    check_points(path, decode(path, size_hint=hint), STORED.get(stated or "", lambda a: a)(shown))


@pytest.mark.parametrize("size", [(2100, 2311), (2047, 2050)])
def test_points_of_a_reduced_codestream_go_back_to_the_file(tmp_path: Path, size: tuple[int, int]) -> None:
    """The same for JPEG 2000 that is decoded at a lower resolution."""
    shown = np.zeros(size, np.uint16)
    shown[400:600, 1200:1500] = 4095
    turned = np.ascontiguousarray(shown[:, ::-1])
    elements = {"Rows": size[0], "Columns": size[1], "BitsStored": 12, "WindowCenter": 2048, "WindowWidth": 4096}
    path = write(
        tmp_path / "j.dcm", compressed(turned, uid.JPEG2000Lossless), uid.JPEG2000Lossless, BitsAllocated=16,
        PatientOrientation="R\\F", **elements,
    )  # fmt: skip
    picture = decode(path, size_hint=256)
    assert picture.shape[0] < 1100
    check_points(path, picture, turned)


def check_points(path: Path, picture: NDArray[Any], pixels: NDArray[Any]) -> None:
    """The corners of what is bright in the picture are those of what is bright in the file, but for a pixel's width."""
    corners = bright_corners(picture)
    found = np.array(stored_points(read_header(path), picture.shape, corners))
    expected = np.array(bright_corners(pixels))
    factor = max(pixels.shape) / max(picture.shape)
    assert np.abs(np.sort(found, axis=0) - np.sort(expected, axis=0)).max() <= 1.01 * factor


def bright_corners(picture: NDArray[Any]) -> list[tuple[float, float]]:
    """Two opposite corners of the bright part, (x, y)."""
    rows, columns = np.nonzero(picture > picture.max() / 2)
    return [(float(columns.min()), float(rows.min())), (float(columns.max() + 1), float(rows.max() + 1))]


@pytest.mark.parametrize("stated", STORED)
@pytest.mark.parametrize("factor", [1, 2])
def test_a_mask_lies_on_the_stored_pixels(tmp_path: Path, stated: str, factor: int) -> None:
    """A mask over the picture, which may be smaller and turned, comes back to the pixels that it was drawn on."""
    shown = np.zeros((611, 533), np.uint16)
    shown[100:200, 40:90] = 4095
    file = stored(tmp_path, stated, shown)
    header = read_header(file)
    small = shown[: 611 // factor * factor : factor, : 533 // factor * factor : factor] > 0
    expected = STORED[stated](shown) > 0
    found = stored_mask(header, small)
    assert found.shape == expected.shape
    assert np.count_nonzero(found != expected) <= (0 if factor == 1 else 2 * 2 * (100 + 50))
