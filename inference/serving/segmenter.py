"""The segmenter: a bundle that outlines structures, used where a classifier is used."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import grid_sample

from inference import golden
from inference.arrays import Array, FloatArray
from inference.bundle import Bundle
from inference.errors import BundleError
from inference.prediction import Prediction, refused
from inference.preprocess import Image, build, in_colour, preprocess, preprocess_all
from inference.probability import log_odds, sigmoid
from inference.serving.classifier import Classifier, fault
from inference.serving.engines import open_engine
from inference.serving.image_gate import ImageGate
from inference.serving.input_place import InputPlace, input_place
from inference.serving.site_calibration import SiteCalibration
from inference.serving.structures import Structures


class Segmenter:
    """A segmentation bundle that was loaded into an engine, with its preprocessing, gate and structures.

    `engine`, `device`, `threads`, `precision` and `cache` are those of `open_engine`. Raises EngineError, and
    BundleError if the parts of the bundle do not fit together or its preprocessing loses the place of a pixel.
    """

    def __init__(
        self, bundle: Bundle, engine: str = "auto", device: str = "auto", threads: int = 0, precision: str = "auto",
        cache: Path | None = None,
    ) -> None:  # fmt: skip
        self.bundle = bundle
        self.transform = build(bundle)
        self.structures = Structures(bundle)
        self.gate = ImageGate(bundle)
        self._place((64, 64))  # to report a preprocessing that cannot be followed here, not at the first picture
        self.engine = open_engine(bundle, engine, device, threads, precision, cache)

    @property
    def model(self) -> dict[str, str]:
        """The model's name, version and digest, which every answer states."""
        return {"name": self.bundle.name, "version": self.bundle.version, "digest": self.bundle.digest}

    def predict(self, images: Sequence[Image], views: Sequence[str] = ()) -> list[Prediction]:
        """Return one Prediction for each picture, float32 [rows, columns] with display values 0 (black) to 1 (white).

        Its `outlined` hold a mask of each structure, bool [rows, columns] of the picture. `views` makes no difference.
        A picture is refused, with a reason, as by `Classifier.predict`. Raises BadImage as that does.
        """
        images = [in_colour(image, self.bundle.channels) for image in images]
        return [refused(reason) if (reason := fault(image)) else self._predict(image) for image in images]

    def _predict(self, image: Image) -> Prediction:
        batch = preprocess_all(self.transform, [image])
        outputs = self.engine.run(batch)
        if reason := self.gate.reason(float(self.gate.scores(batch, outputs)[0])):
            return refused(reason)
        maps = self.probabilities(outputs.maps)[0]
        shape = image.shape[0], image.shape[1]
        stretched = _stretched(maps, self._place(shape), self.bundle.input_size, shape)
        return Prediction(analysed=True, outlined=tuple(self.structures.outlined(stretched)))

    def probabilities(self, maps: Array) -> Array:
        """Return the probabilities of the network's maps [n, outputs, h, w]."""
        if self.bundle.output_kind == "probabilities":
            return maps
        if self.bundle.output_kind == "softmax":
            return np.asarray(torch.from_numpy(maps).softmax(1).numpy(), np.float32)
        return np.asarray(sigmoid(maps), np.float32)

    def _place(self, shape: tuple[int, int]) -> InputPlace:
        place = input_place(self.bundle, shape)
        if place is None:
            raise BundleError(f"{self.bundle.directory}/configs/inference.json: the preprocessing has a transform that "
                              "may move pixels in an unknown way, so masks cannot be laid on the picture")  # fmt: skip
        return place

    def self_check(self) -> float:
        """Run the golden input and return the largest difference from an expected probability, as a Classifier does."""
        return golden.compare(self.bundle, self.golden_logits(), self.engine.name)

    def golden_logits(self) -> FloatArray:
        """Return the log-odds [1, outputs] of the mean probability of each output over the golden picture."""
        batch = preprocess(self.transform, golden.read_input(self.bundle))[None]
        means = self.probabilities(self.engine.run(batch).maps).mean((2, 3))
        return np.asarray(log_odds(means), np.float32)

    def summary(self, predictions: Sequence[Prediction]) -> Prediction:
        """Return the answer for a study: its images stay apart, so it holds no outlines."""
        analysed = [p for p in predictions if p.analysed]
        if analysed:
            return replace(analysed[0], outlined=())
        return refused("; ".join(dict.fromkeys(p.reason for p in predictions)) or "no image")


#: What a bundle is opened as, by its task.
Model = Classifier | Segmenter


def open_model(
    bundle: Bundle, engine: str = "auto", device: str = "auto", threads: int = 0, precision: str = "auto",
    cache: Path | None = None, site: SiteCalibration | None = None,
) -> Model:  # fmt: skip
    """Load a bundle for its task. Raises as the two do, and BundleError for a site's calibration of a segmentation."""
    if bundle.task == "classification":
        return Classifier(bundle, engine, device, threads, precision, cache, site)
    if site and site.digest:
        raise BundleError(f"{bundle.directory} outlines structures, which a site's calibration does not change: leave "
                          "out model.site_calibration")  # fmt: skip
    return Segmenter(bundle, engine, device, threads, precision, cache)


def _stretched(maps: Array, place: InputPlace, size: tuple[int, int], shape: tuple[int, int]) -> Array:
    """Return maps [k, h, w] over the network's input, of this `size`, as maps over a picture [k, rows, columns].

    Outside of what the network has seen, probabilities are 0.
    """
    rows, columns = shape
    x = (np.arange(columns) + 0.5 - place.offset[0]) / place.scale[0] / size[1]  # in shares of the input
    y = (np.arange(rows) + 0.5 - place.offset[1]) / place.scale[1] / size[0]
    seen = ((y >= 0) & (y <= 1))[:, None] & ((x >= 0) & (x <= 1))
    grid = torch.from_numpy(np.stack(np.broadcast_arrays(2 * x[None] - 1, 2 * y[:, None] - 1), -1).astype(np.float32))
    source = torch.from_numpy(maps)[None]
    found = grid_sample(source, grid[None], padding_mode="border", align_corners=False)
    return np.asarray(found[0].numpy() * seen, np.float32)
