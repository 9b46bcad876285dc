"""Every sentence of a page. English stands here; `locales` has it in the other languages."""

import re
from collections.abc import Sequence
from datetime import datetime

from dicom_io.composite import copying, iod
from dicom_io.composite.analysis import Call, FindingResult, Location, SourceImage
from dicom_io.composite.codes import coded
from dicom_io.composite.encode import plain
from dicom_io.results.language import Language
from dicom_io.results.page.content import Page

_DATES = (("AcquisitionDate", "AcquisitionTime"), ("ContentDate", "ContentTime"), ("StudyDate", "StudyTime"))


def band(page: Page) -> str:
    """The answer, in one line."""
    language = page.language
    if not page.model.trained:
        return language.say("UNTRAINED MODEL: a test, the values mean nothing")
    if not page.analysed and len(page.images) > 1:
        return language.say("AI: no result for these images")
    if not page.analysed:
        return language.say("AI: no result for this image")
    if page.above:
        return language.say_many(
            "AI: {number} finding above threshold", "AI: {number} findings above threshold", len(page.above)
        )
    pathology = page.image.pathology if page.image else None
    if pathology and pathology.call == "above":
        return language.say("AI: something above threshold, no single finding")
    return language.say("AI: no finding above threshold")


def number_of(page: Page) -> str:
    """Which of several images the page is about; "" where there is one image or none is shown."""
    if page.place is None or len(page.images) < 2:
        return ""
    return page.language.say("image {number} of {count}", number=page.place + 1, count=len(page.images))


def disclaimer(language: Language) -> str:
    """What the result is not for."""
    return language.say("AI result, not for primary diagnosis. Not verified by a physician.")


def limits(language: Language) -> str:
    """What the result does not mean."""
    return language.say("Does not mean normal. A finding below threshold, or unknown to the model, may be present.")


def shown(page: Page) -> str:
    """Which image the page shows: view, number and series."""
    if page.image is None:
        return page.language.say("None of {count} images was analysed.", count=len(page.images))
    said = page.language.say(
        "{view}, image {number} of {count}",
        view=_view(page.image, page.language), number=(page.place or 0) + 1, count=len(page.images),
    )  # fmt: skip
    series = copying.text(page.image.dataset, "SeriesNumber")
    if re.fullmatch(r"-?\d{1,9}", series):
        said += page.language.say(", series {series}", series=series)
    return said


def _view(image: SourceImage, language: Language) -> str:
    return {
        "PA": language.say("Chest PA"),
        "AP": language.say("Chest AP"),
        "lateral": language.say("Chest lateral"),
        "oblique": language.say("Chest oblique"),
        "decubitus": language.say("Chest decubitus"),
        "": language.say("Chest, view not stated"),
    }[image.view]


def taken(page: Page) -> str:
    """When the image was taken and how it is hung; "" where nothing says either."""
    if page.image is None:
        return ""
    language, said = page.language, []
    if when := _taken(page.image, language):
        said.append(language.say("Taken {when}", when=when))
    if page.image.pixels is not None and page.image.side == "flipped":
        said.append(language.say("flipped for display"))
    if page.image.pixels is not None and page.image.side == "turned":
        said.append(language.say("turned for display"))
    return ", ".join(said)


def _taken(image: SourceImage, language: Language) -> str:
    """Acquisition date and time, else those of the image, else those of the study; "" without a date that is one."""
    whole = copying.text(image.dataset, "AcquisitionDateTime")
    pairs = [(whole[:8], whole[8:])]
    pairs += [(copying.text(image.dataset, day), copying.text(image.dataset, time)) for day, time in _DATES]
    for day, time in pairs:
        try:
            at = datetime.strptime(day, "%Y%m%d")
        except ValueError:
            continue
        if clock := re.match(r"([01]\d|2[0-3])([0-5]\d)", time):
            return language.day_and_time(at.replace(hour=int(clock[1]), minute=int(clock[2])))
        return language.day_and_time(at).removesuffix("00:00").strip()
    return ""


def analysed_by(page: Page) -> str:
    """When the model looked at the image, in the time zone that the image states, its name and its version."""
    day, time = iod.day_and_time(page.started, page.images[0].dataset)
    when = page.language.day_and_time(datetime.strptime(day + time, "%Y%m%d%H%M%S"))
    model, version = plain(page.model.name, 64), plain(page.model.version, 64)
    return page.language.say("AI result of {when}, {model} {version}", model=model, version=version, when=when)


def name(finding: str, language: Language) -> str:
    """A finding as a radiologist calls it."""
    return language.say(coded(finding).code.meaning)


