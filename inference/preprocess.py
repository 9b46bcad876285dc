"""From display values to the network's input. Training and serving call `preprocess`, and nothing else.

The bundle's own MONAI transforms do the work, so that a bundle with other pixels needs no other code.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from monai.data import get_track_meta, set_track_meta
from monai.transforms import Compose

from inference.bundle import Bundle
from inference.errors import BadImage, BundleError
from inference.instantiate import instantiated

Image = npt.NDArray[np.float32]
Transform = Callable[[torch.Tensor], torch.Tensor]


class CentreSquare:
    """The largest square in the middle of a picture [channels, rows, columns]."""

    def __call__(self, picture: torch.Tensor) -> torch.Tensor:
        rows, columns = picture.shape[-2:]
        side = min(rows, columns)
        top, left = (rows - side) // 2, (columns - side) // 2
        return picture[..., top : top + side, left : left + side]


def standard_preprocessing(size: int) -> dict[str, Any]:
    """The configuration of the usual preprocessing: squashed to a square by area, each picture to mean 0 and SD 1."""
    return {
        "_target_": "monai.transforms.Compose",
        "transforms": [
            {"_target_": "monai.transforms.EnsureChannelFirst", "channel_dim": "no_channel"},
            {"_target_": "monai.transforms.Resize", "spatial_size": [size, size], "mode": "area"},
            {"_target_": "monai.transforms.NormalizeIntensity"},
        ],
    }


def build(bundle: Bundle) -> Transform:
    """The bundle's preprocessing, instantiated by MONAI's ConfigParser."""
    if "preprocessing" not in bundle.inference:
        raise BundleError(f'{bundle.directory}/configs/inference.json has no "preprocessing"')
    transform: Transform = instantiated(bundle.inference, "preprocessing")
    return transform


def build_from(config: dict[str, Any]) -> Transform:
    """A preprocessing from its configuration, as `standard_preprocessing` gives it (for training)."""
    transform: Transform = instantiated({"preprocessing": config}, "preprocessing")
    return transform


#: Both sides of what the transforms get are at least this long where the picture's are, and one is less than twice it.
LEAST_SIDE = 1024


def reduced(image: Image) -> Image:
    """Display values [rows, columns] -> the mean of k x k pixels, as many as leave both sides at least LEAST_SIDE.

    What is left over at the lower and right edge is cut off. A decoder of DICOM files that reduces in the same order
    has nothing left to be done here; a picture of another file becomes the same, bit for bit.
    """
    factor = min(image.shape) // LEAST_SIDE
    if factor < 2:
        return image
    rows, columns = (side // factor * factor for side in image.shape)
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
    """float32 [rows, columns] in 0..1 -> float32 [channels, S, S]. Raises BadImage.

    Bit for bit the same for the same pixels, wherever it is called from: one thread, no MetaTensor.
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


def preprocess_all(transform: Transform, images: Sequence[Image]) -> Image:
    """A batch, float32 [n, channels, S, S]."""
    return np.stack([preprocess(transform, image) for image in images])


def check_image(image: Image) -> None:
    """Raises BadImage for anything but a float32 picture [rows, columns]."""
    if not isinstance(image, np.ndarray) or image.ndim != 2 or image.dtype != np.float32 or min(image.shape) < 1:
        found = f"{image.dtype} {list(image.shape)}" if isinstance(image, np.ndarray) else type(image).__name__
        raise BadImage(f"found {found}, expected float32 [rows, columns] with values in 0..1")


__all__ = ["CentreSquare", "Compose", "Image", "Transform", "build", "build_from", "check_image", "preprocess",
           "preprocess_all", "standard_preprocessing"]  # fmt: skip
