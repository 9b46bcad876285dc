"""Find the words of `vocabulary.toml` in what people and devices write into headers."""

import re
import tomllib
import unicodedata
from functools import lru_cache
from importlib.resources import files

_LONGEST = 2000  # letters; what comes later in a text names nothing
# Letters that have no accent to take off and are written with and without their stroke
_STROKES = str.maketrans({"Ł": "L", "Ø": "O", "Đ": "D", "Æ": "AE", "Œ": "OE"})


@lru_cache(maxsize=256)  # devices write the same few texts on every image
def named(text: str, kind: str, coded: bool = False) -> frozenset[str]:
    """Return the headings under `kind` (part, view, made or patient) of which `text` holds a word or a phrase.

    `coded` says that the text is the value of a coded element, where short words have one meaning only.
    """
    spelt, rows = _spelt(text), _table(kind).items()
    if not spelt:
        return frozenset()
    return frozenset(name for name, (words, short) in rows if _in(words, spelt) or (coded and _in(short, spelt)))


def is_qualified(text: str) -> bool:
    """Whether the text holds an adjective of the chest, such as "thoracic"."""
    return _in(_pattern(_vocabulary()["part"]["chest"]["adjective"]), _spelt(text))


def _in(pattern: re.Pattern[str], spelt: str) -> bool:
    return pattern.search(spelt) is not None


@lru_cache(maxsize=64)  # the texts of one image, which several rules ask about
def _spelt(text: str) -> str:
    """The words in capitals and without accents, one blank between them: "Thorax p.a./lat" is "THORAX P A LAT"."""
    letters = unicodedata.normalize("NFKD", text[:_LONGEST].upper().translate(_STROKES))
    bare = "".join(letter for letter in letters if unicodedata.category(letter) not in ("Mn", "Mc"))
    return " ".join(re.split(r"[\W_\d]+", unicodedata.normalize("NFC", bare))).strip()


@lru_cache
def _table(kind: str) -> dict[str, tuple[re.Pattern[str], re.Pattern[str]]]:
    rows = _vocabulary()[kind]
    return {name: (_pattern(row["words"]), _pattern(row.get("short", ""))) for name, row in rows.items()}


@lru_cache
def _pattern(words: str) -> re.Pattern[str]:
    """Whole words or phrases; with no words a pattern that never matches."""
    spelt = [_spelt_pattern(word) for word in words.split()]
    return re.compile(rf"(?<!\S)(?:{'|'.join(spelt)})(?!\S)" if spelt else r"(?!)")


def _spelt_pattern(word: str) -> str:
    parts = re.split(r"(\*|\[\^[A-Z]+\]|_)", word)
    signs = {"*": r"\S*", "_": " "}
    return "".join(
        signs.get(part, part.replace("[^", r"[^\s") if part.startswith("[^") else _spelt(part)) for part in parts
    )


@lru_cache
def _vocabulary() -> dict[str, dict[str, dict[str, str]]]:
    return tomllib.loads(files("dicom_io.image.selection").joinpath("vocabulary.toml").read_text(encoding="utf-8"))
