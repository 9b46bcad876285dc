"""The pixels of a page: JPEG Baseline of at most LARGEST bytes, or RLE, which loses nothing."""

import io
from struct import pack

import imagecodecs
import numpy as np
from PIL import Image

LARGEST = 300_000  # bytes
QUALITIES = (90, 82, 74, 64, 50, 30)  # the first that is small enough; a radiograph seldom needs the second


def jpeg(picture: Image.Image) -> bytes:
    """Return a picture in JPEG Baseline, YBR_FULL_422."""
    frame = b""
    for quality in QUALITIES:
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=quality, subsampling="4:2:2")
        frame = buffer.getvalue()
        if len(frame) <= LARGEST:
            break
    return frame


def rle(picture: Image.Image) -> bytes:
    """Return a picture in RLE Lossless (PS3.5 G): a segment for each colour, in which each row is encoded by itself."""
    planes = np.asarray(picture).transpose(2, 0, 1)
    segments = [_even(imagecodecs.packbits_encode(np.ascontiguousarray(plane))) for plane in planes]
    offsets = [64 + sum(map(len, segments[:number])) for number in range(len(segments))]
    return pack("<16L", len(segments), *offsets, *[0] * (15 - len(offsets))) + b"".join(segments)


def _even(segment: bytes | bytearray) -> bytes:
    return bytes(segment) + b"\0" * (len(segment) % 2)
