"""From display values to the network's input, in training and in serving by the same function, `preprocess`.

The bundle's own MONAI transforms do the work, so that a bundle which expects other pixels needs no other code.
"""

# Do not move or rename this module or `CentreSquare`: bundles name `inference.preprocess.CentreSquare` in
# configs/inference.json. The configuration of a pinned bundle is used as it is, so an alias in inference/allowed.py
# would not help.

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from monai.data import get_track_meta, set_track_meta

from inference.arrays import Array
from inference.bundle import Bundle
from inference.errors import BadImage, BundleError
from inference.instantiate import instantiated

Image = Array  # a picture [rows, columns], or pictures that were preprocessed [channels, S, S], [n, channels, S, S]
Transform = Callable[[torch.Tensor], torch.Tensor]  # [rows, columns] -> [channels, S, S]


class CentreSquare:
    """Cuts the largest square out of the middle of a picture [channels, rows, columns]."""

    def __call__(self, picture: torch.Tensor) -> torch.Tensor:
        rows, columns = picture.shape[-2:]
        side = min(rows, columns)
        top, left = (rows - side) // 2, (columns - side) // 2
        return picture[..., top : top + side, left : left + side]


def standard_preprocessing(size: int, channels: int = 1) -> dict[str, Any]:
    """Return the configuration of the usual preprocessing.

    Each picture is resized to a square of `size` pixels by area, whatever its shape, then brought to mean 0 and
    standard deviation 1.
    """
    return {
        "_target_": "monai.transforms.Compose",
        "transforms": [
            {"_target_": "monai.transforms.EnsureChannelFirst", "channel_dim": -1 if channels == 3 else "no_channel"},
            {"_target_": "monai.transforms.Resize", "spatial_size": [size, size], "mode": "area"},
            {"_target_": "monai.transforms.NormalizeIntensity"},
        ],
    }


def build(bundle: Bundle) -> Transform:
    """Return the bundle's preprocessing. Raises BundleError if it has none, and what MONAI's transforms raise."""
    if "preprocessing" not in bundle.inference:
        raise BundleError(f'{bundle.directory}/configs/inference.json has no "preprocessing"')
    transform: Transform = instantiated(bundle.inference, "preprocessing")
    return transform


def build_from(config: dict[str, Any]) -> Transform:
    """Return the preprocessing that a configuration describes, as `standard_preprocessing` returns it. For training."""
    transform: Transform = instantiated({"preprocessing": config}, "preprocessing")
    return transform


#: Pixels. If both sides of a picture have at least twice as many, it is reduced before the transforms see it, so that
#: its shorter side keeps at least as many and fewer than twice as many.
LEAST_SIDE = 1024


def reduced(image: Image) -> Image:
    """Return the means of k x k pixels of display values [rows, columns].

    k is the largest number that leaves both sides at least LEAST_SIDE pixels. Remaining pixels at the lower and right
    edge are cut off. The decoder of DICOM files reduces in the same order while it decodes, so that nothing is left to
    reduce here; the same picture from another kind of file becomes the same, bit for bit.
    """
    factor = min(image.shape[:2]) // LEAST_SIDE
    if factor < 2:
        return image
    rows, columns = (side // factor * factor for side in image.shape[:2])
    kept = image[:rows, :columns]
    across = kept[0::factor].copy()
    for offset in range(1, factor):
        across += kept[offset::factor]
    result = across[:, 0::factor].copy()
    for offset in range(1, factor):
        result += across[:, offset::factor]
    result *= np.float32(1.0 / (factor * factor))
    return result


def preprocess(transform: Transform, image: Image) -> Image:
    """Return the network's input, float32 [channels, S, S], for a picture, float32 [rows, columns] in 0..1.

    A bundle of three channels takes [rows, columns, 3], see `in_colour`.

    The same pixels give the same result, bit for bit, whoever calls: torch computes in one thread, and MONAI's
    MetaTensor is switched off meanwhile. Raises BadImage.
    """
    check_image(image)
    image = reduced(image)
    tracked, threads = get_track_meta(), torch.get_num_threads()
    set_track_meta(False)
    torch.set_num_threads(1)
    try:
        picture = transform(torch.from_numpy(np.require(image, requirements=["C", "W"])))
    finally:
        set_track_meta(tracked)
        torch.set_num_threads(threads)
    return np.ascontiguousarray(torch.as_tensor(picture).numpy(), dtype=np.float32)


def in_colour(image: Image, channels: int) -> Image:
    """Return a picture with the channels that a bundle takes: a grey one as three equal channels, colour as its mean.

    Raises BadImage.
    """
    check_image(image)
    if channels == 3:
        return image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)
    return image if image.ndim == 2 else np.asarray(image.mean(axis=2), np.float32)


def preprocess_all(transform: Transform, images: Sequence[Image]) -> Image:
    """Return the network's input for several pictures, at least one, as a batch, float32 [n, channels, S, S]."""
    return np.stack([preprocess(transform, image) for image in images])


def check_image(image: Image) -> None:
    """Raise BadImage for anything but a float32 picture [rows, columns], or [rows, columns, 3], with any pixel."""
    fits = isinstance(image, np.ndarray) and (image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3))
    if not fits or image.dtype != np.float32 or min(image.shape) < 1:
        found = f"{image.dtype} {list(image.shape)}" if isinstance(image, np.ndarray) else type(image).__name__
        raise BadImage(f"found {found}, expected float32 [rows, columns] with values in 0..1")
