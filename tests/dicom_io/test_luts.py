"""dicom_io.image.luts: what pydicom computes where a header agrees with itself; what was meant where it does not.

`HILUM_EXAMPLES=5000` draws that many headers instead of a few hundred.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom import config, uid
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels import apply_modality_lut, apply_voi_lut

from dicom_io.image.decode import decode
from dicom_io.image.header import Header
from dicom_io.image.levels import StoredValues
from dicom_io.image.luts import modality_values, voi_values
from dicom_io.image.no_picture import Constant
from tests.dicom_io.test_decode import RAMP, write

MADE = int(os.environ.get("HILUM_EXAMPLES", "300"))
Floats = NDArray[np.float64]


def lut(
    number: int, first: int, bits: int, entries: Any, vr: str = "US", kind: str = "<u2", data: str = "OW"
) -> Dataset:
    """An item of a LUT sequence; `vr` is the descriptor's, `data` that of LUT Data."""
    item = Dataset()
    item.add(DataElement("LUTDescriptor", vr, [number, first, bits], validation_mode=config.IGNORE))
    stored = np.asarray(entries).astype(kind)
    item.add(DataElement("LUTData", data, stored.tolist() if data == "US" else stored.tobytes()))
    return item


# --- against pydicom


@st.composite
def consistent_headers(draw: st.DrawFn) -> tuple[Dataset, StoredValues]:
    """Any stored values with any Modality LUT or rescale, then any VOI LUT or windows, each true to the standard."""
    bits, signed = draw(st.integers(2, 16)), draw(st.booleans())
    stored = StoredValues(16, bits, bits - 1, signed)
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    ds.BitsStored, ds.PixelRepresentation = bits, int(signed)
    ds.PhotometricInterpretation = draw(st.sampled_from(["MONOCHROME1", "MONOCHROME2"]))
    kind = draw(st.sampled_from(["none", "rescale", "table"]))
    if kind == "table":
        ds.ModalityLUTSequence = [draw(tables(stored.smallest, stored.levels, [8, 16]))]
    elif kind == "rescale":
        ds.RescaleSlope = draw(st.integers(-40, 40).filter(bool)) / draw(st.sampled_from([1, 3, 10, 64]))
        ds.RescaleIntercept = draw(st.integers(-70_000, 70_000)) / draw(st.sampled_from([1, 7]))
    voi = draw(st.sampled_from(["none", "LINEAR", "LINEAR_EXACT", "SIGMOID", "table"]))
    if voi == "table" and kind != "rescale":  # pydicom asks for integers here
        smallest, number = (0, 1 << 16) if kind == "table" else (stored.smallest, stored.levels)
        ds.VOILUTSequence = [draw(tables(smallest, number, [10, 12, 14, 16]))]
    elif voi not in ("none", "table"):
        windows = draw(
            st.lists(st.tuples(st.integers(-700_000, 700_000), st.integers(10, 700_000)), min_size=1, max_size=3)
        )
        ds.WindowCenter, ds.WindowWidth = [c / 10 for c, _ in windows], [w / 10 for _, w in windows]
        ds.VOILUTFunction = voi
    return ds, stored


@st.composite
def tables(draw: st.DrawFn, smallest: int, number: int, depths: list[int]) -> Dataset:
    """A table for inputs of which `smallest` is the first, whose largest entry takes the stated bits."""
    bits = draw(st.sampled_from(depths))
    first = draw(st.integers(max(smallest - 40, -0x8000 if smallest < 0 else 0), smallest + number - 2))
    length = draw(st.integers(2, min(number + 40, 1 << 16)))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    entries = rng.integers(0, 1 << bits, length)
    entries[rng.integers(length)] = (1 << bits) - 1
    return lut(length, first, bits, entries, "SS" if smallest < 0 else "US", data=draw(st.sampled_from(["OW", "US"])))


def header_of(ds: Dataset) -> Header:
    return Header(Path("none"), ds, uid.ExplicitVRLittleEndian, 0)


def voi_as_pydicom(values: Floats, ds: Dataset) -> Floats:
    """pydicom's VOI LUT, scaled to 0..1 from the output range that it documents."""
    wide = values if values.dtype.kind == "f" else values.astype(np.int64)  # pydicom subtracts in the given type
    shown = apply_voi_lut(wide, ds).astype(np.float64)
    if "VOILUTSequence" in ds:
        return shown / ((1 << ds.VOILUTSequence[0].LUTDescriptor[2]) - 1)
    if "ModalityLUTSequence" in ds:
        low, high = 0.0, float((1 << ds.ModalityLUTSequence[0].LUTDescriptor[2]) - 1)
    else:
        half = 1 << (ds.BitsStored - 1)
        ends = (-half, half - 1) if ds.PixelRepresentation else (0, 2 * half - 1)
        low, high = (end * float(ds.get("RescaleSlope", 1)) + float(ds.get("RescaleIntercept", 0)) for end in ends)
    return (shown - low) / (high - low)