def in_sentence(finding: str, language: Language) -> str:
    """The same inside a sentence: with a small letter, unless it is an acronym."""
    said = name(finding, language)
    return said if said[1:2].isupper() else said[:1].lower() + said[1:]


def call(said: Call, language: Language) -> str:
    """A call in words."""
    return {
        "above": language.say("above threshold"),
        "near": language.say("near threshold"),
        "below": language.say("below threshold"),
    }[said]


def score(result: FindingResult, language: Language) -> str:
    """Where a finding stands."""
    return language.say("score {score}", score=result.score)


def scale(language: Language) -> str:
    """What a score means."""
    return language.say("Scores go from 0 to 100; the threshold is 50.")


def located(location: Location, language: Language) -> str:
    """What the contour is, or that none is given."""
    finding = in_sentence(location.finding, language)
    if location.polygons:
        return language.say(
            "Region that weighed most for {finding}. Approximate; not a lesion outline.", finding=finding
        )
    return language.say("No location given for {finding}.", finding=finding)


def also(names: str, left: int, language: Language) -> str:
    """The findings above and near for which there is no room."""
    if left and names:
        return language.say("Also above or near threshold: {names} and {number} more.", names=names, number=left)
    if left:
        return language.say("Also above or near threshold: {number} findings.", number=left)
    return language.say("Also above or near threshold: {names}.", names=names)


def below(names: str, left: int, language: Language) -> str:
    """The findings below their thresholds."""
    if left and names:
        return language.say("Below threshold: {names} and {number} more.", names=names, number=left)
    if left:
        return language.say("Below threshold: {number} findings.", number=left)
    return language.say("Below threshold: {names}.", names=names)


def never_assessed(names: str, left: int, language: Language) -> str:
    """The findings of which the model says nothing."""
    if left and names:
        return language.say("Not assessed: {names} and {number} more.", names=names, number=left)
    if left:
        return language.say("Not assessed: {number} findings.", number=left)
    return language.say("Not assessed: {names}.", names=names)


def not_evaluated(language: Language) -> str:
    """What nobody knows of this model."""
    return language.say("Nobody has measured how often this model is right.")


def remark(image: SourceImage, language: Language) -> str:
    """What is to be said of an image beside its findings."""
    return language.say(image.remark) if image.remark else ""


def not_analysed(images: Sequence[SourceImage], language: Language) -> list[str]:
    """A sentence for the images without a result that share a reason; images are counted from 1."""
    if len(images) == 1:
        return [language.say("Not analysed: {why}", why=why(image, language)) for image in images if image.reason]
    groups: dict[tuple[str, str], list[int]] = {}
    for number, image in enumerate(images, start=1):
        if image.reason:
            groups.setdefault((_side_view(image, language), why(image, language)), []).append(number)
    return [_not_analysed(numbers, view, said, language) for (view, said), numbers in groups.items()]


def _not_analysed(numbers: Sequence[int], view: str, said: str, language: Language) -> str:
    count, listed = len(numbers), ranges(numbers)
    if not view:
        return language.say_many(
            "Image {numbers} was not analysed: {why}", "Images {numbers} were not analysed: {why}", count,
            numbers=listed, why=said,
        )  # fmt: skip
    return language.say_many(
        "Image {numbers} ({view}) was not analysed: {why}", "Images {numbers} ({view}) were not analysed: {why}", count,
        numbers=listed, view=view, why=said,
    )  # fmt: skip


def _side_view(image: SourceImage, language: Language) -> str:
    """The view of an image that is not frontal."""
    names = {
        "lateral": language.say("lateral"),
        "oblique": language.say("oblique"),
        "decubitus": language.say("decubitus"),
    }
    return names.get(image.view, "")


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


def more_not_analysed(number: int, language: Language) -> str:
    """The images without a result for which there is no room."""
    return language.say_many("{number} more image was not analysed.", "{number} more images were not analysed.", number)


def why(image: SourceImage, language: Language) -> str:
    """Why an image was not analysed, as the end of a sentence."""
    said = {
        "view": language.say("the model reads frontal images only."),
        "child": language.say("patient younger than {years} years.", years=f"{image.least_age:g}"),
        "ages": language.say("the patient's age and birth date contradict each other."),
        "animal": language.say("not a human patient."),
        "body part": language.say("does not show the chest, or not it alone."),
        "kind": language.say("not a radiograph as the device made it."),
        "gate": language.say("does not look like an upright frontal chest radiograph. Check rotation and labels."),
        "incomplete": language.say("the image file is incomplete. Send it again."),
        "constant": language.say("the image shows one shade of grey and nothing else."),
        "unreadable": language.say("the image file cannot be read. Tell the PACS administrator."),
    }
    return said.get(image.cause, f"{plain(image.reason, 200).rstrip('.')}.")
