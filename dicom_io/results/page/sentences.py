"""Every sentence of a page. English stands here; `locales` has it in the other languages."""

import re
from datetime import datetime

from dicom_io.composite import copying, iod
from dicom_io.composite.analysis import Call, FindingResult, Location, SourceImage
from dicom_io.composite.encode import plain
from dicom_io.composite.located import is_above
from dicom_io.results import wording
from dicom_io.results.language import Language, marked
from dicom_io.results.page.content import Page

# Findings in one sentence: all of them by name, some by name, or their number alone.
_LISTS = {
    "also": (  # above and near, and no room for a row
        marked("Also above or near threshold: {names}."),
        marked("Also above or near threshold: {names} and {number} more."),
        marked("Also above or near threshold: {number} findings."),
    ),
    "below": (
        marked("Below threshold: {names}."),
        marked("Below threshold: {names} and {number} more."),
        marked("Below threshold: {number} findings."),
    ),
    "never assessed": (
        marked("Not assessed: {names}."),
        marked("Not assessed: {names} and {number} more."),
        marked("Not assessed: {number} findings."),
    ),
}
_DATES = (("AcquisitionDate", "AcquisitionTime"), ("ContentDate", "ContentTime"), ("StudyDate", "StudyTime"))


def band(page: Page) -> str:
    """The answer, in one line."""
    language = page.language
    if not page.model.trained:
        return language.say("UNTRAINED MODEL: a test, the values mean nothing")
    if page.image is None or (not page.analysed and len(page.images) > 1):
        return language.say("AI: no result for these images")
    if is_above(page.image) and not page.above:
        return language.say("AI: something above threshold, no single finding")
    return wording.headline([page.image], language)


def number_of(page: Page) -> str:
    """Which of several images the page is about; "" where there is one image or none is shown."""
    if page.place is None or len(page.images) < 2:
        return ""
    return page.language.say("image {number} of {count}", number=page.place + 1, count=len(page.images))


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
    finding = wording.lowered(wording.display(location.finding, language))
    if location.polygons:
        return language.say(
            "Region that weighed most for {finding}. Approximate; not a lesion outline.", finding=finding
        )
    return language.say("No location given for {finding}.", finding=finding)


def named(kind: str, names: str, left: int, language: Language) -> str:
    """A row of `_LISTS`: `names` are those for which there is room, `left` how many more there are."""
    whole, shortened, counted = _LISTS[kind]
    return language.say((shortened if names else counted) if left else whole, names=names, number=left)


def not_evaluated(language: Language) -> str:
    """What nobody knows of this model."""
    return language.say("Nobody has measured how often this model is right.")


def more_not_analysed(number: int, language: Language) -> str:
    """The images without a result for which there is no room."""
    return language.say_many("{number} more image was not analysed.", "{number} more images were not analysed.", number)