@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
@settings(max_examples=MADE, deadline=None)
@given(made=consistent_headers())
def test_luts_give_what_pydicom_gives(made: tuple[Dataset, StoredValues]) -> None:
    """Every stored value gets the same modality value and the same brightness as from pydicom."""
    ds, stored = made
    header, seen = header_of(ds), slice(0, stored.levels)
    values = np.arange(stored.levels, dtype=np.int64) + stored.smallest
    expected = apply_modality_lut(values, ds)
    assume(np.ptp(expected) > 0)
    found = modality_values(header, values.astype(np.float64), seen)
    assert np.allclose(found, expected, rtol=1e-12, atol=1e-9)
    shown = voi_values(header, found, seen)
    if shown is None:
        assert "VOILUTSequence" not in ds
        assert "WindowWidth" not in ds
        return
    assume(np.ptp(expected := voi_as_pydicom(expected, ds)) > 1 / 255)  # otherwise another window may be taken
    assert np.abs(shown - expected).max() < 1e-9


# --- tables that contradict their descriptor

CURVE = np.clip(4095 / (1 + np.exp(-(np.arange(4096) - 2048) / 600)), 0, 4095).round()
DEEP = (np.arange(64 * 64) % 4096).reshape(64, 64).astype(np.uint16)  # every value of 12 bits


def shown(directory: Path, table: Dataset, pixels: NDArray[Any] = DEEP, **elements: Any) -> NDArray[np.float32]:
    return decode(write(directory / "lut.dcm", pixels, **({"BitsStored": 12, "VOILUTSequence": [table]} | elements)))


@pytest.mark.parametrize("stated", [0, 8, 10, 12, 14, 16, 255])
@pytest.mark.parametrize("used", [8, 10, 12, 14, 16])
def test_the_largest_entry_is_white(tmp_path: Path, stated: int, used: int) -> None:
    """Whatever number of bits is stated, a table whose largest entry takes another number shows it white."""
    entries = np.round(CURVE / CURVE.max() * ((1 << used) - 1))
    picture = shown(tmp_path, lut(4096, 0, stated, entries))
    assert np.allclose(picture, (entries / entries.max())[DEEP], atol=1e-6)


def test_a_table_that_is_dark_by_intent_stays_dark(tmp_path: Path) -> None:
    """A table whose largest entry takes the stated bits, but is not white, is shown as it stands."""
    assert np.allclose(shown(tmp_path, lut(4096, 0, 12, np.arange(4096) / 4095 * 2600)).max(), 2600 / 4095, atol=1e-6)


@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("number", [4096, 3000, 2048, 1500])
def test_fewer_entries_than_stated(tmp_path: Path, number: int, bits: int) -> None:
    """The entries that are there count, and the last of them for every value above; none is taken for two bytes."""
    entries = np.linspace(0, (1 << bits) - 1, number).round()
    expected = entries[np.minimum(DEEP, number - 1)] / entries.max()
    assert np.allclose(shown(tmp_path, lut(4096, 0, bits, entries)), expected, atol=1e-6)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian])
def test_entries_of_one_byte(tmp_path: Path, bits: int, syntax: str) -> None:
    """Entries packed as bytes are read, also where 16 bits are stated."""
    entries = np.round(CURVE / CURVE.max() * 255)
    file = write(
        tmp_path / "lut.dcm", DEEP, syntax, BitsStored=12, VOILUTSequence=[lut(4096, 0, bits, entries, kind="u1")]
    )
    assert np.allclose(decode(file), entries[DEEP] / 255, atol=1e-6)


def test_entries_of_one_byte_in_big_endian(tmp_path: Path) -> None:
    """In OW of Big Endian the first of two packed entries is the second byte (PS3.5 8.2)."""
    entries = np.round(CURVE / CURVE.max() * 255).astype(np.uint8)
    table = lut(4096, 0, 8, entries.reshape(-1, 2)[:, ::-1].ravel(), kind="u1")
    file = write(tmp_path / "lut.dcm", DEEP, uid.ExplicitVRBigEndian, BitsStored=12, VOILUTSequence=[table])
    assert np.allclose(decode(file), entries[DEEP] / 255, atol=1e-6)


