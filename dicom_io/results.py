"""What goes into a result object and what comes out, as frozen dataclasses, and the UID that follows from it."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from pydicom.dataset import Dataset

from dicom_io import codes, copying
from dicom_io.uids import derived_uid

Call = Literal["present", "absent", "undetermined"]


class ReportError(ValueError):
    """A report cannot be made from what was handed over: a mistake of the caller, never of a radiograph's header."""


@dataclass(frozen=True)
class FindingResult:
    """What the model says of one finding: probability and threshold in 0..1, and the call made from them."""

    finding: str
    probability: float
    threshold: float
    call: Call


@dataclass(frozen=True)
class ImageResult:
    """One radiograph: its header (the data set before the pixels, best with its elements still raw), and its findings,
    or the `reason` for which it was not analysed."""

    header: Dataset
    findings: tuple[FindingResult, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class Summary:
    """Over the images: the highest probability of each finding; where the model gives it, whether anything is seen."""

    findings: tuple[FindingResult, ...] = ()
    pathology: bool | None = None
    pathology_probability: float | None = None
    pathology_threshold: float | None = None


@dataclass(frozen=True)
class ModelIdentity:
    """The model: `digest` names its very weights, `trained` is False where they are random."""

    name: str
    version: str
    digest: str
    trained: bool = True

    @property
    def device_uid(self) -> str:
        """Changes with the weights (IHE AIR 6.5.3.1)."""
        return derived_uid("device", self.digest)


@dataclass(frozen=True)
class ReportOptions:
    """What a destination asks for."""

    sr_class: Literal["comprehensive-3d", "comprehensive", "enhanced"] = "comprehensive-3d"
    sr_title: Literal["imaging-measurement-report", "ai-chest-radiograph-result"] = "ai-chest-radiograph-result"
    language: Literal["en-US"] = "en-US"
    software_version: str = "unknown"


@dataclass(frozen=True)
class PredecessorRef:
    """An earlier report on the same study, made here; its series is derived from it."""

    sop_class_uid: str
    sop_instance_uid: str


@dataclass(frozen=True)
class Encoded:
    """An object ready to send: the data set's bytes in `transfer_syntax_uid`, without file meta information."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    data: bytes


def highest(images: Iterable[ImageResult]) -> tuple[FindingResult, ...]:
    """The result with the highest probability of each finding over the images, in the model's order."""
    best: dict[str, FindingResult] = {}
    for result in (result for image in images for result in image.findings):
        if result.finding not in best or result.probability > best[result.finding].probability:
            best[result.finding] = result
    return tuple(best.values())


def check(images: Sequence[ImageResult], summary: Summary, started: datetime) -> None:
    """Raises ReportError for what no report can be made from, UnknownFinding for a finding without a code."""
    if not images:
        raise ReportError("a report needs at least one image, none was given")
    if started.tzinfo is None:
        raise ReportError("started must be an aware time, found one without a zone")
    results = [result for image in images for result in image.findings] + list(summary.findings)
    values = [value for result in results for value in (result.probability, result.threshold)]
    values += [value for value in (summary.pathology_probability, summary.pathology_threshold) if value is not None]
    wrong = [value for value in values if not (math.isfinite(value) and 0 <= value <= 1)]
    if wrong:
        raise ReportError(f"probabilities and thresholds lie in 0..1, found {wrong[:3]}")
    codes.check_findings(result.finding for result in results)


def result_uid(kind: str, images: Sequence[ImageResult], summary: Summary, model: ModelIdentity, *parts: str) -> str:
    """The SOP Instance UID of a result: the same analysis gives the same UID, whenever and however often it is done."""
    said: list[str] = [kind, model.digest, *parts]
    for image in images:
        said += [copying.sop_instance_uid(image.header), image.reason, *map(_spelled, image.findings)]
    said += map(_spelled, summary.findings)
    if summary.pathology_probability is not None:
        said += ["any finding", percent(summary.pathology_probability), str(summary.pathology)]
    return derived_uid(*said)


def _spelled(result: FindingResult) -> str:
    return f"{result.finding} {percent(result.probability)} {result.threshold:.3f} {result.call}"


def percent(probability: float) -> str:
    """A probability as a report states it, in percent with one decimal."""
    return f"{100 * probability:.1f}"


def series_uid(sop_instance_uid: str) -> str:
    """The series of a result object: one object a series, because viewers show only one document of a series."""
    return derived_uid("series", sop_instance_uid)
