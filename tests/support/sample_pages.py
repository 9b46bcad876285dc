"""Analyses whose pages the tests look at, and what stands on a page, word for word."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from dicom_io.composite.analysis import Analysis, Location, ModelIdentity, SourceImage
from dicom_io.results.language import Language
from dicom_io.results.page import sheet
from dicom_io.results.page.content import Page, pages
from tests.support.sample_results import (
    FAILED,
    FOUND,
    MODEL,
    SECOND,
    SOME,
    STARTED,
    UNTRAINED,
    WITHOUT,
    findings,
    header,
)  # fmt: skip

ENGLISH, FRENCH = Language("en"), Language("fr")
PIXELS = np.tile(np.linspace(0, 1, 500, dtype=np.float32), (400, 1))
SQUARE = ((0.25, 0.25), (0.5, 0.25), (0.5, 0.75), (0.25, 0.75))
CONTOUR = Location("Mass", (SQUARE,))
NO_CONTOUR = Location("Mass", (), "the map was never compared with boxes")


def seen(image: SourceImage, location: Location | None = None, **more: Any) -> SourceImage:
    """The same image with a picture."""
    return replace(image, **{"pixels": PIXELS, "view": "PA", "side": "as stored", "location": lambda: location} | more)


def analysis(*images: SourceImage, model: ModelIdentity = MODEL) -> Analysis:
    return Analysis(images, model, STARTED)


LATERAL = replace(
    FAILED, dataset=header(4), reason="a lateral view: the model reads frontal views only (View Position)",
    view="lateral", in_scope=False,
)  # fmt: skip
TRUNCATED = replace(FAILED, reason="Pixel Data has 1398100 bytes, the header means 2097152")
CROWDED = seen(
    replace(
        FOUND,
        findings=findings(
            "Effusion", "Mass", "Nodule", "Pneumonia", "Hernia", "Fibrosis", "Edema", near="Infiltration"
        ),
        not_assessed=("Lung Lesion", "Fracture", "Lung Opacity", "Enlarged Cardiomediastinum", "Tuberculosis"),
        remark="The patient's age is unknown, and the model is meant for patients of at least 18 years.",
    ),
    NO_CONTOUR,
)
LONG_NAME = replace(MODEL, name="model-whose-name-does-not-end-" * 3, evaluated=False, digest="sha256:" + "ab" * 32)

KINDS = {
    "found": analysis(seen(FOUND)),
    "contour": analysis(seen(FOUND, CONTOUR)),
    "no location": analysis(seen(FOUND, NO_CONTOUR)),
    "without findings": analysis(seen(WITHOUT)),
    "side unknown": analysis(seen(WITHOUT, side="unknown", view="")),
    "two frontals": analysis(seen(WITHOUT), seen(SECOND, Location("Pneumothorax", (SQUARE,)), pixels=PIXELS[:, ::-1])),
    "several images": analysis(seen(FOUND, CONTOUR), seen(SECOND), FAILED),
    "lateral": analysis(seen(FOUND), LATERAL),
    "not analysed": analysis(FAILED),
    "truncated": analysis(TRUNCATED),
    "hand": analysis(replace(FAILED, reason="another part: hand (Body Part Examined)")),
    "gate": analysis(seen(FAILED)),
    "several not analysed": analysis(TRUNCATED, LATERAL),
    "untrained": analysis(seen(FOUND), model=UNTRAINED),
    "some not assessed": analysis(seen(SOME)),
    "not evaluated": analysis(seen(FOUND), model=replace(MODEL, evaluated=False, digest="sha256:" + "ab" * 32)),
    "crowded": analysis(CROWDED, *[LATERAL] * 5, TRUNCATED, replace(FAILED, reason="too dark " * 30), model=LONG_NAME),
}


def of(kind: str, language: Language = ENGLISH, replaces: str = "") -> list[Page]:
    """The pages of a kind."""
    return pages(KINDS[kind], language, replaces)


def drawn(page: Page) -> np.ndarray:
    """The picture of a page, uint8 [rows, columns, 3]."""
    return np.asarray(sheet.draw(page))


@dataclass(frozen=True)
class Written:
    """A line of text on a page: its size, and (left, top, right, bottom) of its letters."""

    text: str
    size: float
    box: tuple[float, float, float, float]


@contextmanager
def reading(patch: pytest.MonkeyPatch) -> Iterator[list[Written]]:
    """Collect every line that is drawn meanwhile, where it stands in the picture that it is drawn into."""
    lines: list[Written] = []
    draw = ImageDraw.ImageDraw.text

    def text(
        self: ImageDraw.ImageDraw, place: tuple[float, float], said: str, fill: Any, font: ImageFont.FreeTypeFont,
        anchor: str = "la", **more: Any,
    ) -> None:  # fmt: skip
        lines.append(Written(said, font.size, self.textbbox(place, said, font, anchor)))
        draw(self, place, said, fill, font, anchor, **more)

    sheet._ground.cache_clear()
    with patch.context() as patched:
        patched.setattr(ImageDraw.ImageDraw, "text", text)
        yield lines
    sheet._ground.cache_clear()


def words(page: Page, patch: pytest.MonkeyPatch) -> str:
    """Everything that a page says, in one string."""
    with reading(patch) as lines:
        sheet.draw(page)
    return " ".join(line.text for line in lines)


def coloured(picture: Image.Image) -> np.ndarray:
    """Where a picture is orange rather than grey."""
    red, _, blue = (np.asarray(band, np.int16) for band in picture.split())
    return np.asarray(red - blue > 60)


def picture_of(page: Page) -> Image.Image:
    """The part of a page that shows the radiograph."""
    left, top = sheet.LEFT, sheet.TOP
    return sheet.draw(page).crop((left, top, left + sheet.SIDE, top + sheet.SIDE))
