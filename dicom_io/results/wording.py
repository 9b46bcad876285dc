"""What the result objects say in words and in their overall code; shared by report, page and series list.

A list of sentences is in the order in which a reader needs them. No sentence gives the highest of several images as if
it were one image's, and none says that a finding is absent or that a radiograph is normal.
"""

from collections.abc import Iterable, Sequence
from itertools import groupby

from dicom_io.composite import codes
from dicom_io.composite.analysis import (
    FindingResult,
    ModelIdentity,
    Pathology,
    Replaced,
    SourceImage,
    highest_pathology,
    never_assessed,
    percent,
    strength,
)
from dicom_io.composite.codes import Code, coded
from dicom_io.composite.located import is_above
from dicom_io.results import reasons
from dicom_io.results.language import Language, marked
from dicom_io.results.outlines import words

MOST_LINES = 8  # of a summary
NOT_EVALUATED = marked("Nobody has measured how often the calls of this model are right.")
_LINES = {
    "above": marked("{finding}: above threshold (score {score})"),
    "near": marked("{finding}: near threshold (score {score})"),
    "below": marked("{finding}: below threshold (score {score})"),
}


def ranked(findings: Iterable[FindingResult]) -> list[FindingResult]:
    """Above first, then near, then below; in each the highest score first."""
    return sorted(findings, key=strength)


def analysed(images: Iterable[SourceImage]) -> list[SourceImage]:
    """The images that have a result."""
    return [image for image in images if not image.reason]


def above(images: Iterable[SourceImage]) -> int:
    """How many findings are above their thresholds in any of the images."""
    return len({result.finding for image in images for result in image.findings if result.call == "above"})


def processing(images: Sequence[SourceImage]) -> Code:
    """The code of CID 6047 for what was analysed and whether anything was found; of images that the model may read."""
    done = analysed(images)
    if not done:
        return codes.NONE_SUCCEEDED
    found = any(map(is_above, done)) or words.regions(done) > 0
    if all(not image.reason for image in images if image.in_scope):
        return codes.ALL_SUCCEEDED_WITH if found else codes.ALL_SUCCEEDED_WITHOUT
    return codes.NOT_ALL_SUCCEEDED_WITH if found else codes.NOT_ALL_SUCCEEDED_WITHOUT


def headline(images: Sequence[SourceImage], language: Language) -> str:
    """The answer in one line."""
    if not (done := analysed(images)):
        return language.say("AI: no result for this image") if len(images) == 1 else language.say("AI: no result")
    if outlined := words.headline(done, language):
        return outlined
    if number := above(done):
        return language.say_many(
            "AI: {number} finding above threshold", "AI: {number} findings above threshold", number
        )
    overall = highest_pathology(done)
    if overall and overall.call == "above":
        return language.say("AI: above threshold as a whole, but no single finding is")
    return language.say("AI: no finding above threshold")


def summary(
    images: Sequence[SourceImage], model: ModelIdentity, language: Language, replaces: Replaced | None = None
) -> list[str]:
    """The lines of Summary (121111, DCM), which a radiologist can paste into a report: at most `MOST_LINES`."""
    done = analysed(images)
    before = [
        headline(images, language),
        *([] if model.trained else [untrained(language)]),
        *([replaced(replaces, language)] if replaces else []),
    ]
    after = [
        *_joined(others(images, language)),
        *_joined(not_analysed(images, language)),
        *_joined(remarks(images, language)),
        *([limits(language)] if done else []),
    ]
    calls = called(done[0], language) if len(done) == 1 else by_image(images, language)
    return [*before, *_fitted(calls, MOST_LINES - len(before) - len(after)), *after]


def replaced(replaces: Replaced, language: Language) -> str:
    """What a revision replaces."""
    at = language.day_and_time(replaces.made_at)
    if replaces.model:
        return language.say("Replaces the AI result of {time} (model {model}).", time=at, model=replaces.model)
    return language.say("Replaces the AI result of {time}.", time=at)


def called(image: SourceImage, language: Language) -> list[str]:
    """A line for each finding of an image above or near its threshold, the strongest first, and for each structure."""
    found = (line(result, language) for result in ranked(image.findings) if result.call != "below")
    return [*found, *words.lines(image, language)]


def by_image(images: Sequence[SourceImage], language: Language) -> list[str]:
    """A line for each image that was analysed: its findings above and near threshold, or what was outlined."""
    said = [(n, words.lines(image, language)) for n, image in enumerate(images, start=1) if not image.reason]
    calls = [(n, "; ".join(lines) or _calls(images[n - 1], language)) for n, lines in said]
    return [language.say("Image {number}: {calls}.", number=number, calls=one) for number, one in calls]


def _calls(image: SourceImage, language: Language) -> str:
    kinds = {call: list(of) for call, of in groupby(ranked(image.findings), key=lambda result: result.call)}
    said = [
        language.say("above threshold: {findings}", findings=_scored(kinds["above"], language))
        if "above" in kinds
        else language.say("no finding above threshold")
    ]
    if "near" in kinds:
        said.append(language.say("near threshold: {findings}", findings=_scored(kinds["near"], language)))
    return "; ".join(said)


def line(result: FindingResult | Pathology, language: Language) -> str:
    """A finding, or any finding, with its call and its score."""
    name = codes.PATHOLOGY.meaning if isinstance(result, Pathology) else coded(result.finding).display
    return language.say(_LINES[result.call], finding=language.say(name), score=result.score)


