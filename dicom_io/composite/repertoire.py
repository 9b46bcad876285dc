"""Text of our own in the character set of the object that it stands in (PS3.3 C.12.1.1.2).

An object has the Specific Character Set of the radiograph, because names are copied from it byte for byte. Our own text
keeps its accents where that set has them from the start of a value, without an escape sequence; else they are dropped.
"""

import unicodedata
from dataclasses import dataclass
from functools import lru_cache

from pydicom.dataset import Dataset

from dicom_io.composite import copying
from dicom_io.composite.encode import plain

# The first value of Specific Character Set, with and without code extensions: Python's name of the set
_PARTS = {"100": "latin-1", "101": "iso8859-2", "109": "iso8859-3", "110": "iso8859-4", "148": "iso8859-9"}
_CODECS = {
    "ISO_IR 192": "utf-8",
    **{f"ISO_IR {number}": codec for number, codec in _PARTS.items()},
    **{f"ISO 2022 IR {number}": codec for number, codec in _PARTS.items()},
}

_LONGEST_SPELLING = 4  # of one character in ASCII


@dataclass(frozen=True)
class Repertoire:
    """The characters that our own text may have in an object, by the name of Python's codec."""

    codec: str = "ascii"

    def encode(self, text: str, length: int) -> bytes:
        """Return at most `length` characters of `text`, encoded, without blanks around them.

        What the set does not have is written as `plain` writes it.
        """
        if text.isascii():
            return plain(text, length).encode()
        kept = "".join(map(self._kept, unicodedata.normalize("NFC", text)))
        return kept[:length].strip().encode(self.codec)

    def _kept(self, character: str) -> str:
        if not character.isascii() and character.isprintable() and _has(self.codec, character):
            return character
        return plain(character, _LONGEST_SPELLING) or " "


ASCII = Repertoire()


def repertoire(source: Dataset) -> Repertoire:
    """Return the repertoire of an object that takes over the Specific Character Set of `source`."""
    first = copying.text(source, "SpecificCharacterSet").split("\\")[0].strip()
    return Repertoire(_CODECS.get(first, "ascii"))


@lru_cache(maxsize=1024)
def _has(codec: str, character: str) -> bool:
    try:
        character.encode(codec)
    except UnicodeEncodeError:
        return False
    return True
