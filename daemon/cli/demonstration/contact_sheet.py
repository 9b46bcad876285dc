"""The pages that came back to the small PACS, side by side in one PNG file, for whoever has no viewer at hand."""

from collections.abc import Mapping
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from dicom_io.phantom.pages import page_of

ACROSS = 3  # pages in a row
TILE = (800, 600)  # columns and rows of a page, which has twice as many
CAPTION = 40  # rows above a page
GAP = 10  # columns between pages
INK, GROUND = (230, 230, 230), (24, 24, 24)


def write_contact_sheet(pacs: Path, captions: Mapping[str, str], file: Path) -> int:
    """Draw the pages among the objects in the folder `pacs` into the PNG file `file`; return how many there are.

    `captions` holds the line above each page by its Study Instance UID, in the order of the pages. Without a page no
    file is written. Raises OSError.
    """
    found = [page for path in sorted(pacs.glob("*.dcm")) if (page := page_of(path.read_bytes()))]
    order = list(captions)
    pages = sorted((page for page in found if page[0] in captions), key=lambda page: (order.index(page[0]), page[1]))
    if not pages:
        return 0
    height = CAPTION + TILE[1]
    sheet = Image.new("RGB", (ACROSS * (TILE[0] + GAP) - GAP, -(-len(pages) // ACROSS) * height), GROUND)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=26)
    for number, (study, _, picture) in enumerate(pages):
        left, top = number % ACROSS * (TILE[0] + GAP), number // ACROSS * height
        draw.text((left + 10, top + 6), captions[study], fill=INK, font=font)
        sheet.paste(picture.resize(TILE, Image.Resampling.BOX), (left, top + CAPTION))
    part = file.with_suffix(".part")
    sheet.save(part, "PNG")
    part.replace(file)
    return len(pages)
