"""A4 pages with a picture and lines of text, as PDF/A-2b: everything that a reader needs is in the file.

This module alone imports fpdf2, which takes 34 MB; it is imported where a page is due.
"""

import hashlib
import io
import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from fpdf import FPDF
from PIL.Image import Image

FONT = Path(__file__).parent / "fonts" / "Roboto-Regular.ttf"
MARGIN, WIDTH = 12.0, 186.0  # mm, of the 210 mm of A4
TYPE, LINE = 11, 5.5  # points, mm
JPEG_QUALITY = 90


class _Document(FPDF):
    """A document whose bytes depend on nothing but what is put into it."""

    def __init__(self, identifier: str) -> None:
        super().__init__(format="A4", enforce_compliance="PDF/A-2B")
        self._identifier = hashlib.sha256(identifier.encode()).hexdigest()[:32].upper()

    def file_id(self) -> str:
        """The two identifiers of a file, equal in its first version (ISO 32000-1 14.4)."""
        return f"<{self._identifier}><{self._identifier}>"


def pdf(
    pages: Sequence[tuple[Image, Sequence[str]]],
    title: str,
    producer: str,
    made: datetime,
    identifier: str,
    language: str = "en",
) -> bytes:
    """Return a PDF of the pictures, each with its lines on a page of its own, and further pages where they need them.

    `language` is the code of the language of the words. `identifier` is what tells this document from others. The same
    arguments give the same bytes.
    """
    document = _Document(identifier)
    document.set_title(title)
    document.set_producer(producer)
    document.set_creation_date(made)
    document.set_lang(language)
    document.set_margins(MARGIN, MARGIN)
    document.set_auto_page_break(True, MARGIN)
    document.add_font("Roboto", fname=str(FONT))
    document.set_font("Roboto", size=TYPE)
    for picture, lines in pages:
        document.add_page()
        document.image(io.BytesIO(_jpeg(picture)), x=MARGIN, y=MARGIN, w=WIDTH)
        document.set_y(MARGIN + WIDTH * picture.height / picture.width + LINE)
        for line in lines:
            document.multi_cell(WIDTH, LINE, line, align="L", new_x="LMARGIN", new_y="NEXT")
    return _modified_when_made(bytes(document.output()))


def _jpeg(picture: Image) -> bytes:
    buffer = io.BytesIO()
    picture.convert("RGB").save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()


def _modified_when_made(document: bytes) -> bytes:
    """Put the time of creation in the place of the time at which fpdf2 ran; both have the same length."""
    created = re.search(rb'xmp:CreateDate="([^"]+)"', document)
    if created is None:
        return document
    return re.sub(rb'(xmp:(?:Modify|Metadata)Date=")[^"]+"', rb"\g<1>" + created[1] + b'"', document)
