"""Which pictures a bundle was trained on: docs/trained_on.npy, a sorted array of 64-bit fingerprints.

A fingerprint is taken of the decoded picture, so that the same picture is recognised in another file, ZIP archive or
lossless format. It is not recognised in another size, or after lossy compression. The picture cannot be made from it.
The file lies below docs/, because no answer of the model depends on it: it does not change the bundle's digest.
"""

from hashlib import blake2b
from pathlib import Path

import numpy as np
import numpy.typing as npt

from inference.errors import BundleError
from inference.preprocess import Image

Prints = npt.NDArray[np.uint64]
FILE = "docs/trained_on.npy"


def fingerprint(picture: Image) -> int:
    """Return the fingerprint of display values, float32 [rows, columns] in 0..1, each of which counts in 16 bits."""
    levels = np.round(np.asarray(picture, np.float64) * 65535).astype("<u2")
    head = np.array(levels.shape, "<u4").tobytes()
    return int.from_bytes(blake2b(head + levels.tobytes(), digest_size=8).digest(), "little")


def write_fingerprints(directory: Path, prints: npt.ArrayLike) -> None:
    """Note in the bundle in `directory` that it was trained on the pictures with these fingerprints."""
    (directory / "docs").mkdir(parents=True, exist_ok=True)
    np.save(directory / FILE, np.unique(np.asarray(prints, np.uint64)))


def read_fingerprints(directory: Path) -> Prints | None:
    """Return the fingerprints of the pictures on which the bundle in `directory` was trained; None if it names none.

    Raises BundleError for a file that does not hold any.
    """
    path = directory / FILE
    if not path.is_file():
        return None
    try:
        prints = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise BundleError(f"{path} is damaged: {error}") from error
    if not isinstance(prints, np.ndarray) or prints.dtype != np.uint64 or prints.ndim != 1:
        raise BundleError(f"{path} is damaged: expected an array of 64-bit numbers")
    return prints


def trained_on(directory: Path, prints: npt.ArrayLike) -> npt.NDArray[np.bool_] | None:
    """Return which of these pictures the bundle in `directory` was trained on; None if it does not say."""
    known = read_fingerprints(directory)
    return None if known is None else np.isin(np.asarray(prints, np.uint64), known)
