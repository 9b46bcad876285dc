"""The classifier: the one thing that the daemon, the command line and the evaluation use."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from inference import golden
from inference.bundle import Bundle
from inference.outputs import Outputs
from inference.prediction import Prediction, refused, study_summary
from inference.preprocess import Image, build, check_image, preprocess, preprocess_all
from inference.probability import log_odds
from inference.serving.calibration import Calibration
from inference.serving.engines import open_engine
from inference.serving.image_gate import ImageGate


class Classifier:
    """A bundle in an engine, with its preprocessing, gate and calibration."""

    def __init__(
        self, bundle: Bundle, engine: str = "auto", device: str = "auto", threads: int = 0, precision: str = "auto",
        cache: Path | None = None,
    ) -> None:  # fmt: skip
        self.bundle = bundle
        self.transform = build(bundle)
        self.calibration = Calibration(bundle)
        self.gate = ImageGate(bundle)
        self.engine = open_engine(bundle, engine, device, threads, precision, cache)

    @property
    def model(self) -> dict[str, str]:
        """name, version and digest, as every answer states them."""
        return {"name": self.bundle.name, "version": self.bundle.version, "digest": self.bundle.digest}

    def predict(self, images: Sequence[Image]) -> list[Prediction]:
        """One Prediction for each picture, float32 [rows, columns] with display values 0 (black) to 1 (white).

        All are run as one batch. A constant picture and one with values that are not finite are refused with a reason,
        and so is one that the bundle's gate does not take for what the network is for. Raises BadImage.
        """
        faults = [fault(image) for image in images]
        good = [image for image, reason in zip(images, faults, strict=True) if not reason]
        answers = iter(self._predict(preprocess_all(self.transform, good)) if good else [])
        return [refused(reason) if reason else next(answers) for reason in faults]

    def _predict(self, batch: Image) -> list[Prediction]:
        outputs = self.run(batch)
        reasons = [self.gate.reason(float(score)) for score in self.gate.scores(batch, outputs)]
        predictions = self.calibration.predictions(outputs.logits)
        return [refused(reason) if reason else p for p, reason in zip(predictions, reasons, strict=True)]

    def run(self, batch: Image) -> Outputs:
        """Preprocessed pictures [n, channels, S, S] -> Outputs with logits in any case.

        With test-time mirroring the logits are averaged; features and maps are those of the picture as it is.
        """
        outputs = self._run(batch)
        if "flip" not in self.bundle.test_time:
            return outputs
        mirrored = self._run(np.ascontiguousarray(batch[..., ::-1]))
        return Outputs((outputs.logits + mirrored.logits) / np.float32(2), outputs.features, outputs.maps)

    def _run(self, batch: Image) -> Outputs:
        outputs = self.engine.run(batch)
        if self.bundle.output_kind == "probabilities":
            return Outputs(np.asarray(log_odds(outputs.logits), np.float32), outputs.features, outputs.maps)
        return outputs

    def self_check(self) -> float:
        """Run the golden input; the largest difference of a probability. Raises SelfCheckFailed, BundleError."""
        batch = preprocess(self.transform, golden.read_input(self.bundle))[None]
        return golden.compare(self.bundle, self.run(batch).logits, self.engine.name)

    @staticmethod
    def summary(predictions: Sequence[Prediction]) -> Prediction:
        """A study's answer: the highest probability of each finding over its images."""
        return study_summary(predictions)


def fault(image: Image) -> str:
    """Why a picture cannot be analysed by any network; empty if it can. Raises BadImage for no picture at all."""
    check_image(image)
    low, high = float(image.min()), float(image.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        return "the picture holds values that are not finite"
    return "every pixel has the same value" if low == high else ""
