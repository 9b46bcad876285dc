"""Drawn radiographs as DICOM files, from invented modalities, some with malformed headers. Nobody was exposed for them.

They are for `hilum demo`, the tests and the benchmarks.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, Literal

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from pydicom import config, uid
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels.encoders.base import RLELosslessEncoder

from dicom_io.identity import derived_uid
from dicom_io.phantom.thorax import BITS, FINDINGS, DrawnFinding, draw_thorax

__all__ = ["BITS", "FINDINGS", "DrawnFinding", "PhantomStudy", "compressed", "draw_thorax", "drawn_study", "part10",
           "phantom_studies"]  # fmt: skip

Expectation = Literal["analysed", "ignored", "refused"]  # refused: the file cannot be decoded
StoredPixels = NDArray[np.uint16]  # [rows, columns]


@dataclass(frozen=True)
class PhantomStudy:
    """A study of one image. `data`: the DICOM file; `finding`: what is drawn; `expectation`: what hilum should do."""

    name: str
    study_instance_uid: str
    calling_ae_title: str
    data: bytes
    finding: DrawnFinding
    expectation: Expectation


@dataclass(frozen=True)
class _Plan:
    name: str
    calling_ae_title: str
    finding: DrawnFinding
    size: tuple[int, int] = (1250, 1024)
    transfer_syntax_uid: str = uid.ExplicitVRLittleEndian
    sop_class_uid: str = uid.DigitalXRayImageStorageForPresentation
    header: dict[str, Any] = field(default_factory=dict)  # None removes the element
    expectation: Expectation = "analysed"


_CR: dict[str, Any] = {"Modality": "CR", "PresentationIntentType": None, "PresentationLUTShape": None}
_PLANS = (
    _Plan("DX effusion", "DX_ROOM1", "effusion", (2500, 2048), header={
        "PatientName": "Phantom^Effie", "Manufacturer": "Example X-Ray Works"}),
    _Plan("CR without finding, MONOCHROME1, no ViewPosition", "CR_READER", "none", (1760, 1760),
          uid.ImplicitVRLittleEndian, uid.ComputedRadiographyImageStorage, _CR | {
        "PatientName": "Phantom^Norma", "Manufacturer": "Sample Imaging Plates", "ViewPosition": None,
        "PhotometricInterpretation": "MONOCHROME1"}),
    _Plan("DX pneumothorax, JPEG 2000", "DX_ROOM2", "pneumothorax", (1955, 1841), uid.JPEG2000Lossless, header={
        "PatientName": "Phantom^Newton", "Manufacturer": "Demo Detectors", "BodyPartExamined": "THORAX"}),
    _Plan("CR large heart, JPEG-LS, Japanese name, no birth date or study ID", "CR_WARD3", "cardiomegaly", (2140, 1760),
          uid.JPEGLSLossless, uid.ComputedRadiographyImageStorage, _CR | {
        "SpecificCharacterSet": ["", "ISO 2022 IR 87"], "PatientName": "Genei^Taro=幻影^太郎=げんえい^たろう",
        "PatientBirthDate": None, "StudyID": None, "PhotometricInterpretation": "MONOCHROME1"}),
    _Plan("DX mass, RLE, Latin-1 name, malformed time", "DX_ROOM1", "mass", (1250, 1024), uid.RLELossless, header={
        "SpecificCharacterSet": "ISO_IR 100", "PatientName": "Phäntöm^Mässimo", "StudyTime": "10:11:12",
        "PatientSex": "X", "Manufacturer": "Example X-Ray Works"}),
    _Plan("Bedside AP, effusion, JPEG Lossless, no body part or accession number", "MOBILE7", "effusion", (1640, 1344),
          uid.JPEGLosslessSV1, header={
        "PatientName": "Phantom^Beda", "ViewPosition": "AP", "BodyPartExamined": None, "AccessionNumber": None,
        "SeriesDescription": "Portable chest"}),
    _Plan("DX without finding, signed, SIGMOID, shutter, deflated", "DX_ROOM2", "none", (1250, 1024),
          uid.DeflatedExplicitVRLittleEndian, header={
        "PatientName": "Phantom^Sigmund", "PixelRepresentation": 1, "WindowCenter": 0, "WindowWidth": 3000,
        "VOILUTFunction": "SIGMOID", "ShutterShape": "RECTANGULAR", "ShutterLeftVerticalEdge": 21,
        "ShutterRightVerticalEdge": 1004, "ShutterUpperHorizontalEdge": 21, "ShutterLowerHorizontalEdge": 1230}),
    _Plan("CR large heart, JPEG 12 bits", "CR_READER", "cardiomegaly", (1760, 1760), uid.JPEGExtended12Bit,
          uid.ComputedRadiographyImageStorage, _CR | {"PatientName": "Phantom^Cora", "LossyImageCompression": "01"}),
    _Plan("CR hand: not for us", "CR_READER", "none", (800, 640), uid.ExplicitVRLittleEndian,
          uid.ComputedRadiographyImageStorage, _CR | {
        "PatientName": "Phantom^Manuel", "BodyPartExamined": "HAND", "StudyDescription": "Hand"}, "ignored"),
    _Plan("DX failed exposure: every pixel the same", "DX_ROOM1", "none", (800, 640), header={
        "PatientName": "Phantom^Blanche"}, expectation="refused"),
    _Plan("DX cut off in transfer: half of the pixels", "MOBILE7", "none", (800, 640), header={
        "PatientName": "Phantom^Demi"}, expectation="refused"),
)  # fmt: skip


def phantom_studies(count: int | None = None, seed: int = 0) -> Iterator[PhantomStudy]:
    """Yield the first `count` studies of 11, each drawn when it is asked for. The same seed gives the same bytes."""
    for number, plan in enumerate(_PLANS[:count]):
        yield _study(plan, number, seed)


def drawn_study(seed: int, finding: DrawnFinding, rows: int, columns: int) -> PhantomStudy:
    """Return a study of one clean DX image, uncompressed. Raises ValueError if `finding` is not one of FINDINGS."""
    plan = _Plan(f"DX {finding}", "DX_ROOM1", finding, (rows, columns))
    return _study(plan, 0, seed)


def _study(plan: _Plan, number: int, seed: int) -> PhantomStudy:
    data = _file(plan, number, seed)
    return PhantomStudy(
        plan.name, _uid(number, seed, "study"), plan.calling_ae_title, data, plan.finding, plan.expectation
    )


def _uid(number: int, seed: int, part: str) -> str:
    return derived_uid("phantom", str(seed), str(number), part)


def _file(plan: _Plan, number: int, seed: int) -> bytes:
    pixels = _pixels(plan, seed + number)
    ds = _data_set(plan, number, seed)
    if ds.PhotometricInterpretation == "MONOCHROME1":
        pixels = (2**BITS - 1 - pixels).astype(np.uint16)
    if ds.PixelRepresentation == 1:
        pixels = (pixels.astype(np.int32) - 2 ** (BITS - 1)).astype(np.int16).view(np.uint16)
    if plan.name.startswith("DX cut off"):
        pixels = pixels[: len(pixels) // 2]
    return part10(ds, pixels, plan.transfer_syntax_uid)


def _pixels(plan: _Plan, seed: int) -> StoredPixels:
    if plan.header.get("BodyPartExamined") == "HAND":
        return _draw_hand(seed, *plan.size)
    if plan.name.startswith("DX failed"):
        return np.full(plan.size, 2**BITS - 1, np.uint16)
    return draw_thorax(seed, plan.finding, *plan.size)


def _data_set(plan: _Plan, number: int, seed: int) -> Dataset:
    """The elements of PS3.3 A.2 (CR) or A.26 (DX) that senders in the field usually fill in."""
    values: dict[str, Any] = {
        "SpecificCharacterSet": "ISO_IR 192", "ImageType": ["ORIGINAL", "PRIMARY"],
        "SOPClassUID": plan.sop_class_uid, "SOPInstanceUID": _uid(number, seed, "image"),
        "StudyDate": "20260105", "SeriesDate": "20260105", "StudyTime": f"10{number:02}00", "Modality": "DX",
        "AccessionNumber": f"DEMO{number + 1:04}", "PresentationIntentType": "FOR PRESENTATION",
        "Manufacturer": "Demo Detectors", "StudyDescription": "Chest", "ReferringPhysicianName": "",
        "PatientName": "Phantom", "PatientID": f"PHANTOM{seed + number + 1:02}",
        "PatientBirthDate": f"19{50 + number}0101",
        "PatientSex": "FM"[number % 2], "BodyPartExamined": "CHEST", "ViewPosition": "PA",
        "StudyInstanceUID": _uid(number, seed, "study"), "SeriesInstanceUID": _uid(number, seed, "series"),
        "StudyID": str(number + 1), "SeriesNumber": 1, "InstanceNumber": 1, "PatientOrientation": ["L", "F"],
        "SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2", "Rows": plan.size[0],
        "Columns": plan.size[1], "PixelSpacing": [430 / plan.size[0]] * 2, "BitsAllocated": 16, "BitsStored": BITS,
        "HighBit": BITS - 1, "PixelRepresentation": 0, "WindowCenter": 2048, "WindowWidth": 4096,
        "RescaleIntercept": 0, "RescaleSlope": 1, "PresentationLUTShape": "IDENTITY",
    }  # fmt: skip
    ds = Dataset()
    for keyword, value in (values | plan.header).items():
        if value is not None:  # values are not validated, because some are malformed on purpose
            tag = tag_for_keyword(keyword)
            assert tag is not None, keyword
            ds.add(DataElement(tag, dictionary_VR(tag), value, validation_mode=config.IGNORE))
    return ds


def part10(ds: Dataset, pixels: StoredPixels, transfer_syntax_uid: str) -> bytes:
    """Write a file (PS3.10 7.1) of the data set with these pixels, compressed where the transfer syntax requires it."""
    syntax = uid.UID(transfer_syntax_uid)
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    data = pixels.astype("<u2").tobytes()
    if syntax.is_encapsulated:
        data = encapsulate([compressed(pixels, syntax)])
    ds.add(DataElement(0x7FE00010, "OB" if syntax.is_encapsulated else "OW", data))
    ds["PixelData"].is_undefined_length = syntax.is_encapsulated
    file = BytesIO()
    with config.disable_value_validation():
        ds.save_as(file, enforce_file_format=True)
    return file.getvalue()


def compressed(pixels: StoredPixels, transfer_syntax_uid: str) -> bytes:
    """Compress one frame of 12 bits to a codestream. Raises ValueError for a transfer syntax that is not supported."""
    if transfer_syntax_uid == uid.RLELossless:
        rows, columns = pixels.shape
        return RLELosslessEncoder.encode(
            pixels.astype("<u2").tobytes(), rows=rows, columns=columns, samples_per_pixel=1, bits_allocated=16,
            bits_stored=BITS, pixel_representation=0, number_of_frames=1, photometric_interpretation="MONOCHROME2",
            encoding_plugin="pydicom")  # fmt: skip
    encode = _ENCODERS.get(str(transfer_syntax_uid))
    if encode is None:
        raise ValueError(f"transfer syntax {transfer_syntax_uid}, expected one of {', '.join(_ENCODERS)}")
    return bytes(encode(np.ascontiguousarray(pixels)))


_J2K: dict[str, Any] = {"codecformat": "j2k", "bitspersample": BITS}
_ENCODERS: dict[str, Any] = {
    uid.JPEGExtended12Bit: lambda a: imagecodecs.jpeg8_encode(a, level=95, bitspersample=BITS),
    uid.JPEGLosslessSV1: lambda a: imagecodecs.jpeg8_encode(a, lossless=True, predictor=1, bitspersample=BITS),
    uid.JPEGLossless: lambda a: imagecodecs.jpeg8_encode(a, lossless=True, predictor=6, bitspersample=BITS),
    uid.JPEGLSLossless: lambda a: imagecodecs.jpegls_encode(a),
    uid.JPEGLSNearLossless: lambda a: imagecodecs.jpegls_encode(a, level=2),
    uid.JPEG2000Lossless: lambda a: imagecodecs.jpeg2k_encode(a, level=0, reversible=True, **_J2K),
    uid.JPEG2000: lambda a: imagecodecs.jpeg2k_encode(a, level=60, reversible=False, **_J2K),
    uid.HTJ2KLossless: lambda a: imagecodecs.htj2k_encode(a, reversible=True),
    uid.HTJ2K: lambda a: imagecodecs.htj2k_encode(a, level=0.001, reversible=False),
}


def _draw_hand(seed: int, rows: int, columns: int) -> StoredPixels:
    """Draw five fingers and a palm, which is enough to differ from a chest."""
    canvas = Image.new("L", (columns, rows), 12)
    draw = ImageDraw.Draw(canvas)
    for finger in range(5):
        tip = (columns * (0.14 + 0.18 * finger), rows * (0.42, 0.16, 0.10, 0.15, 0.3)[finger])
        root = (columns * (0.30 + 0.10 * finger), rows * 0.66)
        for width, grey in ((0.11, 90), (0.05, 190), (0.025, 150)):
            draw.line([tip, root, (columns * 0.5, rows * 0.98)], fill=grey, width=round(columns * width), joint="curve")
    noise = np.random.default_rng(seed).normal(0, 12, (rows, columns))
    hand: StoredPixels = np.clip(np.asarray(canvas) * 16.0 + noise, 0, 2**BITS - 1).astype(np.uint16)
    return hand