def others(images: Sequence[SourceImage], language: Language) -> list[str]:
    """A sentence that names the findings below threshold in all images, and one of those that are not assessed."""
    done = analysed(images)
    found = [result for image in done[:1] for result in ranked(image.findings)]
    more = {result.finding for image in done for result in image.findings if result.call != "below"}
    below = [display(result.finding, language) for result in found if result.finding not in more]
    never = [display(name, language) for name in never_assessed(images)]
    return [
        *([language.say("Below threshold: {findings}.", findings=listed(below))] if below else []),
        *([language.say("Not assessed by this model: {findings}.", findings=listed(never))] if never else []),
    ]


def not_analysed(images: Sequence[SourceImage], language: Language) -> list[str]:
    """A sentence for each reason for which images have no result; it names the images where there are several."""
    said: dict[reasons.Plainly, list[int]] = {}
    for number, image in enumerate(images, start=1):
        if image.reason:
            said.setdefault(reasons.plainly(image.reason, language), []).append(number)
    return [_not_analysed(why, numbers if len(images) > 1 else [], language) for why, numbers in said.items()]


def _not_analysed(why: reasons.Plainly, numbers: Sequence[int], language: Language) -> str:
    view = f" ({why.view})" if why.view else ""
    if not numbers:
        return language.say("Not analysed{view}: {cause}", view=view, cause=why.cause)
    return language.say_many(
        "Image {images}{view} was not analysed: {cause}",
        "Images {images}{view} were not analysed: {cause}",
        len(numbers),
        images=ranges(numbers),
        view=view,
        cause=why.cause,
    )


def ranges(numbers: Sequence[int]) -> str:
    """Numbers that grow, as a reader lists them: three and more that follow each other as "2-4"."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    parts = [f"{run[0]}-{run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs]
    return ", ".join(parts)


def remarks(images: Sequence[SourceImage], language: Language) -> list[str]:
    """Each remark on an image, once."""
    return list(dict.fromkeys(reasons.remark(image.remark, language) for image in images if image.remark))


def scores(images: Sequence[SourceImage], language: Language) -> list[str]:
    """A line for each image with score, certainty and threshold of all its findings, the strongest first."""
    lines = []
    for number, image in enumerate(images, start=1):
        values = "; ".join(_numbers(result, language) for result in ranked(image.findings))
        if values and len(images) == 1:
            lines.append(language.say("Scores, with certainty and threshold: {values}.", values=values))
        elif values:
            sentence = marked("Image {number}: scores, with certainty and threshold: {values}.")
            lines.append(language.say(sentence, number=number, values=values))
    return lines


def _numbers(result: FindingResult, language: Language) -> str:
    shares = ", ".join(f"{language.decimal(percent(share))} %" for share in (result.probability, result.threshold))
    return f"{lowered(display(result.finding, language))} {result.score} ({shares})"


def comments(images: Sequence[SourceImage], model: ModelIdentity, language: Language) -> list[str]:
    """The texts of Comment (121106, DCM): what weights or calls lack, the disclaimer, and the model."""
    warning = unevaluated(model, language) if model.trained else [untrained(language)]
    made_by = [language.say("Model {name} {version}.", name=model.name, version=model.version)]
    if model.site_calibration:
        made_by.append(language.say("Calibration of this site: {digest}.", digest=model.site_calibration))
    return [*warning, " ".join([disclaimer(language), *made_by])]


def disclaimer(language: Language) -> str:
    """What stands below every result."""
    return language.say("AI result, not for primary diagnosis. Not verified by a physician.")


def limits(language: Language) -> str:
    """What a result without a finding, or with few, does not mean."""
    return language.say("Does not mean normal. A finding below threshold, or unknown to the model, may be present.")


def untrained(language: Language) -> str:
    """What stands above a result of random weights."""
    return language.say(
        "The weights of this model are UNTRAINED: every value here is meaningless and only tests the connection."
    )


def unevaluated(model: ModelIdentity, language: Language) -> list[str]:
    """What is to be said of trained weights whose calls nobody has evaluated; [] of others."""
    if model.evaluated or not model.trained:
        return []
    return [language.say(NOT_EVALUATED)]


def display(finding: str, language: Language) -> str:
    """The name of a finding, which is its code's meaning, in this language."""
    return language.say(coded(finding).display)


def lowered(name: str) -> str:
    """A name as it stands inside a sentence: with a small letter, unless it is an abbreviation."""
    return name if name[1:2].isupper() else name[:1].lower() + name[1:]


def listed(names: Iterable[str]) -> str:
    """Names inside a sentence."""
    return ", ".join(map(lowered, names))


def _scored(results: Iterable[FindingResult], language: Language) -> str:
    return ", ".join(f"{lowered(display(one.finding, language))} (score {one.score})" for one in results)


def _joined(sentences: Sequence[str]) -> list[str]:
    """The sentences in one line; [] if there is none."""
    return [" ".join(sentences)] if sentences else []


def _fitted(lines: Sequence[str], room: int) -> list[str]:
    """The lines, of which those that find no room are joined with the last."""
    return [*lines[: room - 1], *(["; ".join(lines[room - 1 :])] if lines[room - 1 :] else [])]
