"""From the optical depth of a drawn body to a radiograph, by a simple simulation of the physics.

Attenuation (Beer and Lambert's law), scattered radiation, quantum noise and the logarithmic response of the detector.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dicom_io.phantom.anatomy import HEIGHT, Map, blurred, cell_of

BITS = 12
SOFT, BONE, LUNG_DENSITY = 0.20, 0.52, 0.26  # 1/cm at the effective energy of 120 kVp; lung relative to water
_QUANTA = 60_000.0  # quanta that reach a pixel of 0.17 mm beside the patient
_SCATTER = 0.25  # share of the radiation behind the grid; it spreads over centimetres


def exposed(optical_depth: Map, rows: int, columns: int, rng: np.random.Generator) -> NDArray[np.uint16]:
    """Return 12-bit values, uint16 [rows, columns], for MONOCHROME2: bright where little radiation passes.

    `optical_depth` is the attenuation coefficient times the path length, summed over the tissues, on a grid over the
    whole detector.
    """
    transmitted = np.exp(-optical_depth)
    light = (1 - _SCATTER) * transmitted + _SCATTER * blurred(transmitted, 2.5, cell_of(optical_depth.shape))
    method = Image.Resampling.BICUBIC if rows > optical_depth.shape[0] else Image.Resampling.BOX
    resized = Image.fromarray(light.astype(np.float32)).resize((columns, rows), method)
    return _detected(np.maximum(np.asarray(resized), 1e-4), rng)


def _detected(light: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.uint16]:
    """Add quantum noise (Poisson, which is normal at these counts), take the logarithm, and process for presentation.

    As in every modality, large differences (lung against abdomen) are reduced more than small ones.
    """
    noise = rng.standard_normal(light.shape, dtype=np.float32)
    counted = np.maximum(light + noise * np.sqrt(light / np.float32(_QUANTA)), np.float32(5e-5))
    depth = -np.log(counted)
    coarse = Image.fromarray(-np.log(light)).resize((175, 215), Image.Resampling.BOX)
    base = blurred(np.asarray(coarse, np.float64), 1.6, HEIGHT / 215).astype(np.float32)
    base = np.asarray(Image.fromarray(base).resize(light.shape[::-1], Image.Resampling.BICUBIC))
    flattened = np.float32(2.2) * np.tanh((base - np.float32(2.2)) / np.float32(2.6)) + np.float32(1.15) * (
        depth - base
    )
    shown = np.clip((flattened + np.float32(2.0)) / np.float32(4.1), 0.0, 1.0)
    stored: NDArray[np.uint16] = np.rint(shown * (2**BITS - 1)).astype(np.uint16)
    return stored
