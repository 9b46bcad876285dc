"""The luminance of a colour image: a Secondary Capture of a digitised film is often stored in colour."""

import numpy as np
from numpy.typing import NDArray

from dicom_io.image.compression.codecs import JPEG_DCT, FrameShape
from dicom_io.image.header import Header
from dicom_io.image.pixel_data import read_native

_RED, _GREEN, _BLUE = 19595, 38470, 7471  # ITU-R BT.601 luma in 65536ths, as in image libraries


def read_native_luminance(header: Header, shape: FrameShape) -> NDArray[np.uint8]:
    """Read uncompressed colour in either Planar Configuration (PS3.3 C.7.6.3.1.3) as uint8 [rows, columns].

    Raises the same exceptions as `read_native`.
    """
    size = shape.rows * shape.columns
    if header.photometric_interpretation == "YBR_FULL_422":  # C.7.6.3.1.2: Y Y Cb Cr for each two pixels
        cells = read_native(header, size * 2, 8)
        return cells.reshape(-1, 4)[:, :2].reshape(shape.rows, shape.columns).astype(np.uint8)
    cells = read_native(header, size * 3, 8)
    if header.integer("PlanarConfiguration") == 1:
        samples = np.moveaxis(cells.reshape(3, shape.rows, shape.columns), 0, -1)
    else:
        samples = cells.reshape(shape.rows, shape.columns, 3)
    return luminance(samples, header)


def luminance(samples: NDArray[np.generic], header: Header) -> NDArray[np.uint8]:
    """Convert a decoder's [rows, columns, 3] of 8 bits to uint8 [rows, columns]."""
    converted = header.transfer_syntax_uid in JPEG_DCT  # this decoder returns RGB, whatever is stored
    if not converted and header.photometric_interpretation.startswith(("YBR_FULL", "YBR_PARTIAL")):
        return samples[..., 0].astype(np.uint8)
    wide = samples.astype(np.uint32)
    return ((_RED * wide[..., 0] + _GREEN * wide[..., 1] + _BLUE * wide[..., 2] + 0x8000) >> 16).astype(np.uint8)
