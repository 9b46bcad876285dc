r"""Keeps text that came from outside from being more than text, wherever a person reads it.

A header, an AE title or a comment may hold characters that move a terminal's cursor, turn the direction of writing, or
cannot be seen at all. They are shown as escapes: \x1b, \u202e.
"""

import json
import re
import unicodedata
from typing import Any

_UNUSUAL = re.compile(r"[^ -~]")
_UNUSUAL_IN_JSON = re.compile(
    r"[^ -~\n]"
)  # json.dumps escapes the line breaks inside of strings; the others are its own


def visible(text: str) -> str:
    r"""Return `text` on one line, with an escape (\xNN, \uNNNN or \UNNNNNNNN) for each character that is not shown.

    These are the control characters (C0, DEL, C1), Unicode's format characters, among them those that turn the
    direction of writing, the line and paragraph separators, lone surrogates, and code points without a character.
    """
    return _UNUSUAL.sub(lambda found: found[0] if _is_shown(found[0]) else _escape(found[0]), text)


def json_text(value: Any, ascii_only: bool = False, **options: Any) -> str:
    """Return `value` as JSON that reads back exactly, with JSON's escapes for the characters that `visible` escapes.

    With `ascii_only` every character beyond ASCII is escaped too. `options` are those of json.dumps.
    """
    text = json.dumps(value, ensure_ascii=ascii_only, **options)
    return _UNUSUAL_IN_JSON.sub(lambda found: found[0] if _is_shown(found[0]) else _json_escape(found[0]), text)


def _is_shown(character: str) -> bool:
    return character.isprintable() or unicodedata.category(character) == "Zs"  # a space of some width


def _escape(character: str) -> str:
    number = ord(character)
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def _json_escape(character: str) -> str:
    """RFC 8259 section 7: a character beyond FFFFH is written as two surrogates."""
    return f"\\u{ord(character):04x}" if ord(character) < 0x10000 else json.dumps(character)[1:-1]
