"""The languages in which a radiologist reads a result.

English is written in the source. Every other language is one gettext catalogue, `locales/CODE.po`, which Babel reads:
to add a language, add that file. What a catalogue lacks is said in English, and a test names it.

Babel is imported on use: every command asks which languages there are, and most say nothing in them.
"""

import io
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from gettext import GNUTranslations, NullTranslations
from pathlib import Path

LOCALES = Path(__file__).parent / "locales"
ENGLISH = "en"


@dataclass(frozen=True)
class Language:
    """A language by its code in ISO 639-1, for example "fr"."""

    code: str = ENGLISH

    @classmethod
    def of(cls, tag: str) -> "Language":
        """The language of a tag as a destination's `language` has it (RFC 5646), for example "en-US"."""
        return cls(tag.partition("-")[0])

    def say(self, sentence: str, **values: object) -> str:
        """Return an English sentence in this language; `{name}` in it becomes the value of that name."""
        return _translations(self.code).gettext(sentence).format(**values)

    def say_many(self, one: str, many: str, number: int, **values: object) -> str:
        """Return the one of two sentences that fits `number`, which they may name as `{number}`."""
        return _translations(self.code).ngettext(one, many, number).format(number=number, **values)

    def decimal(self, number: str) -> str:
        """Return a number, for example "84.1", with the decimal sign of this language and as many digits."""
        from babel.numbers import get_decimal_symbol

        return number.replace(".", get_decimal_symbol(self.code))

    def day_and_time(self, at: datetime) -> str:
        """Return a date with its time of day, as `at` has them, for example "20 Nov 2026 09:12"."""
        from babel.dates import format_date

        pattern = "d MMM y" if self.code == ENGLISH else "dd/MM/y"
        return f"{format_date(at, pattern, self.code)} {at:%H:%M}"


def languages() -> tuple[str, ...]:
    """Return the codes of the languages that there are, English first."""
    return (ENGLISH, *sorted(path.stem for path in LOCALES.glob("*.po")))


def offered() -> tuple[str, ...]:
    """Return the tags (RFC 5646) that a destination's `language` may have, the default first."""
    return tuple("en-US" if code == ENGLISH else code for code in languages())


def marked(sentence: str) -> str:
    """Return the same sentence: it stands in a table, is said later, and belongs into the catalogues."""
    return sentence


@cache
def _translations(code: str) -> NullTranslations:
    if code == ENGLISH:
        return NullTranslations()
    from babel.messages.mofile import write_mo
    from babel.messages.pofile import read_po

    compiled = io.BytesIO()
    with (LOCALES / f"{code}.po").open("rb") as file:
        write_mo(compiled, read_po(file, code))
    compiled.seek(0)
    return GNUTranslations(compiled)