@pytest.mark.parametrize("data", ["OW", "US"])
def test_zero_entries_are_65536(tmp_path: Path, data: str) -> None:
    """A number of entries of 0 stands for 65536 (PS3.3 C.11.1.1.1)."""
    deep = np.arange(1 << 16, dtype=np.uint16).reshape(256, 256)
    table = lut(0, 0, 16, np.arange(1 << 16)[::-1], data=data)
    syntax = uid.ExplicitVRLittleEndian if data == "OW" else uid.ImplicitVRLittleEndian  # US has a length of 16 bits
    file = write(tmp_path / "lut.dcm", deep, syntax, VOILUTSequence=[table])
    assert np.allclose(decode(file), 1 - deep / 65535, atol=1e-6)


@pytest.mark.parametrize("sequence", ["VOILUTSequence", "ModalityLUTSequence"])
@pytest.mark.parametrize(("signed", "vr", "first", "stated"), [
    (True, "SS", -2048, -2048), (True, "US", -2048, 65536 - 2048), (False, "US", 0, 0), (False, "SS", 0, 0),
    (False, "SS", 60000, 60000 - 65536), (False, "US", 60000, 60000),
])  # fmt: skip
def test_the_first_value_has_the_sign_of_the_pixels(
    tmp_path: Path, sequence: str, signed: bool, vr: str, first: int, stated: int
) -> None:
    """The first input is read with the sign of Pixel Representation, whatever its VR is."""
    inputs = (DEEP.astype(np.int32) + first).astype(np.int16 if signed else np.uint16)
    bits = 16 if first == 60000 else 12
    table = lut(4096, stated, 12, CURVE, vr)
    file = write(tmp_path / "lut.dcm", inputs, BitsStored=bits, PixelRepresentation=int(signed), **{sequence: [table]})
    smallest, white = (0, 4095) if sequence == "VOILUTSequence" else (CURVE.min(), CURVE.max())
    assert np.allclose(decode(file), ((CURVE - smallest) / (white - smallest))[DEEP], atol=1e-6)


# --- tables and windows that show nothing

BESIDE = lut(256, 60000, 16, np.linspace(0, 65535, 256))
FLAT = lut(4096, 0, 16, np.zeros(4096))
GOOD = lut(4096, 0, 12, CURVE)
WINDOW = {"WindowCenter": 2048, "WindowWidth": 4096}


@pytest.mark.parametrize(
    "useless", [BESIDE, FLAT, Dataset(), lut(4096, 0, 16, [])], ids=["beside", "flat", "empty", "no data"]
)
def test_a_table_that_shows_nothing_is_passed_over(tmp_path: Path, useless: Dataset) -> None:
    """The alternatives are tried in their order: the next table, then the windows."""
    assert np.array_equal(shown(tmp_path, useless, **WINDOW), shown(tmp_path, GOOD, VOILUTSequence=None, **WINDOW))
    assert np.array_equal(shown(tmp_path, GOOD, VOILUTSequence=[useless, GOOD], **WINDOW), shown(tmp_path, GOOD))
    linear = shown(tmp_path, GOOD, VOILUTSequence=None, **WINDOW)
    several = {"WindowCenter": [60000, 100, 2048], "WindowWidth": [10, 0, 4096]}
    assert np.array_equal(shown(tmp_path, useless, **several), linear)


def test_nothing_usable_is_refused(tmp_path: Path) -> None:
    """Where neither a table nor a window shows anything, no picture is made of it."""
    with pytest.raises(Constant, match="window"):
        shown(tmp_path, BESIDE)
    with pytest.raises(Constant, match="window"):
        shown(tmp_path, BESIDE, WindowCenter=60000, WindowWidth=2)


def test_a_modality_table_beside_the_image_is_passed_over(tmp_path: Path) -> None:
    """A Modality LUT that makes every pixel equal is not used: the window then applies to the stored values."""
    table = {"VOILUTSequence": None, "ModalityLUTSequence": [BESIDE]}
    assert np.array_equal(
        shown(tmp_path, GOOD, **table, **WINDOW), shown(tmp_path, GOOD, VOILUTSequence=None, **WINDOW)
    )


def test_the_image_decides_what_is_shown(tmp_path: Path) -> None:
    """A table that covers other values than those of this image shows nothing of it."""
    low = (RAMP % 500).astype(np.uint16)
    above = lut(2000, 2000, 12, np.linspace(0, 4095, 2000).round())
    file = write(tmp_path / "low.dcm", low, BitsStored=12, VOILUTSequence=[above], WindowCenter=250, WindowWidth=500)
    assert np.allclose(decode(file), np.clip(low / 499, 0, 1), atol=1e-6)
