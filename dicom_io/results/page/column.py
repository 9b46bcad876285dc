"""The text beside the radiograph, from top to bottom. Where there is more than fits, lines go and the type stays."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache

from PIL import ImageDraw

from dicom_io.composite.analysis import FindingResult
from dicom_io.results import wording
from dicom_io.results.contour import COLOURS
from dicom_io.results.outlines import words
from dicom_io.results.page import sentences
from dicom_io.results.page.content import Page
from dicom_io.results.page.typesetting import (
    GREY,
    LEAST,
    ORANGE,
    SKY_BLUE,
    WHITE,
    YELLOW,
    Colour,
    Line,
    enumerated,
    shortened,
    wrapped,
)

HEAD, NAME, CALL = 28, 40, 30  # sizes of type; everything else has the least
GAP = 16  # between blocks
ROW_GAP = 10  # below each finding
CALL_COLOURS: dict[str, Colour] = {"above": ORANGE, "near": SKY_BLUE}

Block = list[Line]


#: In which order a column is made shorter, what matters least first: the kind of line, and how many are left of it.
_STEPS = (
    ("never", 1), ("below", 2), ("reasons", 4), ("rows", 3), ("below", 1), ("reasons", 2), ("rows", 2), ("reasons", 1),
    ("rows", 1),
)  # fmt: skip


@dataclass(frozen=True)
class _Room:
    """How much of each kind a column may hold: rows of findings, and lines of text."""

    head: int = 2  # lines of each thing that it says
    rows: int = 6
    place: int = 3
    reasons: int = 9
    below: int = 5
    never: int = 4


def draw_column(pen: ImageDraw.ImageDraw, page: Page, box: tuple[int, int, int, int]) -> None:
    """Draw the text of a page into a box (left, top, right, bottom)."""
    left, top, right, bottom = box
    for block in fitting(page, right - left, bottom - top):
        for line in block:
            line.draw(pen, left, top, right - left)
            top += line.height
        top += GAP


def fitting(page: Page, width: int, height: int) -> list[Block]:
    """Return the text in blocks of lines that together are not higher than `height`."""
    parts, blocks = _parts(page, width), list[Block]()
    for room in _tighter(_Room()):
        blocks = [block for kind, part in parts if (block := part(getattr(room, kind)))]
        if height_of(blocks) <= height:
            break
    return blocks


def height_of(blocks: Sequence[Block]) -> int:
    """Return how high blocks are together."""
    return sum(line.height for block in blocks for line in block) + GAP * (len(blocks) - 1)


def _tighter(room: _Room) -> Iterator[_Room]:
    """Yield rooms that get smaller."""
    yield room
    for kind, least in _STEPS:
        while getattr(room, kind) > least:
            room = replace(room, **{kind: getattr(room, kind) - 1})
            yield room


def _parts(page: Page, width: int) -> list[tuple[str, Callable[[int], Block]]]:
    """Return the column's parts from top to bottom: each makes its block for so much room of its kind."""
    return [
        ("head", cache(lambda most: _head(page, most, width))),
        ("rows", cache(lambda most: _called_findings(page, most, width) or _outlined(page, most, width))),
        ("place", cache(lambda most: _place(page, most, width))),
        ("reasons", cache(lambda most: _reasons(page, most, width))),
        ("below", cache(lambda most: _below(page, most, width))),
        ("never", cache(lambda most: _never(page, most, width))),
    ]


def _text(lines: Sequence[str], size: int = LEAST, colour: Colour = GREY) -> Block:
    return [Line(line, size, colour) for line in lines]


def _head(page: Page, most: int, width: int) -> Block:
    """Which image this is, when it was taken, who says so and when, and what that replaces."""
    taken = sentences.taken(page)
    return [
        *_text(shortened(sentences.shown(page), HEAD, width, most), HEAD, WHITE),
        *(_text(shortened(taken, LEAST, width, most)) if taken else []),
        *_text(shortened(sentences.analysed_by(page), LEAST, width, most)),
        *(_text(shortened(page.replaces, LEAST, width, most + 1), LEAST, YELLOW) if page.replaces else []),
    ]


def _called_findings(page: Page, most: int, width: int) -> Block:
    """The findings above and near their thresholds, each with its call in words and its score."""
    called = [result for result in page.findings if result.call != "below"]
    rows = [line for result in called[:most] for line in _row(result, page, width)]
    rest = [result.finding for result in called[most:]]
    also = _names("also", rest, page, width, 3, WHITE)
    return [*rows, *also, *_text([sentences.scale(page.language)])] if rows else []


def _outlined(page: Page, most: int, width: int) -> Block:
    """The structures that were outlined, each in the colour of its line, with what was measured."""
    found = page.image.outlined if page.image and page.analysed else ()
    rows: Block = []
    for place, one in list(enumerate(found))[:most]:
        colour = COLOURS[place % len(COLOURS)]
        rows += _text(shortened(words.name_of(one, page.language), NAME, width, 2), NAME, colour)
        rows += _text(shortened(words.measured(one, page.language), LEAST, width, 3), LEAST, WHITE)
    return rows


def _row(result: FindingResult, page: Page, width: int) -> Iterator[Line]:
    language = page.language
    yield from _text(shortened(wording.display(result.finding, language), NAME, width, 2), NAME, WHITE)
    said = sentences.call(result.call, language)
    yield Line(said, CALL, CALL_COLOURS[result.call], end=sentences.score(result, language), gap=ROW_GAP)


def _place(page: Page, most: int, width: int) -> Block:
    """What the contour is, or that there is none."""
    location = page.location()
    said = sentences.located(location, page.language) if location else ""
    return _text(shortened(said, LEAST, width, most), LEAST, WHITE) if said else []


def _below(page: Page, most: int, width: int) -> Block:
    below = [result.finding for result in page.findings if result.call == "below"]
    return _names("below", below, page, width, most)


def _never(page: Page, most: int, width: int) -> Block:
    never = page.image.not_assessed if page.image and page.analysed else ()
    return _names("never assessed", never, page, width, most)


def _names(kind: str, findings: Sequence[str], page: Page, width: int, most: int, colour: Colour = GREY) -> Block:
    """Findings in one sentence of this kind, of which as many are named as find room."""
    language = page.language
    said = [wording.lowered(wording.display(finding, language)) for finding in findings]
    lines = enumerated(said, lambda names, left: sentences.named(kind, names, left, language), LEAST, width, most)
    return _text(lines, LEAST, colour) if said else []


def _reasons(page: Page, most: int, width: int) -> Block:
    """What was not analysed and why, what is to be remarked, and what nobody has measured."""
    size = LEAST if page.analysed else NAME
    said = wording.not_analysed(page.images, page.language)
    images, left = _whole(said, size, width, most)
    more = [sentences.more_not_analysed(left, page.language)] if left else []
    if page.image:
        more += wording.remarks([page.image], page.language)
    if page.analysed and page.model.trained and not page.model.evaluated:
        more.append(sentences.not_evaluated(page.language))
    rest = [line for sentence in more for line in shortened(sentence, LEAST, width, 3)]
    return [*_text(images, size, WHITE), *_text(rest, LEAST, WHITE)]


def _whole(said: Sequence[str], size: int, width: int, most: int) -> tuple[list[str], int]:
    """Return the lines of the first sentences that fit into `most` lines, and how many sentences are left."""
    lines: list[str] = []
    for number, sentence in enumerate(said):
        following = wrapped(sentence, size, width) if len(said) > 1 else shortened(sentence, size, width, most)
        if len(lines) + len(following) > most:
            return lines, len(said) - number
        lines += following
    return lines, 0
