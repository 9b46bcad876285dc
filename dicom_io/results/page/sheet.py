"""The whole picture of a page: the answer in a band across the top, the radiograph, the text beside it, the footer."""

from functools import lru_cache

from PIL import Image, ImageDraw

from dicom_io.results import wording
from dicom_io.results.language import Language
from dicom_io.results.page import sentences
from dicom_io.results.page.column import draw_column
from dicom_io.results.page.content import Page
from dicom_io.results.page.radiograph import SIDE, radiograph
from dicom_io.results.page.typesetting import BAND, GREY, GROUND, LEAST, ORANGE, RED, WHITE, YELLOW, Colour, font

WIDTH, HEIGHT = 1600, 1200
BAND_HEIGHT = FOOTER_HEIGHT = 96
EDGE = 14  # width of the coloured edge of the band
LEFT, TOP = 12, BAND_HEIGHT + (HEIGHT - BAND_HEIGHT - FOOTER_HEIGHT - SIDE) // 2  # of the radiograph
COLUMN = (LEFT + SIDE + 32, TOP, WIDTH - 20, HEIGHT - FOOTER_HEIGHT - 12)  # left, top, right, bottom
ANSWER, NUMBER, DISCLAIMER = 46, 34, 38  # sizes of type


def draw(page: Page) -> Image.Image:
    """Return the picture, RGB, always 1600 x 1200."""
    sheet = _ground(_edge(page), page.model.trained, page.language).copy()
    pen = ImageDraw.Draw(sheet)
    _band(pen, page)
    sheet.paste(radiograph(page), (LEFT, TOP))
    draw_column(pen, page, COLUMN)
    return sheet


def _edge(page: Page) -> Colour:
    """The colour of the band's edge. It says nothing that the words in the band do not say."""
    if not page.model.trained:
        return RED
    if not page.analysed:
        return YELLOW
    pathology = page.image.pathology if page.image else None
    return ORANGE if page.above or (pathology and pathology.call == "above") else GREY


@lru_cache(maxsize=32)
def _ground(edge: Colour, trained: bool, language: Language) -> Image.Image:
    """What is the same on many pages: the ground, the band and the footer. Never drawn on."""
    sheet = Image.new("RGB", (WIDTH, HEIGHT), GROUND)
    pen, foot = ImageDraw.Draw(sheet), HEIGHT - FOOTER_HEIGHT
    pen.rectangle((0, 0, WIDTH, BAND_HEIGHT - 1), BAND if trained else RED)
    pen.rectangle((0, 0, EDGE - 1, BAND_HEIGHT - 1), edge)
    pen.rectangle((0, foot, WIDTH, HEIGHT), BAND)
    pen.text((WIDTH // 2, foot + 36), wording.disclaimer(language), YELLOW, font(DISCLAIMER), anchor="mm")
    pen.text((WIDTH // 2, foot + 74), wording.limits(language), GREY, font(LEAST), anchor="mm")
    return sheet


def _band(pen: ImageDraw.ImageDraw, page: Page) -> None:
    middle = BAND_HEIGHT // 2
    pen.text((EDGE + 22, middle), sentences.band(page), WHITE, font(ANSWER), anchor="lm")
    pen.text((WIDTH - 24, middle), sentences.number_of(page), WHITE, font(NUMBER), anchor="rm")
