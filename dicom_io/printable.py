"""Text for places where only printable ASCII may stand: names, comments and descriptions that we write or report."""

import unicodedata

# letters and signs that Unicode does not decompose
_SPELT = {"œ": "oe", "Œ": "Oe", "æ": "ae", "Æ": "Ae", "ß": "ss", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "đ": "d",
          "Đ": "D", "‘": "'", "’": "'", "“": '"', "”": '"', "«": '"', "»": '"', "–": "-", "—": "-",
          "\u00a0": " ", "\u202f": " "}  # fmt: skip


def unaccented(text: str) -> str:
    """`text` with its accents dropped and its ligatures and typographic signs spelt out, as far as ASCII has them."""
    spelt = "".join(_SPELT.get(c, c) for c in text)
    return "".join(c for c in unicodedata.normalize("NFKD", spelt) if not unicodedata.combining(c))


def printable(text: str) -> str:
    """`text` with a question mark for each character that is not printable ASCII, and for each backslash.

    The backslash separates values.
    """
    return "".join(c if " " <= c <= "~" and c != "\\" else "?" for c in text)
