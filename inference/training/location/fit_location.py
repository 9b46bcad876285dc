"""Fitting the rule for locations: are the maps of a finding better than its usual place, on boxes not fitted to?

Patients are divided into folds. For the boxes of one fold, mean map, scale, least peak and usual place come from the
patients of the others. What is compared is what will be drawn: the centre of the contour, on the boxes for which there
is a contour, with the point that lies in most boxes of the other folds. The network itself may have been trained on the
pictures; boxes of pictures that it has not seen are a stricter test.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from inference.arrays import Array, FloatArray
from inference.errors import DataError
from inference.evaluation.data import fold_of
from inference.evaluation.metrics import bootstrap, interval
from inference.preprocess import Image
from inference.serving.classifier import Classifier
from inference.serving.contour import centroid
from inference.serving.explain import enlarge, grids
from inference.serving.input_place import input_place
from inference.serving.location_rule import outline
from inference.training.location.drawn_lesions import Marked

FOLDS = 5
USUAL = 64  # cells along a side of the usual place
LEAST = 0.5  # share of the training pictures whose highest z is below the least peak for a contour
FEWEST = 30  # contours that a comparison needs
ROUNDS = 1000


@dataclass(frozen=True)
class BoxedMap:
    """What is kept of a marked picture: the finding's map in its own cells, and the box in shares of the input."""

    grid: Array  # [h, w]
    patient: str
    box: tuple[float, float, float, float]  # left, top, right, bottom in 0..1

    def holds(self, point: tuple[float, float]) -> bool:
        """Whether a point (x, y) in shares of the input lies in the box."""
        left, top, right, bottom = self.box
        return left <= point[0] < right and top <= point[1] < bottom


