"""What a result object says in words and in its overall code; shared by the report and the picture."""

import math
from collections.abc import Iterable, Sequence

from dicom_io.composite import codes, iod
from dicom_io.composite.analysis import FindingResult, ModelIdentity, SourceImage, highest, highest_pathology
from dicom_io.composite.codes import Code, coded

CALL_ORDER = {"present": 0, "undetermined": 1, "absent": 2}
NOT_VERIFIED = "Computed by software and not verified by a physician."
# "normal" is not ours to say: a model knows a few findings, and misses some of those
NOT_NORMAL = "A finding below its threshold, or one that the model does not know, may still be there."


def ranked(findings: Iterable[FindingResult]) -> list[FindingResult]:
    """Present first, then undetermined, then absent; in each the furthest above its own threshold first."""
    return sorted(findings, key=lambda result: (CALL_ORDER[result.call], -_margin(result)))


def _margin(result: FindingResult) -> float:
    """Log-odds of the probability minus those of the threshold: 20 % of a rare finding may say more than 60 %."""
    return _log_odds(result.probability) - _log_odds(result.threshold)


def _log_odds(probability: float) -> float:
    kept = min(max(probability, 1e-9), 1 - 1e-9)
    return math.log(kept / (1 - kept))


def processing(images: Sequence[SourceImage]) -> Code:
    """The code of CID 6047 for what was analysed and whether anything was found."""
    analysed = [image for image in images if not image.reason]
    if not analysed:
        return codes.NONE_SUCCEEDED
    pathology = highest_pathology(analysed)
    called = any(result.call == "present" for image in analysed for result in image.findings)
    found = called or (pathology is not None and pathology.present)
    if len(analysed) == len(images):
        return codes.ALL_SUCCEEDED_WITH if found else codes.ALL_SUCCEEDED_WITHOUT
    return codes.NOT_ALL_SUCCEEDED_WITH if found else codes.NOT_ALL_SUCCEEDED_WITHOUT


def headline(images: Sequence[SourceImage]) -> str:
    """One sentence for the whole study."""
    code = processing(images)
    if code == codes.NONE_SUCCEEDED:
        return "No result."
    findings = highest(images)
    present = [result for result in ranked(findings) if result.call == "present"]
    if present:
        return f"Present: {', '.join(map(_named, present))}."
    if code in (codes.ALL_SUCCEEDED_WITH, codes.NOT_ALL_SUCCEEDED_WITH):
        return "Something is seen, but no single finding reached its threshold."
    return f"None of the {len(findings)} findings looked for reached its threshold. This does not mean normal."


def summary(images: Sequence[SourceImage]) -> str:
    """The lines of Summary (121111, DCM): the headline, then each finding, or each reason."""
    lines = [headline(images)]
    if pathology := highest_pathology(images):
        lines.append(f"{codes.PATHOLOGY.meaning} {_percent(pathology.probability)}")
    analysed = sum(not image.reason for image in images)
    if analysed > 1:
        lines.append(f"Given for each finding is the highest of {analysed} images.")
    lines += [f"{_named(result)}: {_said(result)}" for result in ranked(highest(images))]
    return "\n".join([*lines, *not_analysed(images), *remarks(images)])


def not_analysed(images: Sequence[SourceImage]) -> list[str]:
    """A sentence for each image without a result, with its reason."""
    if len(images) == 1:
        return [f"Not analysed because {_sentence(image.reason)}" for image in images if image.reason]
    return [
        f"Image {number} of {len(images)} not analysed because {_sentence(image.reason)}"
        for number, image in enumerate(images, start=1)
        if image.reason
    ]


def remarks(images: Sequence[SourceImage]) -> list[str]:
    """Each remark on an image, once."""
    return list(dict.fromkeys(image.remark for image in images if image.remark))


def _sentence(reason: str) -> str:
    return f"{reason.strip().rstrip('.')}."


def _said(result: FindingResult) -> str:
    """The call with its threshold."""
    return f"{result.call} (threshold {_percent(result.threshold)})"


def comments(images: Sequence[SourceImage], model: ModelIdentity) -> list[str]:
    """The texts of Comment (121106, DCM): the disclaimer, and that the weights are untrained where they are."""
    warning = [iod.UNTRAINED] if not model.trained else []
    limits = f" {NOT_NORMAL}" if any(image.findings for image in images) else ""
    made_by = f"Model {model.name} {model.version}, {model.digest}."
    return [*warning, f"{iod.DISCLAIMER}. {NOT_VERIFIED}{limits} {made_by}"]


def _named(result: FindingResult) -> str:
    return f"{coded(result.finding).display} {_percent(result.probability)}"


def _percent(probability: float) -> str:
    return f"{100 * probability:.0f} %"
