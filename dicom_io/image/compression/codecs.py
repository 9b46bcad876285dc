"""The transfer syntaxes that can be read, and a fast decoder for each.

Decoding 2500 x 2048 pixels of 12 bits takes, in milliseconds on one thread of a busy two-core server
(`benchmarks/decode.py`): native 8, RLE 18, JPEG Lossless 41, JPEG Extended 47, JPEG-LS 109, HTJ2K 69, JPEG 2000 536.
At the lower resolution that suffices for a network of 224 pixels, HTJ2K takes 9 and JPEG 2000 takes 37.
"""

import io
import struct
from collections.abc import Callable
from dataclasses import dataclass

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import uid

from dicom_io.image.compression.codestream import Codestream, read_siz, read_sof
from dicom_io.image.no_picture import NoDecoder, Undecodable, Unsupported

Samples = NDArray[np.generic]  # as the decoder returns them: [rows, columns] or [rows, columns, samples]

_PADDING = 128  # bytes by which an RLE segment may be too long: one packet of padding

NATIVE = (
    uid.ExplicitVRLittleEndian,
    uid.ImplicitVRLittleEndian,
    uid.DeflatedExplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
)
JPEG_DCT = (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit)


@dataclass(frozen=True)
class FrameShape:
    """The properties of a frame, from the DICOM header. `bits_allocated` is per sample."""

    rows: int
    columns: int
    samples: int
    bits_allocated: int


def readable_transfer_syntaxes() -> tuple[str, ...]:
    """Return the UIDs of the transfer syntaxes that can be read, those that are fastest to read first."""
    return (*(str(syntax) for syntax in NATIVE), *(syntax for syntax, codec in _CODECS.items() if codec.installed()))


def is_native(transfer_syntax_uid: str) -> bool:
    """Tell whether Pixel Data is uncompressed, so that it is not encapsulated (PS3.5 A.4)."""
    return transfer_syntax_uid in NATIVE


def ensure_installed(transfer_syntax_uid: str) -> None:
    """Raise NoDecoder if no decoder for this compressed transfer syntax is installed."""
    _codec(transfer_syntax_uid)


def read_codestream(transfer_syntax_uid: str, frame: bytes) -> Codestream | None:
    """Read the header inside the frame; None for RLE, which has none. Raises NoDecoder, Undecodable."""
    return _codec(transfer_syntax_uid).describe(frame)


def decode_frame(transfer_syntax_uid: str, frame: bytes, shape: FrameShape, halvings: int = 0) -> Samples:
    """Decode one frame to integers, [rows, columns] or [rows, columns, samples].

    JPEG 2000 is decoded at rows / 2**halvings by columns / 2**halvings, both rounded up, or in full where that fails.
    Raises NoDecoder, and Undecodable if the decoder fails. The caller checks that the output fits the header.
    """
    codec = _codec(transfer_syntax_uid)
    try:
        return codec.decode(frame, shape, halvings)
    except Undecodable:
        raise
    except (
        RuntimeError,
        ValueError,
        TypeError,
        OSError,
        MemoryError,
        IndexError,
        NotImplementedError,
        Image.DecompressionBombError,
    ) as error:
        name = uid.UID(transfer_syntax_uid).name
        raise Undecodable(f"the {name} decoder gave up ({type(error).__name__})") from error


def ensure_precision(transfer_syntax_uid: str, codestream: Codestream, bits_stored: int) -> None:
    """Raise Unsupported for a lossy JPEG of fewer bits than Bits Stored: it would be displayed almost black."""
    if transfer_syntax_uid in JPEG_DCT and codestream.precision < bits_stored:
        raise Unsupported(f"a JPEG of {codestream.precision} bits where the header says BitsStored {bits_stored}")


@dataclass(frozen=True)
class _Codec:
    decode: Callable[[bytes, FrameShape, int], Samples]
    describe: Callable[[bytes], Codestream | None]
    installed: Callable[[], bool]


def _codec(transfer_syntax_uid: str) -> _Codec:
    codec = _CODECS.get(transfer_syntax_uid)
    if codec is None or not codec.installed():
        name = uid.UID(transfer_syntax_uid).name if transfer_syntax_uid else "none given"
        raise NoDecoder(f"no decoder for transfer syntax {name}")
    return codec


def _jpeg(frame: bytes, shape: FrameShape, halvings: int) -> Samples:
    """libjpeg-turbo 3, for 8 and 12 bits, DCT and lossless; the reference decoder rejects our 12-bit sample files."""
    samples: Samples = imagecodecs.jpeg8_decode(frame)
    return samples


def _jpeg_ls(frame: bytes, shape: FrameShape, halvings: int) -> Samples:
    samples: Samples = imagecodecs.jpegls_decode(frame)
    return samples


