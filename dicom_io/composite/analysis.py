"""What goes into a result object and what comes out, as frozen dataclasses, and the UID that follows from it."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from dicom_io.composite import codes, copying
from dicom_io.composite.structures import OutlinedStructure, check_structures
from dicom_io.identity import derived_uid

#: A probability above, near or below the threshold. No call says that a finding is absent.
Call = Literal["above", "near", "below"]
#: From where the rays came, as far as the header says so. PA and AP are frontal.
View = Literal["PA", "AP", "lateral", "oblique", "decubitus", ""]
#: How the picture came to have the patient's left on the viewer's right and the head up: as it is stored, mirrored, or
#: turned otherwise. "unknown" where the header does not say which side is which.
Side = Literal["as stored", "flipped", "turned", "unknown"]
CALL_ORDER: dict[Call, int] = {"above": 0, "near": 1, "below": 2}


class ReportError(ValueError):
    """A report cannot be made from what was handed over: a mistake of the caller, never of a radiograph's header."""


@dataclass(frozen=True)
class FindingResult:
    """What the model says of one finding that it assesses: probability and threshold in 0..1, and the call.

    `score` says where the probability stands from 0 to 100, with the threshold at 50.
    """

    finding: str
    probability: float
    threshold: float
    call: Call
    score: int


@dataclass(frozen=True)
class Pathology:
    """Whether the model sees anything at all, whatever it is: probability and threshold in 0..1, and the score.

    It is above its threshold whenever one of the findings is, so that the two never contradict each other.
    """

    call: Call
    probability: float
    score: int
    threshold: float | None = None


@dataclass(frozen=True)
class Location:
    """Where `finding` was seen in the radiograph that is shown: polygons, or none and the `reason` why none is given.

    Points are (x, y) in shares of the radiograph's width and height, from its top left corner.
    """

    finding: str
    polygons: tuple[tuple[tuple[float, float], ...], ...] = ()
    reason: str = ""
    stored: tuple[tuple[tuple[float, float], ...], ...] = ()
    """The same polygons in pixels of the image as it is stored, which may be turned (PS3.3 C.10.5.1.2)."""


def no_location() -> None:
    """For an image on which nothing is above its threshold, so that there is nothing to locate."""


@dataclass(frozen=True)
class SourceImage:
    """A radiograph and what became of it: findings, or the `reason` for which it was not analysed.

    `dataset` holds the elements before Pixel Data, best still raw, so that they can be copied byte for byte. The
    picture itself and what is computed from it do not count when two are compared.
    """

    dataset: Dataset
    findings: tuple[FindingResult, ...] = ()
    reason: str = ""
    pathology: Pathology | None = None
    subject: str = ""
    """A digest of what the header says of patient and study: a corrected header makes another object."""
    not_assessed: tuple[str, ...] = ()
    """The findings that the model knows, but of which it may say nothing: too seldom would it be right."""
    remark: str = ""
    """A sentence that the report repeats, for example that the patient's age is unknown."""
    in_scope: bool = True
    """False for an image that the model is not for by its header: it is named, and does not count as a failure."""
    view: View = ""
    side: Side = "unknown"
    pixels: NDArray[np.floating[Any]] | None = field(default=None, compare=False, repr=False)
    """The picture as it is to be shown, float [rows, columns], 0 black to 1 white; None if it was not decoded."""
    outlined: tuple[OutlinedStructure, ...] = ()
    """What a segmentation outlined in `pixels`; () of a classification."""
    location: Callable[[], Location | None] = field(default=no_location, compare=False, repr=False)
    """Computes where the strongest finding was seen in `pixels`; called only by a kind of object that shows it."""


@dataclass(frozen=True)
class ModelIdentity:
    """The model: `digest` names its very weights, `trained` is False where they are random.

    `evaluated` is False where nobody has measured how often its calls are right.
    """

    name: str
    version: str
    digest: str
    trained: bool = True
    evaluated: bool = True
    task: str = "classification"
    """Or "segmentation"."""
    site_calibration: str = ""
    """The digest of the site's own calibration, where one is in force."""

    @property
    def device_uid(self) -> str:
        """Changes with the weights and with what the site makes of them (IHE AIR 6.5.3.1)."""
        return derived_uid("device", *self.digests)

    @property
    def digests(self) -> tuple[str, ...]:
        """All that the numbers of a result depend on."""
        return (self.digest, self.site_calibration) if self.site_calibration else (self.digest,)


@dataclass(frozen=True)
class PredecessorRef:
    """An earlier object on the same study, made here."""

    sop_class_uid: str
    sop_instance_uid: str
    first: str = ""
    """SOP Instance UID of the first object of its series, from which the series is derived; "": it is the first."""

    @property
    def series_instance_uid(self) -> str:
        return series_uid(self.first or self.sop_instance_uid)