@dataclass(frozen=True)
class Fitted:
    """What is fitted of a finding to some of the patients."""

    mean: Array  # [h, w]
    scale: float
    least: float
    usual: Array  # [USUAL, USUAL]

    @property
    def usual_point(self) -> tuple[float, float]:
        """The point (x, y), in shares of the input, that lies in most boxes: the middle of all such points."""
        rows, columns = np.nonzero(self.usual >= self.usual.max() - 1e-6)
        nearest = int(np.argmin((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2))
        return (float(columns[nearest]) + 0.5) / USUAL, (float(rows[nearest]) + 0.5) / USUAL


def fit_location(
    classifier: Classifier, plain: Iterable[tuple[Image, str]], marked: Iterable[Marked], boxes: str,
    method: str = "cam", precision: str = "low",
) -> dict[str, Any]:  # fmt: skip
    """Fit the bundle's rule for one method, write it into the bundle, and return it as configs/location.json has it.

    `plain` are (picture, patient) without boxes, from which the mean maps are made; `marked` are the boxes; `boxes`
    says in words what they are. Findings without a box get no rule. Raises DataError if there are fewer than two folds
    of either, and what `grids` raises.
    """
    labels = classifier.bundle.labels
    maps, patients = _plain_maps(classifier, plain, method, precision)
    seen: dict[str, list[BoxedMap]] = {}
    for finding, one in _seen(classifier, marked, method, precision):
        seen.setdefault(finding, []).append(one)
    rows: dict[str, Any] = {}
    tensors: dict[str, Array] = {}
    for finding in (label for label in labels if label in seen):
        own = maps[:, labels.index(finding)]
        fitted = fit_finding(own, seen[finding])
        figures = compare(own, patients, seen[finding], classifier.bundle.input_size)
        rows[finding] = {"scale": round(fitted.scale, 6), "least": round(fitted.least, 6)} | figures
        tensors |= {f"{method}.{finding}.mean": fitted.mean, f"{method}.{finding}.usual": fitted.usual}
    part: dict[str, Any] = {"boxes": boxes, "findings": rows}
    part |= {"precision": precision} if method == "occlusion" else {}
    _write(classifier.bundle.directory, method, part, tensors)
    return part


def fit_finding(maps: Array, seen: Sequence[BoxedMap]) -> Fitted:
    """Return mean, scale and least peak of a finding's maps [n, h, w] of plain pictures, and its usual place."""
    mean = maps.mean(axis=0)
    scale = max(float((maps - mean).std()), 1e-6)
    peaks = ((maps - mean) / scale).max(axis=(1, 2))  # enlarging a map does not raise its peak
    return Fitted(mean, scale, float(np.quantile(peaks, LEAST)), usual_place([one.box for one in seen]))


def usual_place(boxes: Sequence[tuple[float, float, float, float]]) -> Array:
    """Return for each cell of the input the share of the boxes that hold its centre, float32 [USUAL, USUAL]."""
    centres = (np.arange(USUAL) + 0.5) / USUAL
    left, top, right, bottom = (np.array(side)[:, None] for side in zip(*boxes, strict=True))
    across, down = (left <= centres) & (centres < right), (top <= centres) & (centres < bottom)
    return np.asarray((down[:, :, None] & across[:, None, :]).mean(axis=0), np.float32)


def compare(maps: Array, patients: Sequence[str], seen: Sequence[BoxedMap], size: tuple[int, int]) -> dict[str, Any]:
    """Return the figures of a finding: how often contour and usual place point into the box of a patient left out."""
    hits, usual, whose = [], [], []
    of_plain, of_seen = (np.array([fold_of(p, FOLDS) for p in ps]) for ps in (patients, [s.patient for s in seen]))
    for fold in np.unique(of_seen):
        others = [one for one, other in zip(seen, of_seen, strict=True) if other != fold]
        if not others or (of_plain != fold).sum() < 2:
            raise DataError("the boxes and pictures are of too few patients to leave some of them out")
        fitted = fit_finding(maps[of_plain != fold], others)
        for one in (one for one, own in zip(seen, of_seen, strict=True) if own == fold):
            point = _point(one.grid, fitted, size)
            if point is not None:
                hits.append(one.holds(point))
                usual.append(one.holds(fitted.usual_point))
                whose.append(one.patient)
    figures = _figures(np.array(hits, float), np.array(usual, float), whose)
    return {"boxes": len(seen), "patients": len({one.patient for one in seen})} | figures


def _point(grid: Array, fitted: Fitted, size: tuple[int, int]) -> tuple[float, float] | None:
    """Return the centre (x, y) of the contour in shares of the input; None if there is no contour."""
    z = enlarge(((grid - fitted.mean) / np.float32(fitted.scale))[None], size)[0]
    polygon, reason = outline(z, fitted.least)
    if reason:
        return None
    x, y = centroid(polygon)
    return x / size[1], y / size[0]


def _figures(hits: FloatArray, usual: FloatArray, patients: Sequence[str]) -> dict[str, Any]:
    if not len(hits):
        return {"contours": 0, "hits": 0.0, "usual_hits": 0.0, "gain": 0.0, "gain_interval": None, "drawn": False}
    gains = hits - usual
    low, high = interval(bootstrap(lambda rows: gains[rows].mean(), patients, ROUNDS))
    return {
        "contours": len(hits), "hits": round(float(hits.mean()), 4), "usual_hits": round(float(usual.mean()), 4),
        "gain": round(float(gains.mean()), 4), "gain_interval": [round(low, 4), round(high, 4)],
        "drawn": bool(round(low, 4) > 0 and len(hits) >= FEWEST),
    }  # fmt: skip


def location_markdown(part: dict[str, Any]) -> str:
    """Return the figures of one method's rule as a table of the model card, in Markdown."""
    lines = [
        "| finding | boxes | contours | hits | usual place | gain | contour drawn |",
        "|---|---|---|---|---|---|---|",
    ]
    for finding, row in part["findings"].items():
        low, high = row["gain_interval"] or (float("nan"), float("nan"))
        lines.append(
            f"| {finding} | {row['boxes']} | {row['contours']} | {row['hits']:.3f} | {row['usual_hits']:.3f} | "
            f"{row['gain']:.3f} ({low:.3f} to {high:.3f}) | {'yes' if row['drawn'] else 'no'} |"
        )
    return "\n".join(lines) + "\n"


def _plain_maps(
    classifier: Classifier, plain: Iterable[tuple[Image, str]], method: str, precision: str
) -> tuple[Array, list[str]]:
    maps, patients = [], []
    for picture, patient in plain:
        maps.append(grids(classifier, picture, method, precision))
        patients.append(patient)
    if len(maps) < 2:
        raise DataError(f"{len(maps)} pictures without boxes, at least 2 are needed for a mean map")
    return np.stack(maps), patients


def _seen(
    classifier: Classifier, marked: Iterable[Marked], method: str, precision: str
) -> Iterator[tuple[str, BoxedMap]]:
    """Yield each marked picture's finding and what is kept of it."""
    labels, (height, width) = classifier.bundle.labels, classifier.bundle.input_size
    for one in marked:
        place = input_place(classifier.bundle, one.picture.shape)
        if place is None:
            raise DataError("the bundle's preprocessing moves pixels in a way that is not known, so that boxes cannot "
                            "be compared with its maps")  # fmt: skip
        x, y, w, h = one.box
        corners = place.to_input(np.array([[x, y], [x + w, y + h]])) / np.array([width, height])
        grid = grids(classifier, one.picture, method, precision)[labels.index(one.finding)]
        left, top, right, bottom = map(float, np.clip(corners, 0, 1).ravel())
        yield one.finding, BoxedMap(grid, one.patient, (left, top, right, bottom))


def _write(directory: Path, method: str, part: dict[str, Any], tensors: dict[str, Array]) -> None:
    """Write one method's part of the rule; the other method's stays."""
    config, weights = directory / "configs/location.json", directory / "models/location.safetensors"
    whole = json.loads(config.read_text()) if config.is_file() else {}
    kept = load_file(weights) if weights.is_file() else {}
    kept = {name: tensor for name, tensor in kept.items() if not name.startswith(f"{method}.")}
    config.write_text(json.dumps(whole | {method: part}, indent=2) + "\n")
    save_file({n: np.ascontiguousarray(t, np.float32) for n, t in (kept | tensors).items()}, weights)