def _rle(frame: bytes, shape: FrameShape, halvings: int) -> Samples:
    """PS3.5 Annex G: one segment of PackBits for each byte of each sample, the most significant byte first.

    The segments are decoded one by one within checked bounds, because imagecodecs' decoder for a whole frame trusts
    the offsets and crashes on wrong ones.
    """
    width = shape.bits_allocated // 8
    if len(frame) < 64:
        raise Undecodable(f"an RLE frame of {len(frame)} bytes, its header alone has 64")
    header = struct.unpack_from("<16L", frame)
    number, ends = shape.samples * width, [*header[2 : header[0] + 1], len(frame)]
    if header[0] != number:
        raise Undecodable(f"RLE has {header[0]} segments, the header calls for {number}")
    planes = np.empty((shape.samples, shape.rows * shape.columns, width), np.uint8)
    for segment, (start, end) in enumerate(zip(header[1 : number + 1], ends, strict=True)):
        if not 64 <= start < end <= len(frame):
            raise Undecodable(f"RLE segment {segment} lies from {start} to {end} in {len(frame)} bytes")
        room = np.empty(planes.shape[1] + _PADDING, np.uint8)  # PackBits grows 64 times: never beyond what is expected
        plane = imagecodecs.packbits_decode(frame[start:end], out=room)  # type: ignore[arg-type]
        decoded = np.frombuffer(plane, np.uint8)
        if not 0 <= len(decoded) - planes.shape[1] <= _PADDING:
            raise Undecodable(
                f"RLE segment {segment} holds {len(decoded)} bytes, the header calls for {planes.shape[1]}"
            )
        planes[segment // width, :, width - 1 - segment % width] = decoded[: planes.shape[1]]
    cells = planes.view(np.dtype(f"<u{width}")).reshape(shape.samples, shape.rows, shape.columns)
    return cells[0] if shape.samples == 1 else np.moveaxis(cells, 0, -1)


def _jpeg_2000(frame: bytes, shape: FrameShape, halvings: int) -> Samples:
    """OpenJPEG, through imagecodecs in full and through Pillow, the only binding that can, at a lower resolution.

    HTJ2K is decoded by OpenJPEG too: OpenJPH is three times as fast, but crashes on damaged codestreams.
    If the lower resolution fails, the frame is decoded in full; the caller can tell from the shape.
    """
    if halvings and shape.samples == 1:
        try:
            return _jpeg_2000_reduced(frame, halvings)
        except OSError:
            pass
    samples: Samples = imagecodecs.jpeg2k_decode(frame)
    return samples


def _jpeg_2000_reduced(frame: bytes, halvings: int) -> Samples:
    codestream = read_siz(frame)
    size = (-(-codestream.columns >> halvings), -(-codestream.rows >> halvings))  # ISO/IEC 15444-1 B.5: rounded up
    image = Image.open(io.BytesIO(frame), formats=("JPEG2000",))
    tile = image.tile[0]
    # This is what `image.reduce = halvings` does, except that Pillow rounds the size to the nearest and then fails.
    form = "j2k" if frame.startswith(b"\xff\x4f") else "jp2"
    image.tile = [tile._replace(extents=(0, 0, *size), args=(form, halvings, 0, -1, len(frame)))]
    image._size = size
    scaled = np.asarray(image)  # Pillow scales up to the full 8 or 16 bits
    scale = 8 * scaled.dtype.itemsize - codestream.precision
    if scaled.dtype not in (np.uint8, np.uint16) or scale < 0:
        raise Undecodable(f"the JPEG 2000 decoder gave {scaled.dtype} for {codestream.precision} bits")
    return scaled >> scale


def _no_header(frame: bytes) -> None:
    return None


def _has(name: str) -> Callable[[], bool]:
    return lambda: bool(getattr(imagecodecs, name).available)


_JPEG_CODEC = _Codec(_jpeg, read_sof, _has("JPEG8"))
_LS_CODEC = _Codec(_jpeg_ls, read_sof, _has("JPEGLS"))
_J2K_CODEC = _Codec(_jpeg_2000, read_siz, _has("JPEG2K"))

_CODECS: dict[str, _Codec] = {
    str(uid.RLELossless): _Codec(_rle, _no_header, lambda: True),
    str(uid.JPEGBaseline8Bit): _JPEG_CODEC,
    str(uid.JPEGExtended12Bit): _JPEG_CODEC,
    str(uid.JPEGLosslessSV1): _JPEG_CODEC,
    str(uid.JPEGLossless): _JPEG_CODEC,
    str(uid.HTJ2KLossless): _J2K_CODEC,
    str(uid.HTJ2KLosslessRPCL): _J2K_CODEC,
    str(uid.HTJ2K): _J2K_CODEC,
    str(uid.JPEGLSLossless): _LS_CODEC,
    str(uid.JPEGLSNearLossless): _LS_CODEC,
    str(uid.JPEG2000Lossless): _J2K_CODEC,
    str(uid.JPEG2000): _J2K_CODEC,
}
