"""The headers of a JPEG 2000 codestream, as far as they decide how much memory a decoder takes (ISO/IEC 15444-1).

A hundred bytes can ask for millions of tiles, precincts or code-blocks. OpenJPEG allocates each of them, some 10 kB,
2 kB and 200 bytes, before it reads any data: so their numbers are limited before it is called.
"""

import struct
from collections.abc import Iterator

from dicom_io.image.no_picture import TooLarge, Undecodable

# A radiograph of 100 million pixels has 25 000 precincts and code-blocks at most, with the sizes that encoders use.
TILE_LIMIT = 10_000
PRECINCT_LIMIT = 1 << 16
CODE_BLOCK_LIMIT = 1 << 20
_TILE_PART_LIMIT = 1 << 17

_SOC_SIZ = b"\xff\x4f\xff\x51"
_COD, _COC, _SOT, _SOD = 0xFF52, 0xFF53, 0xFF90, 0xFF93  # A.2
_HIGHEST_LEVEL = 32  # A.6.1


def codestream_start(frame: bytes) -> int:
    """Return where the codestream begins: at 0, or in the first codestream box of a JP2 file (I.4).

    The decoder begins there too. Raises Undecodable where there is none.
    """
    at = 0
    while not frame.startswith(_SOC_SIZ, at):
        if at + 16 > len(frame):
            raise Undecodable("not a JPEG 2000 codestream: no SIZ marker found")
        length, kind = struct.unpack_from(">L4s", frame, at)
        head = 8
        if length == 1:
            head, length = 16, struct.unpack_from(">Q", frame, at + 8)[0]
        at += head if kind == b"jp2c" or length < head else length
    return at


def decompositions(frame: bytes, siz: int, rows: int, columns: int) -> int:
    """Return the number of decomposition levels from the main header; 0 if it has none.

    `siz`: where SIZ begins; `rows`, `columns`: the size of the image. Raises TooLarge where tiles, precincts or
    code-blocks are so small that there are more than the limits, and Undecodable where the header is damaged.
    """
    x1, y1, _, _, tile_columns, tile_rows, tile_x0, tile_y0 = struct.unpack_from(">8L", frame, siz + 6)
    if -(-(x1 - tile_x0) // tile_columns) * -(-(y1 - tile_y0) // tile_rows) > TILE_LIMIT:
        raise TooLarge(f"a codestream of {rows} x {columns} in tiles of {tile_rows} x {tile_columns}: too many tiles")
    levels, wide = 0, struct.unpack_from(">H", frame, siz + 38)[0] > 256
    size = min(rows, tile_rows), min(columns, tile_columns)
    for marker, at in _markers(frame, siz):
        # COD (A.6.1): style, 4 bytes for all components, levels ...; COC (A.6.2): component, style, levels ...
        style = at + 4 if marker == _COD else at + 5 + wide
        parameters = style + 5 if marker == _COD else style + 1
        if parameters + 5 > len(frame):
            raise Undecodable("the JPEG 2000 codestream ends in its header")
        _ensure_modest(frame, style, parameters, size)
        if marker == _COD and not levels:
            levels = frame[parameters]
    return levels


def _ensure_modest(frame: bytes, style: int, parameters: int, size: tuple[int, int]) -> None:
    """Raise TooLarge for more precincts or code-blocks in a tile of this size than the limits."""
    levels, width, height = frame[parameters], frame[parameters + 1] & 15, frame[parameters + 2] & 15
    if levels > _HIGHEST_LEVEL:
        raise Undecodable(f"{levels} decomposition levels in JPEG 2000, which has {_HIGHEST_LEVEL} at most")
    sizes = frame[parameters + 5 : parameters + 6 + levels] if frame[style] & 1 else b""  # A.6.1: else 2 ** 15
    precincts = sum(
        -(-size[0] // (1 << levels - level + (exponents >> 4)))
        * -(-size[1] // (1 << levels - level + (exponents & 15)))
        for level, exponents in enumerate(sizes)
    )
    if precincts > PRECINCT_LIMIT:
        raise TooLarge(f"{precincts} precincts in a tile of JPEG 2000, the limit is {PRECINCT_LIMIT}")
    smallest = min((exponents >> 4) + (exponents & 15) for exponents in sizes) if sizes else 30
    code_blocks = size[0] * size[1] >> min(width + height + 4, max(smallest - 2, 0))
    if code_blocks > CODE_BLOCK_LIMIT:
        raise TooLarge(f"{code_blocks} code-blocks in a tile of JPEG 2000, the limit is {CODE_BLOCK_LIMIT}")


def _markers(frame: bytes, at: int) -> Iterator[tuple[int, int]]:
    """Yield each COD and COC with its position: those of the main header, then of each tile-part."""
    tile_part, number = 0, 0
    while at + 4 <= len(frame):
        marker, length = struct.unpack_from(">HH", frame, at)
        if marker in (_COD, _COC):
            yield marker, at
        if marker == _SOT and at + 12 <= len(frame):
            tile_part, number = at, number + 1
        if marker == _SOD:
            size = struct.unpack_from(">L", frame, tile_part + 6)[0]  # A.4.2: Psot, 0: to the end of the codestream
            if tile_part + size <= at or number > _TILE_PART_LIMIT:
                return
            at = tile_part + size
        elif marker < 0xFF00 or length < 2:
            return
        else:
            at += 2 + length
