"""dicom_io.image.decode: the picture that a radiologist sees, or NoPicture with its reason; never anything between."""

import os
import resource
import struct
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom import config, uid
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels import apply_modality_lut, apply_voi_lut

from dicom_io.image.compression import codecs
from dicom_io.image.decode import decode
from dicom_io.image.header import read_header
from dicom_io.image.no_picture import (
    Constant,
    NoDecoder,
    NoPicture,
    NoPixels,
    TooLarge,
    Truncated,
    Undecodable,
    Unsupported,
)
from dicom_io.phantom.studies import compressed
from dicom_io.phantom.studies import draw_thorax as draw_thorax_anew

draw_thorax = cache(draw_thorax_anew)
MADE = int(os.environ.get("HILUM_EXAMPLES", "150"))  # more on demand
RAMP = np.arange(64 * 48, dtype=np.uint16).reshape(64, 48)


def write(path: Path, pixels: NDArray[Any] | bytes, syntax: str = uid.ExplicitVRLittleEndian, **elements: Any) -> Path:
    """Write a CR object with these pixels; `elements` replace the usual ones, and None removes one."""
    rows, columns = pixels.shape[:2] if isinstance(pixels, np.ndarray) else (0, 0)
    bits = 8 * pixels.dtype.itemsize if isinstance(pixels, np.ndarray) else 16
    values: dict[str, Any] = {
        "SOPClassUID": uid.ComputedRadiographyImageStorage, "SOPInstanceUID": "1.2.3", "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2", "Rows": rows, "Columns": columns, "BitsAllocated": bits,
        "BitsStored": bits, "PixelRepresentation": 0,
    } | elements  # fmt: skip
    values = {"HighBit": values["BitsStored"] - 1} | values
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = uid.UID(syntax)
    for keyword, value in values.items():
        if value is not None:
            ds.add(DataElement(keyword, _vr(keyword, values), value, validation_mode=config.IGNORE))
    little = uid.UID(syntax).is_little_endian
    data = pixels
    if isinstance(pixels, np.ndarray):
        data = pixels.astype(pixels.dtype.newbyteorder("<" if little else ">")).tobytes()
    if uid.UID(syntax).is_encapsulated:
        data = encapsulate([data])
    if data:
        ds.add(DataElement("PixelData", "OB" if uid.UID(syntax).is_encapsulated else "OW", data))
        ds["PixelData"].is_undefined_length = uid.UID(syntax).is_encapsulated
    ds.save_as(path, enforce_file_format=True)
    return path


def _vr(keyword: str, values: dict[str, Any]) -> str:
    vr = dictionary_VR(keyword)
    return ("SS" if values["PixelRepresentation"] else "US") if vr == "US or SS" else vr


def as_pydicom(path: Path) -> NDArray[np.float64]:
    """The same picture made with pydicom's LUT functions, scaled to 0..1, MONOCHROME1 inverted, R\\F mirrored."""
    ds = pydicom.dcmread(path)
    values = apply_modality_lut(ds.pixel_array.astype(np.int32), ds)  # int32: pydicom's subtraction may overflow
    if "VOILUTSequence" in ds:
        shown = apply_voi_lut(values, ds) / (2 ** ds.VOILUTSequence[0].LUTDescriptor[2] - 1)
    elif "WindowWidth" in ds:
        shown = _scaled(apply_voi_lut(values, ds), *_output_range(ds))
    else:
        changed = "RescaleSlope" in ds or "ModalityLUTSequence" in ds
        display = ds.BitsStored == 8 and not ds.PixelRepresentation and not changed
        shown = _scaled(values, *((0, 255) if display else (values.min(), values.max())))
    shown = shown[:, ::-1] if ds.get("PatientOrientation") == ["R", "F"] else shown
    return 1 - shown if ds.PhotometricInterpretation == "MONOCHROME1" else shown


def _scaled(values: NDArray[Any], low: float, high: float) -> NDArray[np.float64]:
    return (values.astype(np.float64) - low) / (float(high) - float(low))


def _output_range(ds: Dataset) -> tuple[float, float]:
    """The output range of pydicom's window: the range of the stored bits, after the Modality LUT."""
    low, high = (-(2 ** (ds.BitsStored - 1)), 2 ** (ds.BitsStored - 1) - 1) if ds.PixelRepresentation else \
        (0, 2**ds.BitsStored - 1)  # fmt: skip
    slope, intercept = float(ds.get("RescaleSlope", 1)), float(ds.get("RescaleIntercept", 0))
    return low * slope + intercept, high * slope + intercept


