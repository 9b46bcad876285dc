"""What results say in words of the structures that a model outlined."""

from collections.abc import Iterable

from dicom_io.composite.analysis import SourceImage, percent
from dicom_io.composite.structures import OutlinedStructure, Plane, coded_structure
from dicom_io.results.language import Language, marked

_PLANES: dict[Plane, str] = {
    "patient": marked("{area} cm2 in the patient"),
    "detector": marked("{area} cm2 at the detector, which is more than in the patient"),
}


def name_of(one: OutlinedStructure, language: Language) -> str:
    """The name of a structure in this language."""
    return language.say(coded_structure(one.structure).display)


def regions(images: Iterable[SourceImage]) -> int:
    """How many regions of structures that are counted were outlined in all images."""
    return sum(one.count or 0 for image in images for one in image.outlined)


def headline(images: Iterable[SourceImage], language: Language) -> str:
    """What was outlined in an image, in one line: the numbers of what is counted, and the names of the rest.

    Of several images only how many they are; "" where the model outlines nothing.
    """
    outlined = [image for image in images if image.outlined]
    if len(outlined) > 1:
        return language.say("AI outlined structures in {number} images", number=len(outlined))
    if not outlined:
        return ""
    said = [f"{_lowered(name_of(one, language))}{_number(one)}" for one in outlined[0].outlined if one.area_pixels]
    if not said:
        return language.say("AI: nothing outlined")
    return language.say("AI outlined: {structures}", structures=", ".join(said))


def _number(one: OutlinedStructure) -> str:
    return "" if one.count is None else f" ({one.count})"


def lines(image: SourceImage, language: Language) -> list[str]:
    """A line for each structure of an image, with its name: how many regions, and what was measured."""
    return [
        language.say("{structure}: {measured}", structure=name_of(one, language), measured=measured(one, language))
        for one in image.outlined
    ]


def measured(one: OutlinedStructure, language: Language) -> str:
    """What was measured of a structure: the number of its regions where they are counted, share and area."""
    said = []
    if one.count is not None:
        said.append(language.say_many("{number} region", "{number} regions", one.count))
    if one.share is not None:
        share = f"{language.decimal(percent(one.share))} %"
        if one.share_of == "picture":
            said.append(language.say("{share} of the area of the image", share=share))
        else:
            names = " + ".join(
                _lowered(language.say(coded_structure(label).display)) for label in one.share_of.split(" + ")
            )
            said.append(language.say("{share} of the area of {structures}", share=share, structures=names))
    if one.area_mm2 is not None and one.plane:
        area = language.decimal(f"{one.area_mm2 / 100:.1f}")
        said.append(language.say(_PLANES[one.plane], area=area))
    return ", ".join(said)


def _lowered(name: str) -> str:
    return name[:1].lower() + name[1:]
