"""Pictures side by side in one PNG file, each below its caption."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

CAPTION = 40  # rows above a picture
GAP = 10  # columns between pictures
INK, GROUND = (230, 230, 230), (24, 24, 24)


def write_sheet(
    tiles: Sequence[tuple[str, Image.Image]], file: Path, tile: tuple[int, int], across: int, font_size: int
) -> None:
    """Draw the pictures, `across` in a row, each with its caption, into the PNG file `file`. Raises OSError.

    Each picture is reduced, or enlarged, to fit into `tile` (columns, rows), without changing its shape.
    """
    height = CAPTION + tile[1]
    sheet = Image.new("RGB", (across * (tile[0] + GAP) - GAP, -(-len(tiles) // across) * height), GROUND)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=font_size)
    for number, (caption, picture) in enumerate(tiles):
        left, top = number % across * (tile[0] + GAP), number // across * height
        draw.text((left + 10, top + 6), _shortened(caption, font, tile[0] - 20), fill=INK, font=font)
        fitted = thumbnail(picture, tile)
        sheet.paste(fitted, (left + (tile[0] - fitted.width) // 2, top + CAPTION + (tile[1] - fitted.height) // 2))
    part = file.with_suffix(".part")
    sheet.save(part, "PNG")
    part.replace(file)


def thumbnail(picture: Image.Image, tile: tuple[int, int]) -> Image.Image:
    """Return the picture as large as `tile` (columns, rows) allows."""
    factor = min(tile[0] / picture.width, tile[1] / picture.height)
    size = max(1, round(picture.width * factor)), max(1, round(picture.height * factor))
    return picture if size == picture.size else picture.resize(size, Image.Resampling.BOX)


def _shortened(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, columns: int) -> str:
    """Return the text without its middle if it is wider than `columns`."""
    if font.getlength(text) <= columns:
        return text
    keep = max(1, int(len(text) * columns / font.getlength(text)) - 3)
    return f"{text[: keep // 2]}...{text[len(text) - keep // 2 :]}"
