"""Convert pixel cells or a decoder's samples to levels: stored values less the smallest possible one, so from 0 up."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dicom_io.image.luts import StoredValues
from dicom_io.image.no_picture import Undecodable

Levels = NDArray[Any]  # uint8 or uint16


def levels_of_cells(cells: Levels, stored: StoredValues) -> Levels:
    """Convert pixel cells, in place.

    Bits outside Bits Stored are dropped: older images keep overlays there (PS3.5 8.1.1).
    """
    shift = stored.high_bit + 1 - stored.bits_stored
    if shift:
        cells >>= shift
    if stored.bits_stored < stored.bits_allocated and cells.max() >= stored.levels:
        cells &= stored.levels - 1
    if stored.signed:
        cells ^= stored.sign_bit
    return cells


def levels_of_samples(samples: NDArray[Any], stored: StoredValues) -> Levels:
    """Convert a decoder's samples. Raises Undecodable for a dtype other than integers of 8 or 16 bits.

    Values beyond Bits Stored, where a lossy codec overshot, are clipped: dropping the high bits would turn white black.
    """
    if samples.dtype.kind not in "iu" or samples.dtype.itemsize > 2:
        raise Undecodable(f"the decoder gave {samples.dtype}, integers of 8 or 16 bits were expected")
    if stored.signed and samples.dtype.kind == "u":  # the codestream holds two's complement as unsigned numbers
        cells = replace(stored, bits_allocated=16, high_bit=stored.bits_stored - 1)
        return levels_of_cells(samples.astype(np.uint16), cells)
    if samples.dtype.kind == "i":
        wide = np.clip(samples.astype(np.int32) - stored.smallest, 0, stored.levels - 1)
        return wide.astype(np.uint16)
    clipped: Levels = np.minimum(samples, samples.dtype.type(min(stored.levels - 1, np.iinfo(samples.dtype).max)))
    return clipped
