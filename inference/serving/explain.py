"""Heatmaps: which places of a picture speak for a finding.

Class activation maps (Zhou et al. 2016) are an output of the network itself and need no backward pass. Occlusion
sensitivity (Zeiler and Fergus 2014) hides one place after another and runs the network again: it is slower, but works
with any network. The unit of both is the logit: how much a place adds to the logit of a finding, or how much the logit
falls if the place is hidden.
"""

import numpy as np
import numpy.typing as npt

from inference.arrays import Array
from inference.errors import EngineError
from inference.preprocess import preprocess
from inference.serving.classifier import Classifier

#: Cells along a side of the grid that occlusion uses.
PRECISION = {"low": 7, "medium": 14, "high": 28}


def heatmaps(classifier: Classifier, image: Array, method: str = "cam", precision: str = "low") -> dict[str, Array]:
    """Return for each finding a heatmap, float32 [S, S], by `activation_maps` (method "cam") or `occlusion`.

    `image` is float32 [rows, columns] in 0..1. `precision` concerns occlusion only. Raises ValueError for another
    method or precision, and EngineError for "cam" with a network that has no class activation maps.
    """
    if method not in ("cam", "occlusion"):
        raise ValueError(f"method is {method!r}, expected cam or occlusion")
    return occlusion(classifier, image, precision) if method == "occlusion" else activation_maps(classifier, image)


def activation_maps(classifier: Classifier, image: Array) -> dict[str, Array]:
    """Return for each finding the class activation map, float32 [S, S], of a picture, float32 [rows, columns] in 0..1.

    A map has the size of the network's input; `overlay` draws it on the picture. A map's mean plus a constant of the
    network is the finding's logit before calibration. Raises EngineError for a network without such maps.
    """
    maps = classifier.engine.run(preprocess(classifier.transform, image)[None]).maps
    if not maps.shape[1]:
        raise EngineError(f"the network of {classifier.bundle.name} does not end in average pooling and a linear "
                          "layer, so it has no class activation maps: use --method occlusion")  # fmt: skip
    return _by_label(classifier, enlarge(maps[0], classifier.bundle.input_size))


def occlusion(classifier: Classifier, image: Array, precision: str = "low", batch: int = 32) -> dict[str, Array]:
    """Return for each finding the occlusion sensitivity of a picture, float32 [S, S]: by how much its logit falls.

    A square of twice a cell's width, filled with the picture's mean, is moved from cell to cell of a grid that has 7,
    14 or 28 cells along a side (`precision` low, medium or high). `batch` pictures are run at once. Raises ValueError
    for another precision.
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
    """Enlarge maps [k, h, w] to [k, *size], bilinearly between the centres of the cells."""
    down, across = (_shares(cells, side) for cells, side in zip(maps.shape[1:], size, strict=True))
    return np.asarray(down @ maps @ across.T, np.float32)


def _shares(cells: int, side: int) -> Array:
    """Return the weight of each cell for each pixel along a side, [side, cells]."""
    place = np.clip((np.arange(side) + 0.5) * cells / side - 0.5, 0, cells - 1)
    return np.asarray(np.maximum(0, 1 - np.abs(place[:, None] - np.arange(cells))), np.float32)


def overlay(image: Array, heat: Array, strength: float = 0.6) -> npt.NDArray[np.uint8]:
    """Return the picture with a heatmap drawn on it, uint8 [rows, columns, 3].

    `image` is float32 [rows, columns] in 0..1, `heat` float32 [S, S]. Only positive values of the map are coloured,
    from yellow to red at its highest value; without positive values the picture stays grey. `strength` is the opacity
    of the highest value, 0 to 1.
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
    """Return the picture [channels, S, S] with a square around a cell set to the mean of the channel."""
    hidden = picture.copy()
    (top, bottom), (left, right) = (
        _span(i, cells, side) for i, side in ((row, picture.shape[1]), (column, picture.shape[2]))
    )
    hidden[:, top:bottom, left:right] = picture.mean(axis=(1, 2), keepdims=True)
    return hidden


def _span(cell: int, cells: int, side: int) -> tuple[int, int]:
    """Return the first pixel, and the one after the last, of a span of two cells' width around the middle of a cell."""
    middle, width = (cell + 0.5) * side / cells, side / cells
    return max(0, round(middle - width)), min(side, round(middle + width))
