"""The font of a page, and text broken into lines that fit a width. All sizes and widths are in pixels."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

from PIL import ImageDraw, ImageFont

FONT = Path(__file__).parent.parent / "fonts" / "Roboto-Regular.ttf"
LEAST = 24  # the smallest type: of 1600 x 1200 pixels a viewer shows under half

Colour = tuple[int, int, int]
GROUND, BAND = (0, 0, 0), (28, 32, 38)
WHITE, GREY = (240, 242, 244), (172, 178, 186)
# Okabe and Ito's colours, which people who confuse red and green tell apart; each stands beside words that say as much
ORANGE, SKY_BLUE, YELLOW = (230, 159, 0), (86, 180, 233), (240, 228, 66)
RED = (170, 0, 0)


@cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """Return the font of the page. Raises ValueError for a size below LEAST."""
    if size < LEAST:
        raise ValueError(f"type of {size} pixels, at least {LEAST} can be read on a page")
    return ImageFont.truetype(str(FONT), size, layout_engine=ImageFont.Layout.BASIC)


@lru_cache(maxsize=8192)
def width_of(text: str, size: int) -> float:
    """Return how wide a text is on one line."""
    return font(size).getlength(text)


def wrapped(text: str, size: int, width: int) -> list[str]:
    """Break a text at blanks into lines; a word that is wider than a line is broken between letters."""
    lines = [""]
    for word in (part for whole in text.split() for part in _parts(whole, size, width)):
        longer = f"{lines[-1]} {word}".strip()
        if width_of(longer, size) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _parts(word: str, size: int, width: int) -> list[str]:
    parts = [""]
    for letter in word if width_of(word, size) > width else (word,):
        if parts[-1] and width_of(parts[-1] + letter, size) > width:
            parts.append("")
        parts[-1] += letter
    return parts


def shortened(text: str, size: int, width: int, most: int) -> list[str]:
    """As `wrapped`, with at most `most` lines: what is cut off is shown as an ellipsis."""
    lines = wrapped(text, size, width)
    if len(lines) <= most:
        return lines
    last = lines[most - 1]
    while last and width_of(f"{last}...", size) > width:
        last = last[:-1]
    return [*lines[: most - 1], f"{last.rstrip(' ,')}..."]


def enumerated(names: Sequence[str], made: Callable[[str, int], str], size: int, width: int, most: int) -> list[str]:
    """Return a sentence over names in at most `most` lines, with as many of the names as fit.

    `made` makes the sentence from the names, which commas separate, and the number of those that are left out.
    """
    for count in range(len(names), 0, -1):
        lines = wrapped(made(", ".join(names[:count]), len(names) - count), size, width)
        if len(lines) <= most:
            return lines
    return shortened(made("", len(names)), size, width, most)


@dataclass(frozen=True)
class Line:
    """A line of text, and what stands at the right end of it."""

    text: str
    size: int
    colour: Colour = GREY
    end: str = ""
    gap: int = 0  # below it

    @property
    def height(self) -> int:
        """From this line to the next."""
        return round(self.size * 1.28) + self.gap

    def draw(self, pen: ImageDraw.ImageDraw, left: int, top: int, width: int) -> None:
        """Draw the line with its top left corner there."""
        pen.text((left, top), self.text, self.colour, font(self.size))
        if self.end:
            pen.text((left + width, top), self.end, WHITE, font(self.size), anchor="ra")
