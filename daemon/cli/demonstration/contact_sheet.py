"""The pages that came back to the small PACS, side by side in one PNG file, for whoever has no viewer at hand."""

from collections.abc import Mapping
from pathlib import Path

from daemon.cli.images.sheet import write_sheet
from dicom_io.phantom.pages import page_of

ACROSS = 3  # pages in a row
TILE = (800, 600)  # columns and rows of a page, which has twice as many


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
    write_sheet([(captions[study], picture) for study, _, picture in pages], file, TILE, ACROSS, font_size=26)
    return len(pages)
