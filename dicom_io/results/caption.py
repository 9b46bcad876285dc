"""What a result is called in the list of series."""

from collections.abc import Sequence

from dicom_io.composite.analysis import ModelIdentity, SourceImage, highest_pathology
from dicom_io.composite.options import ReadingOptions, ReportOptions
from dicom_io.results.language import Language
from dicom_io.results.wording import above, analysed


def caption(
    images: Sequence[SourceImage], model: ModelIdentity, options: ReportOptions | ReadingOptions, revision: int = 1
) -> str:
    """Series Description: its first 18 characters say what was found, unless the destination wants it neutral.

    It begins with AI, names a revision, and says that the result is not for primary diagnosis.
    """
    language = Language.of(options.language)
    number = f" r{revision}" if revision > 1 else ""
    if not model.trained:
        return language.say("AI{revision} UNTRAINED WEIGHTS - test only, values mean nothing", revision=number)
    if options.series_caption == "neutral":
        return language.say("AI chest radiograph result{revision} - not for primary diagnosis", revision=number)
    return language.say(
        "AI CXR{revision}: {answer} - not for primary diagnosis", revision=number, answer=_answer(images, language)
    )


def _answer(images: Sequence[SourceImage], language: Language) -> str:
    """`headline` in a few letters."""
    done = analysed(images)
    if not done:
        return language.say("no result")
    overall = highest_pathology(done)
    if not above(done) and overall and overall.call == "above":
        return language.say("any above")
    if any(image.outlined for image in done):
        return language.say("outlined")
    if number := above(done):
        return language.say("{number} above", number=number)
    return language.say("none above")
