"""The classifier, through which the daemon, the command line and the evaluation use a bundle."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.special import softmax

from inference import golden
from inference.bundle import Bundle
from inference.outputs import Outputs
from inference.prediction import Prediction, refused, study_summary
from inference.preprocess import Image, build, check_image, in_colour, preprocess, preprocess_all
from inference.probability import log_odds
from inference.serving.calibration import Calibration
from inference.serving.engines import open_engine
from inference.serving.image_gate import ImageGate
from inference.serving.location_rule import LocationRule
from inference.serving.site_calibration import SiteCalibration


class Classifier:
    """A bundle that was loaded into an engine, with its preprocessing, gate, calibration and rule for locations.

    `engine`, `device`, `threads`, `precision` and `cache` are those of `open_engine`. `site` is the site's own
    calibration, which takes the place of the bundle's where it says something. Raises EngineError, and
    BundleError if the parts of the bundle do not fit together.
    """

    def __init__(
        self, bundle: Bundle, engine: str = "auto", device: str = "auto", threads: int = 0, precision: str = "auto",
        cache: Path | None = None, site: SiteCalibration | None = None,
    ) -> None:  # fmt: skip
        self.bundle = bundle
        self.transform = build(bundle)
        self.calibration = Calibration(bundle, site)
        self.gate = ImageGate(bundle)
        self.location = LocationRule(bundle)
        LocationRule(bundle, "occlusion")  # to report its faults here, not at the first picture
        self.engine = open_engine(bundle, engine, device, threads, precision, cache)

    @property
    def model(self) -> dict[str, str]:
        """The model's name, version and digest, and that of a site's calibration, which every answer states."""
        site = self.calibration.site.digest
        named = {"name": self.bundle.name, "version": self.bundle.version, "digest": self.bundle.digest}
        return named | ({"site_calibration": site} if site else {})

    def predict(self, images: Sequence[Image], views: Sequence[str] = ()) -> list[Prediction]:
        """Return one Prediction for each picture, float32 [rows, columns] with display values 0 (black) to 1 (white).

        `views` says for each picture how it was taken, "PA", "AP" or "" if that is not known, on which the thresholds
        depend; without it no view is known. All pictures are run as one batch. A picture is refused, with a reason, if
        it is constant, if it has values that are not finite, or if the bundle's gate rejects it. Raises BadImage for an
        array of another type or shape.
        """
        images = [in_colour(image, self.bundle.channels) for image in images]
        faults = [fault(image) for image in images]
        good = [image for image, reason in zip(images, faults, strict=True) if not reason]
        known = [view for view, reason in zip(views or [""] * len(images), faults, strict=True) if not reason]
        answers = iter(self._predict(preprocess_all(self.transform, good), known) if good else [])
        return [refused(reason) if reason else next(answers) for reason in faults]

    def _predict(self, batch: Image, views: Sequence[str]) -> list[Prediction]:
        outputs = self.run(batch)
        reasons = [self.gate.reason(float(score)) for score in self.gate.scores(batch, outputs)]
        predictions = self.calibration.predictions(outputs.logits, views)
        return [refused(reason) if reason else p for p, reason in zip(predictions, reasons, strict=True)]

    def run(self, batch: Image) -> Outputs:
        """Return the Outputs for preprocessed pictures [n, channels, S, S].

        They hold logits, whose sigmoid is the probability, even if the network ends in a sigmoid or softmax.

        If the bundle asks for test-time mirroring, the logits are averaged over the picture and its mirror image;
        features and maps are those of the picture itself.
        """
        outputs = self._run(batch)
        if "flip" not in self.bundle.test_time:
            return outputs
        mirrored = self._run(np.ascontiguousarray(batch[..., ::-1]))
        return Outputs((outputs.logits + mirrored.logits) / np.float32(2), outputs.features, outputs.maps)

    def _run(self, batch: Image) -> Outputs:
        outputs = self.engine.run(batch)
        if self.bundle.output_kind == "logits":
            return outputs
        exclusive = self.bundle.output_kind == "softmax"
        p = softmax(outputs.logits.astype(np.float64), axis=1) if exclusive else outputs.logits
        return Outputs(np.asarray(log_odds(p), np.float32), outputs.features, outputs.maps)

    def self_check(self) -> float:
        """Run the golden input and return the largest difference from an expected probability.

        Raises SelfCheckFailed if it is too large, BundleError if the bundle has no golden input.
        """
        return golden.compare(self.bundle, self.golden_logits(), self.engine.name)

    def golden_logits(self) -> Image:
        """Return the logits [1, outputs] for the golden input. Raises BundleError if the bundle has none."""
        batch = preprocess(self.transform, golden.read_input(self.bundle))[None]
        return self.run(batch).logits

    def summary(self, predictions: Sequence[Prediction]) -> Prediction:
        """Return the answer for a study from those for its images, see `study_summary`."""
        return study_summary(predictions, self.calibration.rule)


def fault(image: Image) -> str:
    """Return why no network can analyse this picture; "" if one can.

    Raises BadImage for an array of another type or shape.
    """
    check_image(image)
    low, high = float(image.min()), float(image.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        return "the picture holds values that are not finite"
    return "every pixel has the same value" if low == high else ""
