"""The result as a picture: the radiograph, a heatmap of it beside it if there is one, and a table of the findings.

It is drawn for a dark reading room and for viewers that show nothing but images. No name, date or number of the
patient is in it.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from dicom_io.composite import codes, iod
from dicom_io.composite.analysis import Heatmap, ModelIdentity, SourceImage, highest, highest_pathology
from dicom_io.composite.codes import coded
from dicom_io.composite.encode import plain
from dicom_io.results import wording

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
CALL_COLOURS = {"present": (255, 138, 76), "undetermined": (240, 214, 110), "absent": (112, 126, 142)}

# black, violet, orange, yellow: rises in brightness too, so that it reads without colour vision
HEAT = ((0, 0, 0), (88, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164))

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@cache
def font(size: int) -> Font:
    """The font that comes with Pillow."""
    return ImageFont.load_default(size)


def draw(
    images: Sequence[SourceImage],
    model: ModelIdentity,
    pixels: NDArray[np.floating[Any]] | None,
    heatmap: Heatmap | None = None,
) -> Image.Image:
    """The results over `images`, RGB; `pixels` is one of the images, float [rows, columns] in 0..1, or None."""
    panels = [*_panels(pixels, heatmap), _table(images, model)]
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


def _panels(pixels: NDArray[np.floating[Any]] | None, heatmap: Heatmap | None) -> list[Image.Image]:
    """The radiograph, and the same under its heatmap."""
    if pixels is None:
        return []
    grey = _fitted(pixels)
    if heatmap is None:
        return [grey.convert("RGB")]
    caption = f"Heatmap: {coded(heatmap.finding).display} (where the network looked; no outline)"
    return [grey.convert("RGB"), _captioned(_overlaid(grey, heatmap.values), caption)]


def _captioned(panel: Image.Image, caption: str) -> Image.Image:
    framed = Image.new("RGB", (panel.width, panel.height + ROW_HEIGHT), BACKGROUND)
    framed.paste(panel)
    ImageDraw.Draw(framed).text((0, framed.height), caption, FAINT, font(20), anchor="lb")
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


def _overlaid(grey: Image.Image, values: NDArray[np.floating[Any]]) -> Image.Image:
    """The heatmap in colours over the radiograph: the hotter, the more it covers."""
    heat = Image.fromarray((np.clip(np.nan_to_num(values), 0, 1) * 255).astype(np.uint8))
    heat = heat.resize(grey.size, Image.Resampling.BICUBIC)
    coloured = Image.fromarray(_heat_colours()[np.asarray(heat)])
    return Image.composite(coloured, grey.convert("RGB"), heat.point([round(value * 0.6) for value in range(256)]))


@cache
def _heat_colours() -> NDArray[np.uint8]:
    """The colour of each of 256 values, uint8 [256, 3]."""
    stops = np.linspace(0, 255, len(HEAT))
    return np.stack([np.interp(np.arange(256), stops, channel) for channel in zip(*HEAT, strict=True)], -1).astype(
        np.uint8
    )


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
    pen.text((canvas.width // 2, top + FOOTER_HEIGHT // 2), iod.DISCLAIMER, WARNING, font(28), anchor="mm")


def _table(images: Sequence[SourceImage], model: ModelIdentity) -> Image.Image:
    """The panel of text: headline, findings, what was not analysed, the model."""
    panel = Image.new("RGB", (TABLE_WIDTH, 4000), BACKGROUND)
    pen = ImageDraw.Draw(panel)
    bottom = _sentences(pen, 0, 26, TEXT, [wording.headline(images)]) + 12
    findings, pathology = wording.ranked(highest(images)), highest_pathology(images)
    if pathology or findings:
        bottom = _column_heads(pen, bottom)
    if pathology:
        call = "present" if pathology.present else "absent"
        bottom = _row(pen, bottom, codes.PATHOLOGY.meaning, pathology.probability, pathology.threshold, call)
        pen.line((0, bottom + 2, TABLE_WIDTH, bottom + 2), RULE)
        bottom += 6
    for result in findings:
        bottom = _row(pen, bottom, coded(result.finding).display, result.probability, result.threshold, result.call)
    bottom = _sentences(pen, bottom + 16, 20, WARNING, [*wording.not_analysed(images), *wording.remarks(images)])
    bottom = _sentences(pen, bottom + 16, 18, FAINT, _small_print(images, model))
    return panel.crop((0, 0, TABLE_WIDTH, min(bottom, panel.height)))


def _small_print(images: Sequence[SourceImage], model: ModelIdentity) -> list[str]:
    analysed = sum(not image.reason for image in images)
    return [
        *([f"The highest of {analysed} images is given; one of them is shown."] if analysed > 1 else []),
        *([wording.NOT_NORMAL] if analysed else []),
        f"Model {model.name} {model.version}",
        f"Weights {model.digest[:23]}",
        wording.NOT_VERIFIED,
    ]


def _column_heads(pen: ImageDraw.ImageDraw, top: int) -> int:
    middle = top + ROW_HEIGHT // 2
    for left, head in ((0, "Finding"), (BAR_LEFT, "Probability, | threshold"), (CALL_LEFT, "Call")):
        pen.text((left, middle), head, FAINT, font(18), anchor="lm")
    pen.line((0, top + ROW_HEIGHT, TABLE_WIDTH, top + ROW_HEIGHT), RULE)
    return top + ROW_HEIGHT + 4


def _row(pen: ImageDraw.ImageDraw, top: int, name: str, probability: float, threshold: float | None, call: str) -> int:
    """One finding: its name, a bar with a mark at the threshold, the number and the call; returns its bottom."""
    middle, colour = top + ROW_HEIGHT // 2, CALL_COLOURS[call]
    pen.text((0, middle), name, FAINT if call == "absent" else TEXT, font(22), anchor="lm")
    pen.rectangle((BAR_LEFT, middle - 7, BAR_LEFT + BAR_WIDTH, middle + 7), BAND)
    pen.rectangle((BAR_LEFT, middle - 7, BAR_LEFT + round(BAR_WIDTH * probability), middle + 7), colour)
    if threshold is not None:
        mark = BAR_LEFT + round(BAR_WIDTH * threshold)
        pen.line((mark, middle - 11, mark, middle + 11), TEXT, 2)
    pen.text((CALL_LEFT - 14, middle), f"{100 * probability:.0f} %", TEXT, font(22), anchor="rm")
    pen.text((CALL_LEFT, middle), call, colour, font(22), anchor="lm")
    return top + ROW_HEIGHT


def _sentences(
    pen: ImageDraw.ImageDraw, top: int, size: int, colour: tuple[int, int, int], sentences: Sequence[str]
) -> int:
    """The sentences, each from a new line and broken to the panel's width; returns their bottom."""
    for line in (line for sentence in sentences for line in _wrapped(sentence, size)):
        pen.text((0, top), line, colour, font(size))
        top += round(size * 1.4)
    return top


def _wrapped(sentence: str, size: int) -> list[str]:
    lines = [""]
    for word in plain(sentence, 600).split():
        longer = f"{lines[-1]} {word}".strip()
        if font(size).getlength(longer) <= TABLE_WIDTH:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines
