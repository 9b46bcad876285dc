"""The radiograph of a page: a square of 960 pixels with the picture, the side mark, and the contour of a finding."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from dicom_io.results import contour
from dicom_io.results.page.content import Page
from dicom_io.results.page.typesetting import GREY, WHITE, font

SIDE = 960
MARK = 56  # size of the side mark
MARGIN = 22  # from the mark to the edges of the picture
STEP = 84
PLACES = range(0, 4 * STEP, STEP)  # how far down the mark may go, out of the way of letters that the picture has there
NARROWEST = 480  # a picture that is smaller has its mark beside it


def radiograph(page: Page) -> Image.Image:
    """Return the square, RGB: the picture of the page's image in its middle; a sentence where there is none."""
    square = Image.new("RGB", (SIDE, SIDE))
    image = page.image
    if image is None or image.pixels is None:
        said = page.language.say("No picture.")
        ImageDraw.Draw(square).text((SIDE // 2, SIDE // 2), said, GREY, font(32), anchor="mm")
        return square
    grey, location = fitted(image.pixels), page.location()
    drawn = contour.outlined(grey, location.polygons) if location else grey.convert("RGB")
    if image.outlined:
        drawn = contour.edged(grey, [one.mask for one in image.outlined])
    left, top = (SIDE - grey.width) // 2, (SIDE - grey.height) // 2
    square.paste(drawn, (left, top))
    if min(grey.size) < NARROWEST:
        left, top, grey = 0, 0, Image.new("L", (SIDE, SIDE))
    _mark(ImageDraw.Draw(square), left, top, grey, page)
    return square


def fitted(pixels: NDArray[np.floating[Any]]) -> Image.Image:
    """Return 8 bit grey, its long side SIDE. A strongly reduced picture is reduced by boxes first, which is fast."""
    scale = SIDE / max(pixels.shape)
    size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
    levels = np.empty(pixels.shape, np.uint8)
    np.multiply(np.clip(pixels, 0, 1), 255, out=levels, casting="unsafe")
    return Image.fromarray(levels).resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)


def _mark(pen: ImageDraw.ImageDraw, left: int, top: int, grey: Image.Image, page: Page) -> None:
    """Draw the letter of the patient's left, which is on the viewer's right, or that nothing says where it is.

    It stands at the right edge of the picture, whose top left corner is given, where that is plainest.
    """
    if page.image is None or page.image.side == "unknown":
        said, size = page.language.say("side unknown"), 32
    else:
        said, size = page.language.say("L"), MARK
    across = int(font(size).getlength(said)) + 2 * MARGIN
    down = min(PLACES, key=lambda place: _contrast(grey.crop((grey.width - across, place, grey.width, place + STEP))))
    place = (left + grey.width - MARGIN, top + MARGIN + down)
    pen.text(place, said, WHITE, font(size), anchor="rt", stroke_width=2, stroke_fill=(0, 0, 0))


def _contrast(part: Image.Image) -> int:
    """Return how much there is to see in a part of a picture: 0 (nothing that a letter would cover) to 3."""
    low, high = part.getextrema()
    return int(high - low) // 64  # type: ignore[operator]  # of one band: two numbers
