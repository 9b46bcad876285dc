"""What a destination asks for of the report and of the page."""

from dataclasses import dataclass
from typing import Literal

#: The kinds that refer to each other where a destination gets both: the report and the page.
PAIR = ("sc", "sr")
#: The kind of what a model outlined, to which a report refers where a destination gets both.
OUTLINES = "seg"


@dataclass(frozen=True)
class ReadingOptions:
    """What a destination asks for of an object of which only words and name depend on it."""

    language: str = "en-US"
    series_caption: Literal["result", "neutral"] = "result"
    """Whether Series Description carries the answer."""

    @property
    def parts(self) -> tuple[str, ...]:
        """What of these makes another object (`result_uid`)."""
        return self.language, self.series_caption


READING = ReadingOptions()


@dataclass(frozen=True)
class ReportOptions:
    """What a destination asks for of the report and of the page, which refer to each other."""

    sr_class: Literal["comprehensive-3d", "comprehensive", "enhanced"] = "comprehensive-3d"
    sr_title: Literal["imaging-measurement-report", "ai-chest-radiograph-result"] = "ai-chest-radiograph-result"
    language: str = "en-US"
    series_caption: Literal["result", "neutral"] = "result"
    """Whether Series Description carries the answer."""
    sc_encoding: Literal["jpeg", "lossless"] = "jpeg"
    outputs: tuple[str, ...] = ()
    """Which of `PAIR` and `OUTLINES` the destination gets; other kinds make no difference here and are dropped."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "outputs", tuple(kind for kind in (*PAIR, OUTLINES) if kind in self.outputs))

    @property
    def paired(self) -> bool:
        """Whether the destination gets both the report and the page."""
        return set(PAIR) <= set(self.outputs)

    @property
    def outlines(self) -> bool:
        """Whether the destination gets the segmentation, to which the report then refers."""
        return OUTLINES in self.outputs

    @property
    def parts(self) -> tuple[str, ...]:
        """What of these makes another object (`result_uid`)."""
        pair = "pair" if self.paired else "alone"
        outlines = (OUTLINES,) if self.outlines else ()
        return self.sr_class, self.sr_title, self.language, self.series_caption, self.sc_encoding, pair, *outlines
