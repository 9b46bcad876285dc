"""Where in the picture a finding's probability comes from.

Class activation maps come out of the network with its answer (Zhou et al. 2016, no backward pass). Occlusion
sensitivity hides one place after another and asks again (Zeiler and Fergus 2014): slower, and of any network.
Both are in logits: how much a place adds to the finding, or how much hiding it takes away.
"""

import numpy as np
import numpy.typing as npt

from inference.arrays import Array
from inference.errors import EngineError
from inference.preprocess import preprocess
from inference.serving.classifier import Classifier

#: cells along a side of occlusion's grid
PRECISION = {"low": 7, "medium": 14, "high": 28}


def heatmaps(classifier: Classifier, image: Array, method: str = "cam", precision: str = "low") -> dict[str, Array]:
    """For each finding where the picture speaks for it, float32 [S, S], by `activation_maps` ("cam") or "occlusion".

    `image`: float32 [rows, columns] in 0..1; `precision` is occlusion's. Raises ValueError for another method.
    """
    if method not in ("cam", "occlusion"):
        raise ValueError(f"method is {method!r}, expected cam or occlusion")
    return occlusion(classifier, image, precision) if method == "occlusion" else activation_maps(classifier, image)


def activation_maps(classifier: Classifier, image: Array) -> dict[str, Array]:
    """Class activation maps of a picture, float32 [rows, columns] in 0..1: for each finding float32 [S, S].

    In the frame of the network's input; `overlay` lays one over the picture. With calibration left out, a map's mean
    plus a constant of the network is the finding's logit. Raises EngineError for a network without such maps.
    """
    maps = classifier.engine.run(preprocess(classifier.transform, image)[None]).maps
    if not maps.shape[1]:
        raise EngineError(f"the network of {classifier.bundle.name} does not end in average pooling and a linear "
                          "layer, so it has no class activation maps: use --method occlusion")  # fmt: skip
    return _by_label(classifier, enlarge(maps[0], classifier.bundle.input_size))


def occlusion(classifier: Classifier, image: Array, precision: str = "low", batch: int = 32) -> dict[str, Array]:
    """Occlusion sensitivity of a picture: for each finding float32 [S, S], the fall of its logit.

    A square of two cells' width in the picture's mean is moved from cell to cell of a grid of 7, 14 or 28 cells along a
    side (`precision` low, medium, high).
    """
    if precision not in PRECISION:
        raise ValueError(f"precision is {precision!r}, expected one of {', '.join(PRECISION)}")
    cells = PRECISION[precision]
    picture = preprocess(classifier.transform, image)
    hidden = [_hide(picture, row, column, cells) for row in range(cells) for column in range(cells)]
    whole = classifier.run(picture[None]).logits[0]
    chunks = (np.stack(hidden[start : start + batch]) for start in range(0, len(hidden), batch))
    falls = np.concatenate([whole - classifier.run(chunk).logits for chunk in chunks])
    maps = falls.T.reshape(-1, cells, cells).astype(np.float32)
    return _by_label(classifier, enlarge(maps, classifier.bundle.input_size))


def enlarge(maps: Array, size: tuple[int, int]) -> Array:
    """Maps [k, h, w] -> [k, *size], bilinear between the cells' middles."""
    down, across = (_shares(cells, side) for cells, side in zip(maps.shape[1:], size, strict=True))
    return np.asarray(down @ maps @ across.T, np.float32)


def _shares(cells: int, side: int) -> Array:
    """What each cell gives to each pixel along a side, [side, cells]."""
    place = np.clip((np.arange(side) + 0.5) * cells / side - 0.5, 0, cells - 1)
    return np.asarray(np.maximum(0, 1 - np.abs(place[:, None] - np.arange(cells))), np.float32)


def overlay(image: Array, heat: Array, strength: float = 0.6) -> npt.NDArray[np.uint8]:
    """The picture with the places that speak for a finding in colour, uint8 [rows, columns, 3].

    Only what adds to the finding is coloured, from yellow to red at the map's highest value; a map without anything
    positive leaves the picture as it is.
    """
    rows, columns = image.shape
    warm = np.clip(enlarge(heat[None], (rows, columns))[0], 0, None)
    share = warm / warm.max() if warm.max() > 0 else warm
    grey = np.repeat(np.clip(image, 0, 1)[..., None], 3, axis=2)
    colour = np.stack([np.ones_like(share), 1 - share, np.zeros_like(share)], axis=2)
    weight = (strength * share)[..., None]
    return np.asarray(np.rint(255 * (grey * (1 - weight) + colour * weight)), dtype=np.uint8)


def _by_label(classifier: Classifier, maps: Array) -> dict[str, Array]:
    bundle = classifier.bundle
    return {label: maps[bundle.outputs.index(label)] for label in bundle.labels}


def _hide(picture: Array, row: int, column: int, cells: int) -> Array:
    """The picture with a square around a cell set to its mean."""
    hidden = picture.copy()
    (top, bottom), (left, right) = (
        _span(i, cells, side) for i, side in ((row, picture.shape[1]), (column, picture.shape[2]))
    )
    hidden[:, top:bottom, left:right] = picture.mean(axis=(1, 2), keepdims=True)
    return hidden


def _span(cell: int, cells: int, side: int) -> tuple[int, int]:
    """Two cells' width around the middle of a cell."""
    middle, width = (cell + 0.5) * side / cells, side / cells
    return max(0, round(middle - width)), min(side, round(middle + width))
