"""The text beside the radiograph, from top to bottom. Where there is more than fits, lines go and the type stays."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from PIL import ImageDraw

from dicom_io.composite.analysis import FindingResult
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


@dataclass(frozen=True)
class _Room:
    """How much of each kind a column may hold: rows of findings, and lines of text."""

    rows: int = 6
    below: int = 5
    never: int = 4
    reasons: int = 9


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
    blocks: list[Block] = []
    for room in _tighter(_Room()):
        blocks = [block for block in _blocks(page, room, width) if block]
        if height_of(blocks) <= height:
            break
    return blocks


def height_of(blocks: Sequence[Block]) -> int:
    """Return how high blocks are together."""
    return sum(line.height for block in blocks for line in block) + GAP * (len(blocks) - 1)


def _tighter(room: _Room) -> Iterator[_Room]:
    """Yield rooms that get smaller, what matters least first."""
    yield room
    for kind, least in (("never", 1), ("below", 2), ("reasons", 4), ("rows", 3), ("below", 1), ("reasons", 2)):
        while getattr(room, kind) > least:
            room = replace(room, **{kind: getattr(room, kind) - 1})
            yield room


def _blocks(page: Page, room: _Room, width: int) -> Iterator[Block]:
    yield _head(page, width)
    yield _called_findings(page, room, width)
    if location := page.location():
        yield _text(wrapped(sentences.located(location, page.language), LEAST, width), LEAST, WHITE)
    yield _reasons(page, room, width)
    yield from _others(page, room, width)


def _text(lines: Sequence[str], size: int = LEAST, colour: Colour = GREY) -> Block:
    return [Line(line, size, colour) for line in lines]


def _head(page: Page, width: int) -> Block:
    """Which image this is, when it was taken, who says so and when, and what that replaces."""
    taken = sentences.taken(page)
    return [
        *_text(shortened(sentences.shown(page), HEAD, width, 2), HEAD, WHITE),
        *(_text(shortened(taken, LEAST, width, 2)) if taken else []),
        *_text(shortened(sentences.analysed_by(page), LEAST, width, 2)),
        *(_text(shortened(page.replaces, LEAST, width, 3), LEAST, YELLOW) if page.replaces else []),
    ]


def _called_findings(page: Page, room: _Room, width: int) -> Block:
    """The findings above and near their thresholds, each with its call in words and its score."""
    called = [result for result in page.findings if result.call != "below"]
    rows = [line for result in called[: room.rows] for line in _row(result, page, width)]
    rest = [result.finding for result in called[room.rows :]]
    also = _names(rest, lambda said, left: sentences.also(said, left, page.language), page, width, 3, WHITE)
    return [*rows, *also, *_text([sentences.scale(page.language)])] if rows else []


def _row(result: FindingResult, page: Page, width: int) -> Iterator[Line]:
    language = page.language
    yield from _text(shortened(sentences.name(result.finding, language), NAME, width, 2), NAME, WHITE)
    said = sentences.call(result.call, language)
    yield Line(said, CALL, CALL_COLOURS[result.call], end=sentences.score(result, language), gap=ROW_GAP)


def _others(page: Page, room: _Room, width: int) -> Iterator[Block]:
    """What is below threshold, and what is not assessed."""
    language = page.language
    below = [result.finding for result in page.findings if result.call == "below"]
    never = page.image.not_assessed if page.image and page.analysed else ()
    yield _names(below, lambda said, left: sentences.below(said, left, language), page, width, room.below)
    yield _names(never, lambda said, left: sentences.never_assessed(said, left, language), page, width, room.never)


def _names(
    findings: Sequence[str],
    say: Callable[[str, int], str],
    page: Page,
    width: int,
    most: int,
    colour: Colour = GREY,
) -> Block:
    said = [sentences.in_sentence(finding, page.language) for finding in findings]
    return _text(enumerated(said, say, LEAST, width, most), LEAST, colour) if said else []


def _reasons(page: Page, room: _Room, width: int) -> Block:
    """What was not analysed and why, what is to be remarked, and what nobody has measured."""
    size = LEAST if page.analysed else NAME
    said = sentences.not_analysed(page.images, page.language)
    images, left = _whole(said, size, width, room.reasons)
    more = [sentences.more_not_analysed(left, page.language)] if left else []
    if page.image and (remark := sentences.remark(page.image, page.language)):
        more.append(remark)
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
