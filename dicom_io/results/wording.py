"""What a result object says in words and in its overall code; shared by the report and the picture."""

from collections.abc import Iterable, Sequence

from dicom_io.composite import codes, iod
from dicom_io.composite.analysis import (
    FindingResult,
    ModelIdentity,
    Pathology,
    SourceImage,
    highest,
    highest_pathology,
    never_assessed,
    strength,
)
from dicom_io.composite.codes import Code, coded

NOT_VERIFIED = "Computed by software and not verified by a physician."
NOT_EVALUATED = "Nobody has measured how often the calls of this model are right."
# "normal" is not ours to say: a model knows a few findings, and misses some of those
NOT_NORMAL = "A finding below its threshold, or one that the model does not assess, may still be there."


def ranked(findings: Iterable[FindingResult]) -> list[FindingResult]:
    """Above first, then near, then below; in each the highest score first."""
    return sorted(findings, key=strength)


def processing(images: Sequence[SourceImage]) -> Code:
    """The code of CID 6047 for what was analysed, out of what is in scope, and whether anything was found."""
    images = [image for image in images if image.in_scope] or images
    analysed = [image for image in images if not image.reason]
    if not analysed:
        return codes.NONE_SUCCEEDED
    pathology = highest_pathology(analysed)
    called = any(result.call == "above" for image in analysed for result in image.findings)
    found = called or (pathology is not None and pathology.call == "above")
    if len(analysed) == len(images):
        return codes.ALL_SUCCEEDED_WITH if found else codes.ALL_SUCCEEDED_WITHOUT
    return codes.NOT_ALL_SUCCEEDED_WITH if found else codes.NOT_ALL_SUCCEEDED_WITHOUT


def headline(images: Sequence[SourceImage]) -> str:
    """One sentence for the whole study."""
    code = processing(images)
    if code == codes.NONE_SUCCEEDED:
        return "No result."
    above = [result for result in ranked(highest(images)) if result.call == "above"]
    if above:
        return f"Above threshold: {', '.join(map(_named, above))}."
    if code in (codes.ALL_SUCCEEDED_WITH, codes.NOT_ALL_SUCCEEDED_WITH):
        return "Any finding is above its threshold, but no single finding is."
    return "No finding above threshold. This does not mean normal."


def summary(images: Sequence[SourceImage]) -> str:
    """The lines of Summary (121111, DCM): headline, findings above and near, the others, and each reason."""
    lines, findings = [headline(images)], ranked(highest(images))
    if pathology := highest_pathology(images):
        lines.append(f"{codes.PATHOLOGY.meaning}: {said(pathology)}")
    analysed = sum(not image.reason for image in images)
    if analysed > 1:
        lines.append(f"Given for each finding is the highest of {analysed} images.")
    lines += [f"{coded(result.finding).display}: {said(result)}" for result in findings if result.call != "below"]
    return "\n".join([*lines, *others(images), *not_analysed(images), *remarks(images)])


def others(images: Sequence[SourceImage]) -> list[str]:
    """A sentence that names the findings below threshold, and one that names those that are not assessed."""
    below = [_named(result) for result in ranked(highest(images)) if result.call == "below"]
    never = [coded(name).display for name in never_assessed(images)]
    return [
        *([f"Below threshold: {', '.join(below)}."] if below else []),
        *([f"Not assessed by this model: {', '.join(never)}."] if never else []),
    ]


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


def said(result: FindingResult | Pathology) -> str:
    """The call in words, with the score."""
    return f"{result.call} threshold (score {result.score})"


def comments(images: Sequence[SourceImage], model: ModelIdentity) -> list[str]:
    """The texts of Comment (121106, DCM): the disclaimer, and what the weights or the calls lack where they do."""
    warning = [iod.UNTRAINED] if not model.trained else []
    warning += [NOT_EVALUATED] if model.trained and not model.evaluated else []
    limits = f" {NOT_NORMAL}" if any(image.findings for image in images) else ""
    made_by = f"Model {model.name} {model.version}, {model.digest}."
    return [*warning, f"{iod.DISCLAIMER}. {NOT_VERIFIED}{limits} {made_by}"]


def _named(result: FindingResult) -> str:
    return f"{coded(result.finding).display} (score {result.score})"