@dataclass(frozen=True)
class Replaced:
    """The earlier result on the study that an analysis replaces."""

    made_at: datetime
    """When it was made: an aware time, in the zone in which it is to be read."""
    model: str = ""
    """The version of the model that made it; "" if it is not known."""
    corrected: bool = False
    """Whether a header was corrected since: of another patient, or of another study."""


@dataclass(frozen=True)
class Analysis:
    """What the result objects of one study are made from."""

    images: tuple[SourceImage, ...]
    """All images of the study that the result speaks of, those that were not analysed too."""
    model: ModelIdentity
    started: datetime
    """When the analysis began: an aware time."""
    revision: int = 1
    """Counts the results on the study, from 1; series captions and numbers tell them apart by it."""
    replaces: Replaced | None = None
    """The result before this one; None for the first."""


@dataclass(frozen=True)
class Encoded:
    """An object ready to send: the data set's bytes in `transfer_syntax_uid`, without file meta information."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    data: bytes


@dataclass(frozen=True)
class ResultKind:
    """A kind of result object. Each module of `dicom_io.results` that makes one has it as `KIND`."""

    sop_classes: tuple[str, ...]
    """The SOP classes that its objects may have."""
    options: type
    """A frozen dataclass whose fields are keys of a destination: those that the object depends on. Destinations that
    agree in them share one object."""
    make: Callable[[Analysis, Any, Sequence[PredecessorRef]], Iterable[Encoded]]
    """The objects for these options; `Sequence` holds the earlier ones of this kind that these destinations have,
    newest last."""
    rejects: bool = False
    """Whether `make` is given those objects of other kinds instead which this analysis replaces; it is asked last."""


def highest_pathology(images: Iterable[SourceImage]) -> Pathology | None:
    """The strongest result over the images of whether anything is seen; None where no image has it."""
    return min((image.pathology for image in images if image.pathology), key=strength, default=None)


def strength(result: FindingResult | Pathology) -> tuple[int, int, float]:
    """What results are ordered by, the strongest first: the call, then the score, then the probability."""
    return CALL_ORDER[result.call], -result.score, -result.probability


def never_assessed(images: Iterable[SourceImage]) -> tuple[str, ...]:
    """The findings that are assessed on none of the images that were analysed, in the model's order."""
    images = tuple(images)
    assessed = {result.finding for image in images for result in image.findings}
    names = (name for image in images for name in image.not_assessed if name not in assessed)
    return tuple(dict.fromkeys(names))


def check_analysis(images: Sequence[SourceImage], started: datetime) -> None:
    """Raises ReportError for what no report can be made from, UnknownFinding for a finding without a code."""
    if not images:
        raise ReportError("a report needs at least one image, none was given")
    if started.tzinfo is None:
        raise ReportError("started must be an aware time, found one without a zone")
    results: list[FindingResult | Pathology] = [result for image in images for result in image.findings]
    results += [image.pathology for image in images if image.pathology]
    values = [value for result in results for value in (result.probability, result.threshold) if value is not None]
    wrong = [value for value in values if not 0 <= value <= 1]  # true for NaN too
    if wrong:
        raise ReportError(f"probabilities and thresholds lie in 0..1, found {wrong[:3]}")
    scores = [result.score for result in results if not 0 <= result.score <= 100]
    if scores:
        raise ReportError(f"scores lie in 0..100, found {scores[:3]}")
    codes.check_findings(result.finding for image in images for result in image.findings)
    codes.check_findings(never_assessed(images))
    check_structures(one.structure for image in images for one in image.outlined)


def result_uid(kind: str, images: Sequence[SourceImage], model: ModelIdentity, *parts: str) -> str:
    """The SOP Instance UID of a result: the same analysis gives the same UID, whenever and however often it is done."""
    said = [kind, *model.digests, *parts, images[0].subject]
    for image in images:
        said += [copying.sop_instance_uid(image.dataset), image.reason, *map(_spelled, image.findings)]
        said += [image.remark] if image.remark else []
        if image.pathology:
            said.append(f"any finding {percent(image.pathology.probability)} {image.pathology.call}")
        said += [one.parts for one in image.outlined]
        if image.not_assessed:
            said.append(f"not assessed {' '.join(image.not_assessed)}")
    return derived_uid(*said)


def _spelled(result: FindingResult) -> str:
    return f"{result.finding} {percent(result.probability)} {result.threshold:.3f} {result.call}"


def percent(probability: float) -> str:
    """A probability as a report states it, in percent with one decimal."""
    return f"{100 * probability:.1f}"


def series_uid(sop_instance_uid: str) -> str:
    """The series of what has this UID: of a report, which is alone because viewers show only one document of a series,
    or what the UIDs of an analysis' pages have in common."""
    return derived_uid("series", sop_instance_uid)