# --- against pydicom, on real files

READABLE = ["ImagingDataCommons__dx_image", "fo-dicom__CR-ModalitySequenceLUT", "ivmartel__gdcm-CR-MONO1-10-chest",
            "pydicom__6154", "pydicom__6247", "pydicom__6278", "robyoung__RG1_J2KI", "robyoung__RG2_J2KI",
            "robyoung__RG2_JLSL", "robyoung__RG2_JLSN", "robyoung__RG2_JPLL", "robyoung__RG2_RLE", "robyoung__RG3_J2KI",
            "robyoung__RG3_J2KR", "robyoung__RG3_JLSL", "robyoung__RG3_JPLL", "robyoung__RG3_RLE", "udacity__test1",
            "udacity__test2"]  # fmt: skip


@pytest.mark.parametrize("name", READABLE)
def test_real_files_decode_as_pydicom_does(shared: Path, name: str) -> None:
    """Real files of every transfer syntax give the same picture as pydicom, to the precision of float32."""
    path = shared / "data" / "dicom" / f"{name}.dcm"
    picture = decode(path)
    expected = as_pydicom(path)
    assert picture.dtype == np.float32
    assert picture.shape == expected.shape
    assert np.abs(picture - expected).max() < 2e-6


@pytest.mark.parametrize(("lossy", "lossless", "apart"), [
    ("RG2_JPLY", "RG2_JPLL", 0.01), ("RG3_JPLY", "RG3_JPLL", 0.01), ("MG1_JPLY", "MG1_J2KI", 0.01),
])  # fmt: skip
def test_twelve_bit_jpeg_is_the_same_image(shared: Path, lossy: str, lossless: str, apart: float) -> None:
    """JPEG Extended of 12 bits, which some decoders turn to zeros, looks like another encoding of the image."""
    directory = shared / "data" / "dicom"
    one, other = decode(directory / f"robyoung__{lossy}.dcm"), decode(directory / f"robyoung__{lossless}.dcm")
    assert np.abs(one - other).mean() < apart
    assert np.corrcoef(one.ravel()[::7], other.ravel()[::7])[0, 1] > 0.99


@pytest.mark.parametrize("name", ["orthanc-mirrors__CR000000", "orthanc-mirrors__Issue56-NoPixelData",
                                  "fo-dicom__chrJapMulti", "fo-dicom__chrJapMultiExplicitIR6"])  # fmt: skip
def test_real_files_without_pixels_are_refused(shared: Path, name: str) -> None:
    """An object without Pixel Data raises NoPixels."""
    with pytest.raises(NoPixels):
        decode(shared / "data" / "dicom" / f"{name}.dcm")


