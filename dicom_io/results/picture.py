"""The result as a picture: the radiograph, the contour of a finding where there is one, and a table of the findings.

It is drawn for a dark reading room and for viewers that show nothing but images. No name, date or number of the
patient is in it.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from dicom_io.composite import codes
from dicom_io.composite.analysis import (
    FindingResult,
    Location,
    ModelIdentity,
    Pathology,
    SourceImage,
    highest,
    highest_pathology,
)
from dicom_io.composite.codes import coded
from dicom_io.composite.encode import plain
from dicom_io.results import contour, wording
from dicom_io.results.language import Language

LONG_SIDE = 1024  # of the radiograph, in pixels
TABLE_WIDTH = 680
MARGIN = 24
HEADER_HEIGHT = 64
FOOTER_HEIGHT = 56
ROW_HEIGHT = 36
BAR_LEFT, BAR_WIDTH, CALL_LEFT = 280, 150, 520  # columns of the table, in pixels from its left

TITLE = "AI chest radiograph result"
UNTRAINED = "UNTRAINED WEIGHTS - test of the connection, values mean nothing"

BACKGROUND = (12, 14, 17)
BAND = (28, 32, 38)
RULE = (58, 64, 72)
TEXT = (236, 238, 240)
FAINT = (150, 157, 166)
WARNING = (255, 196, 60)
ALARM = (190, 30, 30)
CALL_COLOURS = {"above": (255, 138, 76), "near": (240, 214, 110)}

ENGLISH = Language()

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@cache
def font(size: int) -> Font:
    """The font that comes with Pillow."""
    return ImageFont.load_default(size)


def draw(
    images: Sequence[SourceImage],
    model: ModelIdentity,
    pixels: NDArray[np.floating[Any]] | None,
    location: Location | None = None,
) -> Image.Image:
    """The results over `images`, RGB; `pixels` is one of the images, float [rows, columns] in 0..1, or None."""
    panels = [*_panels(pixels, location), _table(images, model)]
    height = max(panel.height for panel in panels)
    width = sum(panel.width + MARGIN for panel in panels) + MARGIN
    canvas = Image.new("RGB", (width + width % 2, HEADER_HEIGHT + height + 2 * MARGIN + FOOTER_HEIGHT), BACKGROUND)
    left = MARGIN
    for panel in panels:
        canvas.paste(panel, (left, HEADER_HEIGHT + MARGIN))
        left += panel.width + MARGIN
    _header(canvas, model)
    _footer(canvas)
    return canvas


def _panels(pixels: NDArray[np.floating[Any]] | None, location: Location | None) -> list[Image.Image]:
    """The radiograph, with the contour of the location and what is to be said of it."""
    if pixels is None:
        return []
    grey = _fitted(pixels)
    if location is None:
        return [grey.convert("RGB")]
    return [_captioned(contour.outlined(grey, location.polygons), contour.sentences(location))]


def _captioned(panel: Image.Image, said: Sequence[str]) -> Image.Image:
    width = max(panel.width, TABLE_WIDTH)
    lines = [line for sentence in said for line in _wrapped(sentence, 20, width)]
    framed = Image.new("RGB", (width, panel.height + 8 + 28 * len(lines)), BACKGROUND)
    framed.paste(panel)
    for number, line in enumerate(lines):
        ImageDraw.Draw(framed).text((0, panel.height + 8 + 28 * number), line, FAINT, font(20))
    return framed


def _fitted(pixels: NDArray[np.floating[Any]]) -> Image.Image:
    """8 bit grey, its long side LONG_SIDE; a strongly reduced one by boxes first, which is fast and does not alias."""
    step = max(1, max(pixels.shape) // (2 * LONG_SIDE))
    grey = Image.fromarray((np.clip(pixels, 0, 1) * 255).astype(np.uint8))
    if step > 1:
        grey = grey.reduce(step)
    scale = LONG_SIDE / max(grey.size)
    size = (max(1, round(grey.width * scale)), max(1, round(grey.height * scale)))
    return grey.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)


def _header(canvas: Image.Image, model: ModelIdentity) -> None:
    pen, middle = ImageDraw.Draw(canvas), HEADER_HEIGHT // 2
    pen.rectangle((0, 0, canvas.width, HEADER_HEIGHT), BAND if model.trained else ALARM)
    if model.trained:
        pen.text((MARGIN, middle), TITLE, TEXT, font(30), anchor="lm")
    else:
        pen.text((MARGIN, middle), UNTRAINED, TEXT, font(26), anchor="lm")


def _footer(canvas: Image.Image) -> None:
    pen, top = ImageDraw.Draw(canvas), canvas.height - FOOTER_HEIGHT
    pen.rectangle((0, top, canvas.width, canvas.height), BAND)
    pen.text((canvas.width // 2, top + FOOTER_HEIGHT // 2), wording.disclaimer(ENGLISH), WARNING, font(28), anchor="mm")


def _table(images: Sequence[SourceImage], model: ModelIdentity) -> Image.Image:
    """The panel of text: headline, findings, what was not analysed, the model."""
    panel = Image.new("RGB", (TABLE_WIDTH, 4000), BACKGROUND)
    pen = ImageDraw.Draw(panel)
    bottom = _sentences(pen, 0, 26, TEXT, [wording.headline(images, ENGLISH)]) + 12
    rows = _rows(images)
    if rows:
        bottom = _column_heads(pen, bottom)
    for name, result in rows:
        bottom = _row(pen, bottom, name, result)
    bottom = _sentences(pen, bottom + 16, 20, FAINT, wording.others(images, ENGLISH))
    bottom = _sentences(
        pen, bottom + 16, 20, WARNING, [*wording.not_analysed(images, ENGLISH), *wording.remarks(images, ENGLISH)]
    )
    bottom = _sentences(pen, bottom + 16, 18, FAINT, _small_print(images, model))
    return panel.crop((0, 0, TABLE_WIDTH, min(bottom, panel.height)))


def _rows(images: Sequence[SourceImage]) -> list[tuple[str, FindingResult | Pathology]]:
    """What stands in the table: any finding, then the findings, as far as they are above or near their thresholds."""
    pathology = highest_pathology(images)
    every: list[tuple[str, FindingResult | Pathology]] = [(codes.PATHOLOGY.meaning, pathology)] if pathology else []
    every += [(coded(result.finding).display, result) for result in wording.ranked(highest(images))]
    return [(name, result) for name, result in every if result.call != "below"]


def _small_print(images: Sequence[SourceImage], model: ModelIdentity) -> list[str]:
    analysed = sum(not image.reason for image in images)
    return [
        *([f"The highest of {analysed} images is given; one of them is shown."] if analysed > 1 else []),
        *([wording.limits(ENGLISH)] if analysed else []),
        *wording.unevaluated(model, ENGLISH),
        f"Model {model.name} {model.version}",
        f"Weights {model.digest[:23]}",
        wording.disclaimer(ENGLISH),
    ]


def _column_heads(pen: ImageDraw.ImageDraw, top: int) -> int:
    middle = top + ROW_HEIGHT // 2
    for left, head in ((0, "Finding"), (BAR_LEFT, "Score, | threshold"), (CALL_LEFT, "Call")):
        pen.text((left, middle), head, FAINT, font(18), anchor="lm")
    pen.line((0, top + ROW_HEIGHT, TABLE_WIDTH, top + ROW_HEIGHT), RULE)
    return top + ROW_HEIGHT + 4


def _row(pen: ImageDraw.ImageDraw, top: int, name: str, result: FindingResult | Pathology) -> int:
    """One finding: its name, a bar with a mark at the threshold, the score and the call; returns its bottom."""
    middle, colour, mark = top + ROW_HEIGHT // 2, CALL_COLOURS[result.call], BAR_LEFT + BAR_WIDTH // 2
    pen.text((0, middle), name, TEXT, font(22), anchor="lm")
    pen.rectangle((BAR_LEFT, middle - 7, BAR_LEFT + BAR_WIDTH, middle + 7), BAND)
    pen.rectangle((BAR_LEFT, middle - 7, BAR_LEFT + round(BAR_WIDTH * result.score / 100), middle + 7), colour)
    pen.line((mark, middle - 11, mark, middle + 11), TEXT, 2)
    pen.text((CALL_LEFT - 14, middle), str(result.score), TEXT, font(22), anchor="rm")
    pen.text((CALL_LEFT, middle), result.call, colour, font(22), anchor="lm")
    return top + ROW_HEIGHT


def _sentences(
    pen: ImageDraw.ImageDraw, top: int, size: int, colour: tuple[int, int, int], sentences: Sequence[str]
) -> int:
    """The sentences, each from a new line and broken to the panel's width; returns their bottom."""
    for line in (line for sentence in sentences for line in _wrapped(sentence, size)):
        pen.text((0, top), line, colour, font(size))
        top += round(size * 1.4)
    return top


def _wrapped(sentence: str, size: int, width: int = TABLE_WIDTH) -> list[str]:
    lines = [""]
    for word in plain(sentence, 600).split():
        longer = f"{lines[-1]} {word}".strip()
        if font(size).getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines
