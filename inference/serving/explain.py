"""Maps: which places of a picture speak for a finding.

Class activation maps (Zhou et al. 2016) are an output of the network itself and need no backward pass. Occlusion
sensitivity (Zeiler and Fergus 2014) hides one place after another and runs the network again: it is slower, but works
with any network. The unit of both is the logit: how much a place adds to the logit of a finding, or how much the logit
falls if the place is hidden. `inference.serving.location` turns a map into a contour, where that is justified.
"""

import numpy as np

from inference.arrays import Array
from inference.errors import EngineError
from inference.preprocess import in_colour, preprocess
from inference.serving.classifier import Classifier

METHODS = ("cam", "occlusion")
#: Cells along a side of the grid that occlusion uses.
PRECISION = {"low": 7, "medium": 14, "high": 28}


def grids(classifier: Classifier, image: Array, method: str = "cam", precision: str = "low") -> Array:
    """Return for each finding a map in its own cells, float32 [labels, h, w]: "cam" or "occlusion".

    `image` is float32 [rows, columns] in 0..1. `precision` concerns occlusion only. The mean of a class activation map
    plus a constant of the network is the finding's logit before calibration. Raises ValueError for another method or
    precision, and EngineError for "cam" with a network that has no class activation maps.
    """
    if method not in METHODS:
        raise ValueError(f"method is {method!r}, expected {' or '.join(METHODS)}")
    maps = _falls(classifier, image, precision) if method == "occlusion" else _activations(classifier, image)
    chosen: Array = maps[[classifier.bundle.outputs.index(label) for label in classifier.bundle.labels]]
    return chosen


def _activations(classifier: Classifier, image: Array) -> Array:
    """Return the class activation maps of all outputs [outputs, h, w]."""
    maps = classifier.engine.run(
        preprocess(classifier.transform, in_colour(image, classifier.bundle.channels))[None]
    ).maps
    if not maps.shape[1]:
        raise EngineError(f"the network of {classifier.bundle.name} does not end in average pooling and a linear "
                          "layer, so it has no class activation maps: use --method occlusion")  # fmt: skip
    first: Array = maps[0]
    return first


def _falls(classifier: Classifier, image: Array, precision: str, batch: int = 32) -> Array:
    """Return the occlusion sensitivity of all outputs [outputs, cells, cells]: by how much the logit falls.

    A square of twice a cell's width, filled with the picture's mean, is moved from cell to cell of a grid that has 7,
    14 or 28 cells along a side (`precision` low, medium or high). `batch` pictures are run at once.
    """
    if precision not in PRECISION:
        raise ValueError(f"precision is {precision!r}, expected one of {', '.join(PRECISION)}")
    cells = PRECISION[precision]
    picture = preprocess(classifier.transform, in_colour(image, classifier.bundle.channels))
    hidden = [_hide(picture, row, column, cells) for row in range(cells) for column in range(cells)]
    whole = classifier.run(picture[None]).logits[0]
    chunks = (np.stack(hidden[start : start + batch]) for start in range(0, len(hidden), batch))
    falls = np.concatenate([whole - classifier.run(chunk).logits for chunk in chunks])
    return falls.T.reshape(-1, cells, cells).astype(np.float32)


def enlarge(maps: Array, size: tuple[int, int]) -> Array:
    """Enlarge maps [k, h, w] to [k, *size], bilinearly between the centres of the cells."""
    down, across = (_shares(cells, side) for cells, side in zip(maps.shape[1:], size, strict=True))
    return np.asarray(down @ maps @ across.T, np.float32)


def _shares(cells: int, side: int) -> Array:
    """Return the weight of each cell for each pixel along a side, [side, cells]."""
    place = np.clip((np.arange(side) + 0.5) * cells / side - 0.5, 0, cells - 1)
    return np.asarray(np.maximum(0, 1 - np.abs(place[:, None] - np.arange(cells))), np.float32)


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
