"""dicom_io.results.language and its catalogues: every text that a radiologist reads is said in every language."""

import string
from collections.abc import Iterator
from datetime import datetime

import pytest
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po

from dicom_io.composite import codes, structures
from dicom_io.results.language import LOCALES, Language, languages, offered
from tests.conftest import ROOT

KEYWORDS = {"say": None, "say_many": (1, 2), "marked": None}
OTHERS = [code for code in languages() if code != "en"]

Message = str | tuple[str, ...]


def said() -> set[Message]:
    """Every sentence of the modules that radiologists' text is in, and the names of findings and structures."""
    found = extract_from_dir(ROOT / "dicom_io" / "results", [("**.py", "python")], keywords=KEYWORDS)
    names = {finding.display for finding in codes.findings().values()} | {codes.PATHOLOGY.meaning}
    names |= {structure.display for structure in structures.structures().values()}
    return {message for _, _, message, _, _ in found} | names


def catalogue(code: str) -> dict[Message, tuple[str, ...]]:
    """The translations of a catalogue: a singular, or all plural forms."""
    with (LOCALES / f"{code}.po").open("rb") as file:
        messages = [message for message in read_po(file, code, abort_invalid=True) if message.id]
    return {m.id: m.string if isinstance(m.string, tuple) else (m.string,) for m in messages}  # type: ignore[misc]


def fields(texts: Iterator[str] | tuple[str, ...]) -> set[str]:
    return {name for text in texts for _, name, _, _ in string.Formatter().parse(text) if name}


@pytest.mark.parametrize("code", OTHERS)
def test_every_sentence_is_translated(code: str) -> None:
    """Nothing that a radiologist reads is left in English, and no entry stays that nobody says."""
    entries = catalogue(code)
    empty = {message for message, strings in entries.items() if not all(strings)}
    assert said() - (entries.keys() - empty) == set()
    assert entries.keys() - said() == set()


@pytest.mark.parametrize("code", OTHERS)
def test_translations_name_the_same_values(code: str) -> None:
    """A translation has the places for values that the English sentence has."""
    for message, strings in catalogue(code).items():
        expected = fields(message if isinstance(message, tuple) else (message,))
        assert {frozenset(fields((text,))) for text in strings} == {frozenset(expected)}, message


@pytest.mark.parametrize("code", OTHERS)
def test_western_european_languages_fit_into_latin_1(code: str) -> None:
    """Text in ISO_IR 100 is written with all its letters."""
    assert [text for strings in catalogue(code).values() for text in strings if not is_latin_1(text)] == []


def is_latin_1(text: str) -> bool:
    return all(ord(character) < 256 for character in text)


def test_extraction_finds_what_is_said() -> None:
    """The test above would find a sentence that is missing: those of the summary, of tables, and plurals are found."""
    sentences = said()
    assert "AI: no finding above threshold" in sentences
    assert "the model reads frontal images only." in sentences
    assert ("AI: {number} finding above threshold", "AI: {number} findings above threshold") in sentences
    assert len(sentences) > 60


def test_what_no_catalogue_has_is_said_in_english() -> None:
    """A sentence that nobody has translated yet is said in English rather than not at all."""
    assert Language("fr").say("Nothing like this is in a catalogue: {number}", number=1).endswith(": 1")


def test_a_language_is_offered_by_its_tag() -> None:
    """English comes first and is the default; each other language is one catalogue, with its code for the report."""
    assert offered() == ("en-US", "fr")
    assert Language.of("en-US") == Language()
    assert Language.of("fr").say("AI: no finding above threshold") == "IA : aucune anomalie au-dessus du seuil"
    assert codes.language_code("en-US") == codes.Code("en-US", "RFC5646", "English (United States)")
    assert codes.language_code("fr") == codes.Code("fr", "RFC5646", "French")


def test_numbers_and_dates() -> None:
    """Singular and plural, decimal sign, day and month are those of the language."""
    french, english = Language("fr"), Language()
    one, many = "AI: {number} finding above threshold", "AI: {number} findings above threshold"
    assert english.say_many(one, many, 2) == "AI: 2 findings above threshold"
    assert french.say_many(one, many, 1) == "IA : 1 anomalie au-dessus du seuil"
    assert (english.decimal("84.10"), french.decimal("84.10")) == ("84.10", "84,10")
    at = datetime(2026, 11, 20, 9, 12)
    assert (english.day_and_time(at), french.day_and_time(at)) == ("20 Nov 2026 09:12", "20/11/2026 09:12")
