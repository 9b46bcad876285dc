"""What selection is told, and what it answers."""

from dataclasses import dataclass
from typing import Literal

#: What an image seems to show by any sign in its header: perhaps a chest (also where nothing says what it is), surely
#: something else, or only what a program found, which is no radiograph.
Sign = Literal["chest", "other", "result"]


@dataclass(frozen=True)
class SelectionRules:
    """What is analysed. The first six fields are the table [select] of the configuration, which has their defaults."""

    modalities: tuple[str, ...]
    body_parts: tuple[str, ...]  # words, of which the vocabulary knows the translations, or whole values
    excluded_views: tuple[str, ...]  # the same
    for_processing: bool  # accept raw detector data (DX For Processing)
    secondary_capture: bool  # accept a Secondary Capture whose Modality is a radiograph's
    minimum_age_years: float  # 0: no limit; a patient of unknown age is accepted
    sop_classes: tuple[str, ...] = ()  # UIDs; empty: every class of radiographs
    views: tuple[str, ...] = ()  # "PA", "AP"; empty: both, and an image whose view is unknown counts as any
    maximum_age_years: float = 0.0  # 0: no limit; a patient of unknown age is accepted
    read_descriptions: bool = True  # search the descriptions where the coded attributes say nothing
    animals: bool = False


@dataclass(frozen=True)
class Verdict:
    """Whether the image is analysed. `reason` is a sentence for the journal and the report, without patient data."""

    eligible: bool
    reason: str
    sign: Sign = "chest"
    remark: str = ""  # a sentence for the report on an image that is analysed; "": there is nothing to say

    @property
    def kind(self) -> Literal["eligible", "ignored"]:
        return "eligible" if self.eligible else "ignored"