@pytest.mark.parametrize("name", [*READABLE, "robyoung__MG1_J2KI", "robyoung__RG2_JPLY"])
def test_a_smaller_picture_is_the_same_picture(shared: Path, name: str) -> None:
    """With a size hint both sides keep twice the hint at least, and each pixel is the mean of a block."""
    path = shared / "data" / "dicom" / f"{name}.dcm"
    whole, small = decode(path), decode(path, size_hint=128)
    if min(whole.shape) < 512:
        assert np.array_equal(whole, small)
        return
    assert min(small.shape) >= 256
    assert min(small.shape) < min(whole.shape)
    assert np.array_equal(small, decode(path, size_hint=128))
    factor = round(whole.shape[0] / small.shape[0])
    rows, columns = min(small.shape[0], whole.shape[0] // factor), min(small.shape[1], whole.shape[1] // factor)
    mean = whole[: rows * factor, : columns * factor].reshape(rows, factor, columns, factor).mean((1, 3))
    difference = np.abs(small[:rows, :columns] - mean)
    assert difference.mean() < (0.02 if "J2K" in name else 1e-5)


# --- against pydicom, on every kind of stored value


@st.composite
def objects(draw: st.DrawFn) -> tuple[NDArray[Any], dict[str, Any]]:
    """Pixels and the elements that go with them."""
    stored = draw(st.integers(8, 16))
    allocated = 8 if stored == 8 and draw(st.booleans()) else 16
    signed = draw(st.booleans())
    low, high = (-(1 << (stored - 1)), (1 << (stored - 1)) - 1) if signed else (0, (1 << stored) - 1)
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    values = rng.integers(low, high + 1, (draw(st.integers(4, 40)), draw(st.integers(4, 40))))
    values.flat[:2] = low, high
    elements: dict[str, Any] = {
        "BitsStored": stored, "PixelRepresentation": int(signed),
        "PhotometricInterpretation": draw(st.sampled_from(["MONOCHROME1", "MONOCHROME2"])),
    }  # fmt: skip
    kind = draw(st.sampled_from(["none", "LINEAR", "LINEAR_EXACT", "SIGMOID", "several", "VOI LUT"]))
    if draw(st.booleans()):  # pydicom wraps inputs of a VOI LUT beyond 65535
        slopes, intercepts = ["1", "0.684", "-1", "2.5"], ["0", "-1024", "200"]
        last = -1 if kind == "VOI LUT" else None
        elements |= {
            "RescaleSlope": draw(st.sampled_from(slopes[:last])),
            "RescaleIntercept": draw(st.sampled_from(intercepts[:last])),
        }
    if kind == "VOI LUT":
        elements |= {"VOILUTSequence": [lut(rng, 1 << stored, low if not elements.get("RescaleSlope") else 0, signed)]}
    elif kind != "none":
        center, width = draw(st.integers(low, high)), draw(st.integers(2, 2 * (high - low)))
        elements |= {"WindowCenter": center, "WindowWidth": width, "VOILUTFunction": kind}
        if kind == "several":
            elements |= {"WindowCenter": [center, 5], "WindowWidth": [width, 7], "VOILUTFunction": None}
    return values.astype(f"{'i' if signed else 'u'}{allocated // 8}"), elements


def lut(rng: np.random.Generator, number: int, first: int, signed: bool) -> Dataset:
    item = Dataset()
    entries = np.sort(rng.integers(0, 1 << 12, number)).astype("<u2")
    item.add(DataElement("LUTDescriptor", "SS" if signed and number < 65536 else "US",
                         [number % 65536, first if signed and number < 65536 else max(first, 0), 12]))  # fmt: skip
    item.add(DataElement("LUTData", "OW", entries.tobytes()))
    return item


@settings(max_examples=MADE, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(made=objects())
def test_every_kind_of_pixel_decodes_as_pydicom_does(tmp_path: Path, made: tuple[NDArray[Any], dict[str, Any]]) -> None:
    """Any bits, sign, photometric interpretation, rescale and window give the same picture as pydicom, within 0..1."""
    pixels, elements = made
    path = write(tmp_path / "any.dcm", pixels, **elements)
    try:
        picture = decode(path)
    except Constant:
        expected = as_pydicom(path)
        assert np.ptp(expected) < 0.05
        return
    assert np.isfinite(picture).all()
    assert picture.min() >= 0
    assert picture.max() <= 1
    assert np.abs(picture - np.clip(as_pydicom(path), 0, 1)).max() < 2e-6


@pytest.mark.parametrize("syntax", [uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian,
                                    uid.DeflatedExplicitVRLittleEndian])  # fmt: skip
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_native_syntaxes(tmp_path: Path, syntax: str, kind: type) -> None:
    """The same pixels give the same picture in every uncompressed transfer syntax."""
    pixels = (RAMP % 251).astype(kind)
    data = pixels
    if syntax == uid.ExplicitVRBigEndian and kind is np.uint8:  # OW: pairs of bytes swapped (PS3.5 8.2)
        data = pixels.reshape(-1, 2)[:, ::-1].reshape(pixels.shape)
    picture = decode(write(tmp_path / "native.dcm", data, syntax))
    assert np.allclose(picture, pixels / (255 if kind is np.uint8 else 250), atol=1e-6)


LOSSLESS = [uid.RLELossless, uid.JPEGLosslessSV1, uid.JPEGLossless, uid.JPEGLSLossless, uid.JPEG2000Lossless,
            uid.HTJ2KLossless]  # fmt: skip
LOSSY = [uid.JPEGExtended12Bit, uid.JPEGLSNearLossless, uid.JPEG2000, uid.HTJ2K]


@pytest.fixture(scope="module")
def thorax() -> NDArray[np.uint16]:
    return draw_thorax(3, "effusion", 611, 533)


@pytest.mark.parametrize("syntax", LOSSLESS, ids=lambda s: s.keyword)
def test_lossless_syntaxes(tmp_path: Path, thorax: NDArray[np.uint16], syntax: str) -> None:
    """Each lossless syntax gives back the pixels that were compressed."""
    picture = decode(write_compressed(tmp_path, thorax, syntax))
    assert np.abs(picture - thorax / 4095).max() < 1e-6


@pytest.mark.parametrize("syntax", LOSSY, ids=lambda s: s.keyword)
def test_lossy_syntaxes(tmp_path: Path, thorax: NDArray[np.uint16], syntax: str) -> None:
    """Each lossy syntax gives nearly the same pixels, and overshoot does not wrap from white to black."""
    saturated = thorax.copy()
    saturated[100:200, 100:200] = 4095
    saturated[200:300, 100:200] = 0
    difference = np.abs(decode(write_compressed(tmp_path, saturated, syntax)) - saturated / 4095)
    assert difference.mean() < 0.01
    assert difference.max() < 0.35


def write_compressed(directory: Path, pixels: NDArray[np.uint16], syntax: str, **elements: Any) -> Path:
    rows, columns = pixels.shape
    return write(directory / "compressed.dcm", compressed(pixels, syntax), syntax, **({
        "Rows": rows, "Columns": columns, "BitsStored": 12, "WindowCenter": 2047.5, "WindowWidth": 4095,
        "VOILUTFunction": "LINEAR_EXACT"} | elements))  # fmt: skip


@pytest.mark.parametrize("syntax", [uid.JPEG2000Lossless, uid.JPEG2000, uid.HTJ2KLossless], ids=lambda s: s.keyword)
@pytest.mark.parametrize("size", [(611, 533), (610, 529), (640, 512), (513, 1025)])
def test_reduced_resolution(tmp_path: Path, syntax: str, size: tuple[int, int]) -> None:
    """JPEG 2000 of any size, decoded at a lower resolution, is close to the mean of blocks."""
    pixels = draw_thorax(4, "none", 640, 1025)[: size[0], : size[1]]
    path = write_compressed(tmp_path, pixels, syntax)
    small = decode(path, size_hint=64)
    assert min(small.shape) in (128, 129, *range(130, 160))
    factor = round(size[0] / small.shape[0])
    rows, columns = size[0] // factor, size[1] // factor
    mean = (pixels[: rows * factor, : columns * factor] / 4095).reshape(rows, factor, columns, factor).mean((1, 3))
    assert np.abs(small[:rows, :columns] - mean).mean() < 0.02


def test_every_readable_syntax_is_tested() -> None:
    """Every transfer syntax that is offered to senders is decoded by the tests above."""
    native = {str(syntax) for syntax in codecs.NATIVE}
    tested = {*native, *LOSSLESS, *LOSSY, uid.JPEGBaseline8Bit, uid.HTJ2KLosslessRPCL}
    assert set(codecs.readable_transfer_syntaxes()) == tested


def test_baseline_and_colour_jpeg(tmp_path: Path) -> None:
    """JPEG Baseline of 8 bits decodes to the pixels that were compressed, grey or colour."""
    grey = np.tile(np.arange(0, 256, 2, dtype=np.uint8), (64, 1))
    for pixels, elements in (
        (grey, {}),
        (np.stack([grey] * 3, -1), {"SamplesPerPixel": 3, "PhotometricInterpretation": "YBR_FULL_422",
                                    "PlanarConfiguration": 0}),
    ):  # fmt: skip
        path = write(tmp_path / "baseline.dcm", bytes(imagecodecs.jpeg8_encode(pixels, level=98)), uid.JPEGBaseline8Bit,
                     Rows=64, Columns=128, BitsAllocated=8, BitsStored=8, **elements)  # fmt: skip
        assert np.abs(decode(path) - grey / 255).max() < 0.03


@pytest.mark.parametrize("planar", [0, 1])
def test_colour_becomes_luminance(tmp_path: Path, planar: int) -> None:
    """RGB is displayed by its luminance, in both planar configurations."""
    rgb = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8)
    grey = rgb @ np.array([0.299, 0.587, 0.114])
    stored = np.moveaxis(rgb, -1, 0) if planar else rgb
    path = write(tmp_path / "rgb.dcm", stored, Rows=20, Columns=30, SamplesPerPixel=3, PlanarConfiguration=planar,
                 PhotometricInterpretation="RGB")  # fmt: skip
    assert np.abs(decode(path) - grey / 255).max() < 0.003


# --- padding, shutters, overlays, polarity


def test_overlay_bits_are_no_part_of_the_value(tmp_path: Path) -> None:
    """Bits above High Bit, where older images keep overlays, change nothing."""
    pixels = (RAMP % 4096).astype(np.uint16)
    dirty = pixels | np.uint16(0x5000)
    assert np.array_equal(decode(write(tmp_path / "a.dcm", pixels, BitsStored=12)),
                          decode(write(tmp_path / "b.dcm", dirty, BitsStored=12)))  # fmt: skip
    shifted = (pixels << 4).astype(np.uint16)
    assert np.array_equal(decode(write(tmp_path / "a.dcm", pixels, BitsStored=12)),
                          decode(write(tmp_path / "c.dcm", shifted, BitsStored=12, HighBit=15)))  # fmt: skip


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("shape", [None, "INVERSE", "IDENTITY"])
def test_polarity_is_turned_once(tmp_path: Path, photometric: str, shape: str | None) -> None:
    """MONOCHROME1 is inverted exactly once, whatever the Presentation LUT Shape says."""
    path = write(tmp_path / "p.dcm", RAMP, PhotometricInterpretation=photometric, PresentationLUTShape=shape)
    ramp = RAMP / RAMP.max()
    assert np.allclose(decode(path), 1 - ramp if photometric == "MONOCHROME1" else ramp, atol=1e-6)


@pytest.mark.parametrize("signed", [False, True])
def test_padding_has_no_part_in_the_range(tmp_path: Path, signed: bool) -> None:
    """Padding, one value or a range, is black, and the displayed range is that of the other pixels."""
    kind = np.int16 if signed else np.uint16
    pixels = (RAMP % 1000 + 500).astype(kind)
    inside = pixels.copy()
    pixels[:8], pixels[8:10] = (-2000, -1990) if signed else (4000, 3990)
    picture = decode(write(tmp_path / "pad.dcm", pixels, PixelRepresentation=int(signed), BitsStored=13,
                           PixelPaddingValue=-2000 if signed else 4000,
                           PixelPaddingRangeLimit=-1990 if signed else 3990))  # fmt: skip
    assert not picture[:10].any()
    assert np.allclose(picture[10:], (inside[10:] - 500) / 999, atol=1e-6)
    white = decode(write(tmp_path / "pad1.dcm", pixels, PixelRepresentation=int(signed), BitsStored=13,
                         PhotometricInterpretation="MONOCHROME1", PixelPaddingValue=-2000 if signed else 4000,
                         PixelPaddingRangeLimit=-1990 if signed else 3990))  # fmt: skip
    assert not white[:10].any()


SHUTTERS = [
    {"ShutterShape": "RECTANGULAR", "ShutterLeftVerticalEdge": 5, "ShutterRightVerticalEdge": 40,
     "ShutterUpperHorizontalEdge": 3, "ShutterLowerHorizontalEdge": 60},
    {"ShutterShape": "CIRCULAR", "CenterOfCircularShutter": [32, 24], "RadiusOfCircularShutter": 20},
    {"ShutterShape": "POLYGONAL", "VerticesOfThePolygonalShutter": [10, 10, 10, 40, 50, 40, 50, 10]},
    {"ShutterShape": ["RECTANGULAR", "CIRCULAR"], "ShutterLeftVerticalEdge": 5, "ShutterRightVerticalEdge": 40,
     "ShutterUpperHorizontalEdge": 3, "ShutterLowerHorizontalEdge": 60, "CenterOfCircularShutter": [32, 24],
     "RadiusOfCircularShutter": 30},
]  # fmt: skip
VISIBLE = [
    lambda y, x: (x >= 5) & (x <= 40) & (y >= 3) & (y <= 60),
    lambda y, x: (y - 32) ** 2 + (x - 24) ** 2 <= 400,
    lambda y, x: (x >= 10) & (x <= 40) & (y >= 10) & (y <= 50),
    lambda y, x: (x >= 5) & (x <= 40) & (y >= 3) & (y <= 60) & ((y - 32) ** 2 + (x - 24) ** 2 <= 900),
]


@pytest.mark.parametrize(
    ("elements", "visible"), zip(SHUTTERS, VISIBLE, strict=True), ids=["box", "circle", "polygon", "both"]
)
def test_shutters_hide(tmp_path: Path, elements: dict[str, Any], visible: Any) -> None:
    """Outside a shutter the picture is black, and bright collimator edges there do not change the displayed range."""
    y, x = np.mgrid[1:65, 1:49]
    inside = visible(y, x)
    pixels = np.where(inside, 1000 + RAMP % 500, 65535).astype(np.uint16)
    picture = decode(write(tmp_path / "shutter.dcm", pixels, **elements))
    seen = pixels[inside].astype(float)
    assert not picture[~inside].any()
    assert np.allclose(picture[inside], (seen - seen.min()) / np.ptp(seen), atol=1e-6)


def test_a_shutter_that_hides_everything_is_no_shutter(tmp_path: Path) -> None:
    """A shutter with every edge 0, which is common, is ignored."""
    elements = dict.fromkeys(SHUTTERS[0], 0) | {"ShutterShape": "RECTANGULAR"}
    assert np.array_equal(decode(write(tmp_path / "a.dcm", RAMP, **elements)), decode(write(tmp_path / "b.dcm", RAMP)))


@pytest.mark.parametrize("elements", [
    {"WindowCenter": 100, "WindowWidth": 0}, {"WindowCenter": 100, "WindowWidth": -5}, {"WindowCenter": 100},
    {"RescaleSlope": 0, "RescaleIntercept": 3}, {"VOILUTSequence": [Dataset()]}, {"ModalityLUTSequence": []},
], ids=str)  # fmt: skip
def test_luts_that_cannot_be_used_are_left_out(tmp_path: Path, elements: dict[str, Any]) -> None:
    """A window without width or a table without data is ignored: the image's own range is displayed."""
    assert np.allclose(decode(write(tmp_path / "lut.dcm", RAMP, **elements)), RAMP / RAMP.max(), atol=1e-6)


@pytest.mark.parametrize("number", ["1e999", "nan", "-1e300"])
@pytest.mark.parametrize("keyword", ["Rows", "NumberOfFrames", "BitsStored", "PixelPaddingValue",
                                     "PixelPaddingRangeLimit", "ShutterLeftVerticalEdge", "WindowCenter"])  # fmt: skip
def test_a_number_that_is_not_finite_is_malformed(tmp_path: Path, keyword: str, number: str) -> None:
    """A number beyond every range, in whatever element, gives a picture or NoPicture, never another exception."""
    path = write(tmp_path / "number.dcm", RAMP, ShutterShape="RECTANGULAR", PixelPaddingValue=5)
    ds = pydicom.dcmread(path)
    ds[keyword] = DataElement(keyword, "LO", number)
    ds.save_as(path)
    tag = struct.pack("<HH", ds[keyword].tag.group, ds[keyword].tag.element)
    path.write_bytes(path.read_bytes().replace(tag + b"LO", tag + b"DS"))  # a VR that lets it through as a number
    with suppress(NoPicture):
        assert decode(path).shape == RAMP.shape


def test_eight_bit_table_in_bytes(tmp_path: Path) -> None:
    """LUT Data with one byte for each entry is read."""
    item = Dataset()
    item.LUTDescriptor = [256, 0, 8]
    item.add(DataElement("LUTData", "OW", bytes(range(255, -1, -1))))
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    picture = decode(write(tmp_path / "lut8.dcm", pixels, VOILUTSequence=[item]))
    assert np.allclose(picture, (255 - pixels) / 255, atol=1e-6)


# --- files that give no picture


def refused(kind: type[NoPicture], path: Path, **options: Any) -> str:
    with pytest.raises(kind) as caught:
        decode(path, **options)
    return caught.value.reason


def test_no_picture_names_its_reason(tmp_path: Path) -> None:
    """Each kind of image that gives no picture raises its own exception, whose reason says what was found."""
    file = tmp_path / "refused.dcm"
    assert "2000 bytes" in refused(Truncated, write(file, RAMP.tobytes()[:2000], Rows=64, Columns=48))
    assert "stored value 7" in refused(Constant, write(file, np.full((9, 9), 7, np.uint16)))
    assert "window" in refused(Constant, write(file, RAMP, WindowCenter=60000, WindowWidth=2))
    assert "padding" in refused(Constant, write(file, np.full((9, 9), 7, np.uint16), PixelPaddingValue=7))
    assert "3 frames" in refused(Unsupported, write(file, RAMP, NumberOfFrames=3))
    assert "PALETTE" in refused(Unsupported, write(file, RAMP, PhotometricInterpretation="PALETTE COLOR"))
    assert "32" in refused(Unsupported, write(file, RAMP.astype(np.uint32)))
    assert "Rows" in refused(Unsupported, write(file, RAMP, Rows=None))
    assert "3072" not in refused(TooLarge, write(file, RAMP), max_pixels=3000)
    assert "MPEG" in refused(NoDecoder, write(file, b"video", uid.MPEG4HP41, Rows=64, Columns=48))
    assert "no Pixel Data" in refused(NoPixels, write(file, b"", Rows=64, Columns=48))


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    """No truncated file gives a picture, compressed or not."""
    pixels = draw_thorax(5, "none", 200, 160)
    for syntax in (uid.ExplicitVRLittleEndian, uid.DeflatedExplicitVRLittleEndian, *LOSSLESS, *LOSSY):
        encapsulated = uid.UID(syntax).is_encapsulated
        path = write_compressed(tmp_path, pixels, syntax) if encapsulated else write(tmp_path / "n.dcm", pixels, syntax)
        whole = path.read_bytes()[: -8 if encapsulated else None]  # without the delimiter, which may be missing
        for part in (0.3, 0.6, 0.9, 0.999):
            path.write_bytes(whole[: int(len(whole) * part)])
            with pytest.raises(NoPicture):
                decode(path)


@pytest.mark.parametrize("syntax", [*LOSSLESS[1:], *LOSSY], ids=lambda s: s.keyword)
def test_a_codestream_cut_inside_whole_fragments_is_refused(tmp_path: Path, syntax: str) -> None:
    """A truncated codestream in a complete file is refused; the missing part is not filled with grey."""
    pixels = draw_thorax(5, "none", 200, 160)
    frame = compressed(pixels, syntax)
    path = write(tmp_path / "cut.dcm", frame[: len(frame) // 2], syntax, Rows=200, Columns=160, BitsStored=12)
    assert "end marker" in refused(Truncated, path)


@pytest.mark.parametrize("syntax", [*LOSSLESS, *LOSSY], ids=lambda s: s.keyword)
def test_a_codestream_of_another_size_is_refused(tmp_path: Path, syntax: str) -> None:
    """A codestream whose size differs from the header's is refused before anything is allocated."""
    path = write_compressed(tmp_path, draw_thorax(5, "none", 200, 160), syntax, Rows=100, Columns=160)
    with pytest.raises(NoPicture) as caught:
        decode(path)
    if syntax != uid.RLELossless:
        assert "the header says" in caught.value.reason
        assert isinstance(caught.value, Undecodable)
        with pytest.raises(TooLarge):
            decode(path, max_pixels=20_000)


def test_a_bomb_is_not_allocated(tmp_path: Path) -> None:
    """A codestream that claims 65535 x 65535 pixels is refused when its header is read."""
    frame = bytearray(compressed(draw_thorax(5, "none", 64, 64), uid.JPEG2000Lossless))
    struct.pack_into(">2L", frame, 8, 65535, 65535)
    path = write(tmp_path / "bomb.dcm", bytes(frame), uid.JPEG2000Lossless, Rows=64, Columns=64, BitsStored=12)
    assert "65535" in refused(TooLarge, path)


def codestream_of(rows: int, columns: int, tile: int, coding: bytes | None = None) -> bytes:
    """A JPEG 2000 codestream of a hundred bytes that claims this size, these tiles and, in COD, this coding."""
    frame = imagecodecs.jpeg2k_encode(np.zeros((64, 64), np.uint16), level=0, reversible=True, codecformat="j2k")
    made = bytearray(frame)
    struct.pack_into(">2L", made, 8, columns, rows)
    struct.pack_into(">2L", made, 24, tile, tile)
    at = made.index(b"\xff\x52")
    end = at + 2 + struct.unpack_from(">H", made, at + 2)[0]
    return bytes(made[:at]) + (coding or bytes(made[at:end])) + bytes(made[end:])


def cod(levels: int, code_block: int, precinct: int) -> bytes:
    """COD with code-blocks of 2 ** code_block a side and precincts of 2 ** precinct a side."""
    sizes = bytes([precinct * 17] * (levels + 1))
    body = bytes([1, 0, 0, 1, 0, levels, code_block - 2, code_block - 2, 0, 1]) + sizes
    return b"\xff\x52" + struct.pack(">H", len(body) + 2) + body


@pytest.mark.parametrize(("side", "tile", "coding", "what"), [
    (1000, 1, None, "too many tiles"), (1000, 1000, cod(5, 6, 1), "precincts"),
    (8000, 8000, cod(0, 2, 15), "code-blocks"),
])  # fmt: skip
@pytest.mark.parametrize("syntax", [uid.JPEG2000Lossless, uid.HTJ2KLossless])
def test_a_codestream_of_countless_parts_is_refused(
    tmp_path: Path, side: int, tile: int, coding: bytes | None, what: str, syntax: str
) -> None:
    """A hundred bytes that ask for millions of tiles, precincts or code-blocks are refused before they are decoded."""
    frame = codestream_of(side, side, tile, coding)
    path = write(tmp_path / "bomb.dcm", frame, syntax, Rows=side, Columns=side, BitsStored=12)
    assert what in refused(TooLarge, path)


def test_a_decoy_before_the_codestream_is_not_believed(tmp_path: Path) -> None:
    """The size is read where the decoder reads it, and not from another marker before that."""
    small, large = codestream_of(64, 64, 64), codestream_of(50_000, 50_000, 50_000)
    signature = bytes.fromhex("0000000c6a5020200d0a870a")
    boxes = struct.pack(">L4s", 8 + len(small), b"free") + small + struct.pack(">L4s", 0, b"jp2c")
    path = write(tmp_path / "a.dcm", signature + boxes + large, uid.JPEG2000, Rows=64, Columns=64, BitsStored=12)
    assert "50000" in refused(TooLarge, path)
    jpeg = imagecodecs.jpeg8_encode(np.zeros((64, 64), np.uint8))
    real = bytearray(jpeg[2:])
    struct.pack_into(">2H", real, real.index(b"\xff\xc0") + 5, 60_000, 60_000)
    frame = jpeg[:2] + b"\xff\x01" + bytes(real)
    path = write(tmp_path / "b.dcm", frame, uid.JPEGBaseline8Bit, Rows=64, Columns=64, BitsAllocated=8, BitsStored=8)
    assert "60000" in refused(TooLarge, path)


def test_an_rle_segment_never_grows_beyond_the_picture(tmp_path: Path) -> None:
    """Two bytes of PackBits can be 128: a segment that is longer than its plane is refused, and not held."""
    frame = struct.pack("<16L", 1, 64, *[0] * 14) + b"\x81\0" * 1_000_000
    path = write(tmp_path / "a.dcm", frame, uid.RLELossless, Rows=64, Columns=64, BitsAllocated=8, BitsStored=8)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(Undecodable, path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60_000  # KiB, of 125 000


def test_eight_bit_jpeg_under_a_twelve_bit_header_is_refused(tmp_path: Path) -> None:
    """A lossy codestream of fewer bits than BitsStored, which would be displayed almost black, is refused."""
    frame = bytes(imagecodecs.jpeg8_encode((RAMP >> 4).astype(np.uint8)))
    path = write(tmp_path / "bits.dcm", frame, uid.JPEGExtended12Bit, Rows=64, Columns=48, BitsStored=12)
    assert "8 bits" in refused(Unsupported, path)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(syntax=st.sampled_from([*LOSSLESS, *LOSSY]), seed=st.integers(0, 10_000))
def test_damaged_codestreams_give_a_picture_or_a_refusal(tmp_path: Path, syntax: str, seed: int) -> None:
    """A codestream with bytes changed at random gives a picture within 0..1 or raises NoPicture, nothing else."""
    rng = np.random.default_rng(seed)
    frame = bytearray(compressed((RAMP % 4096).astype(np.uint16), syntax))
    for at in rng.integers(2, len(frame), rng.integers(1, 9)):
        frame[at] = rng.integers(256)
    path = write(tmp_path / "damaged.dcm", bytes(frame), syntax, Rows=64, Columns=48, BitsStored=12)
    try:
        picture = decode(path, max_pixels=1_000_000)
    except NoPicture:
        return
    assert picture.shape == (64, 48)
    assert 0 <= picture.min() <= picture.max() <= 1


def test_the_header_can_be_handed_over(tmp_path: Path) -> None:
    """A header that the caller has already read gives the same picture."""
    path = write(tmp_path / "h.dcm", RAMP)
    assert np.array_equal(decode(path, header=read_header(path)), decode(path))
