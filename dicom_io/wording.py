"""What a result object says in words and in its overall code; shared by the report and the picture."""

from collections.abc import Iterable, Sequence

from dicom_io import codes, iod
from dicom_io.codes import Code, coded
from dicom_io.results import FindingResult, ImageResult, ModelIdentity, Summary

CALL_ORDER = {"present": 0, "undetermined": 1, "absent": 2}
NOT_VERIFIED = "Computed by software and not verified by a physician."
# "normal" is not ours to say: a model knows a few findings, and misses some of those
NOT_NORMAL = "A finding below its threshold, or one that the model does not know, may still be there."


def ranked(findings: Iterable[FindingResult]) -> list[FindingResult]:
    """Present first, then undetermined, then absent; the most probable first in each."""
    return sorted(findings, key=lambda result: (CALL_ORDER[result.call], -result.probability))


def processing(images: Sequence[ImageResult], summary: Summary) -> Code:
    """The code of CID 6047 for what was analysed and whether anything was found."""
    analysed = sum(not image.reason for image in images)
    if not analysed:
        return codes.NONE_SUCCEEDED
    results = [result for image in images for result in image.findings] + list(summary.findings)
    found = bool(summary.pathology) or any(result.call == "present" for result in results)
    if analysed == len(images):
        return codes.ALL_SUCCEEDED_WITH if found else codes.ALL_SUCCEEDED_WITHOUT
    return codes.NOT_ALL_SUCCEEDED_WITH if found else codes.NOT_ALL_SUCCEEDED_WITHOUT


def headline(images: Sequence[ImageResult], summary: Summary) -> str:
    """One sentence for the whole study."""
    code = processing(images, summary)
    if code == codes.NONE_SUCCEEDED:
        return "Not analysed."
    present = [result for result in ranked(summary.findings) if result.call == "present"]
    if present:
        return f"Present: {', '.join(map(_named, present))}."
    if summary.pathology:
        return "Something is seen, but no single finding reached its threshold."
    return f"No finding reached its threshold, of {len(summary.findings)} looked for. This does not mean normal."


def summary(images: Sequence[ImageResult], over: Summary) -> str:
    """The lines of Summary (121111, DCM): the headline, then each finding, or each reason."""
    lines = [headline(images, over)]
    if over.pathology_probability is not None:
        lines.append(f"{codes.PATHOLOGY.meaning}: {_percent(over.pathology_probability)}.")
    analysed = sum(not image.reason for image in images)
    if analysed > 1:
        lines.append(f"The highest of {analysed} images is given for each finding.")
    lines += [f"{_named(result)}: {said(result)}" for result in ranked(over.findings)]
    return "\n".join([*lines, *not_analysed(images)])


def not_analysed(images: Sequence[ImageResult]) -> list[str]:
    """A sentence for each image without a result, with its reason."""
    if len(images) == 1:
        return [f"Not analysed because {image.reason}" for image in images if image.reason]
    return [
        f"Image {number} of {len(images)} not analysed because {image.reason}"
        for number, image in enumerate(images, start=1)
        if image.reason
    ]


def said(result: FindingResult) -> str:
    """The call with its threshold."""
    return f"{result.call} (threshold {_percent(result.threshold)})"


def comments(images: Sequence[ImageResult], model: ModelIdentity) -> list[str]:
    """The texts of Comment (121106, DCM): the disclaimer, and that the weights are untrained where they are."""
    warning = [iod.UNTRAINED] if not model.trained else []
    limits = f" {NOT_NORMAL}" if any(image.findings for image in images) else ""
    made_by = f"Model {model.name} {model.version}, {model.digest}."
    return [*warning, f"{iod.DISCLAIMER}. {NOT_VERIFIED}{limits} {made_by}"]


def _named(result: FindingResult) -> str:
    return f"{coded(result.finding).display} {_percent(result.probability)}"


def _percent(probability: float) -> str:
    return f"{100 * probability:.0f} %"
