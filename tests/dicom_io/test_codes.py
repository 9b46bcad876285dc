"""dicom_io.composite.codes: the coded concepts are those of the standard, and every known finding has one."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom.sr._concepts_dict import concepts

from dicom_io.composite import codes
from dicom_io.composite.codes import Code, UnknownFinding, check_findings, coded, findings
from tests.support.sample_results import NIH

TORCHXRAYVISION = ("Lung Lesion", "Fracture", "Lung Opacity", "Enlarged Cardiomediastinum")

OURS = [value for value in vars(codes).values() if isinstance(value, Code)]
OURS += [
    *codes.SITES.values(),
    *codes.CALLS.values(),
    *codes.MODALITIES.values(),
    *(f.code for f in findings().values()),
]

# in PS3.16, but in no context group, which is all that pydicom's dictionary has
WITHOUT_CONTEXT_GROUP = {"C0034375", "705057003", "en-US"}


@pytest.mark.parametrize("label", [*NIH, *TORCHXRAYVISION, "Tuberculosis", "COVID-19"])
def test_each_known_label_has_a_code(label: str) -> None:
    """Every label of the common public models has a concept and a site, in any usual spelling."""
    concept = coded(label)
    assert concept.site in codes.SITES.values()
    assert coded(label.lower().replace("_", " ")) == concept
    assert coded(label.upper().replace(" ", "_")) == concept


def test_unknown_labels_are_named_at_start() -> None:
    """A bundle with a label that has no code is refused with that label and what to do."""
    check_findings(NIH)
    with pytest.raises(UnknownFinding, match=r"'Ectopia', 'Situs inversus'.*\[model\] findings"):
        check_findings(["Mass", "Ectopia", "Situs inversus"])


SKIN = """[Melanoma]
code = "MELANOMA"
scheme = "99SITE"
meaning = "Melanoma of skin"
site = {code = "39937001", scheme = "SCT", meaning = "Skin"}
labels = ["mel"]
"""


@pytest.fixture
def table() -> Iterator[None]:
    """Findings that a test adds are gone after it."""
    yield
    codes.findings.cache_clear()
    codes.coded.cache_clear()


def test_a_site_brings_its_own_findings(table: None, tmp_path: Path) -> None:
    """The findings of a file are known by name and label, with their codes and site; the others stay."""
    (tmp_path / "own.toml").write_text(SKIN)
    codes.add_findings(tmp_path / "own.toml")
    check_findings(["MEL", "Melanoma", *NIH])
    assert coded("mel").code == Code("MELANOMA", "99SITE", "Melanoma of skin")
    assert (coded("mel").site.meaning, coded("mel").status) == ("Skin", "local")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[a", "holds no findings"),
        ("a = 1", r"\[a\] must have code"),
        (SKIN.replace("99SITE", "99A_VERY_LONG_SCHEME"), "scheme is .* expected 1 to 16 characters"),
        (SKIN.replace('meaning = "Melanoma of skin"\n', ""), "meaning is None"),
        (SKIN.partition("site =")[0] + 'site = "elbow"', "the site 'elbow'"),
        (SKIN + 'colour = "red"', "alone"),
    ],
)
def test_a_file_of_findings_that_cannot_be_used(text: str, message: str, table: None, tmp_path: Path) -> None:
    """The error says what is wrong in which table, and what one looks like."""
    (tmp_path / "own.toml").write_text(text)
    with pytest.raises(UnknownFinding, match=message):
        codes.add_findings(tmp_path / "own.toml")
    with pytest.raises(UnknownFinding):
        check_findings(["Melanoma"])


@pytest.mark.parametrize("code", OURS, ids=lambda code: f"{code.scheme} {code.value}")
def test_code_fits_its_elements(code: Code) -> None:
    """Value and scheme have at most 16 characters, the meaning at most 64, in ASCII, none of them empty (PS3.3 8.8)."""
    assert 0 < len(code.value) <= 16
    assert 0 < len(code.scheme) <= 16
    assert 0 < len(code.meaning) <= 64
    assert (code.value + code.scheme + code.meaning).isascii()


@pytest.mark.parametrize("code", [c for c in OURS if c.scheme in ("DCM", "UCUM")], ids=lambda code: code.value)
def test_code_of_the_standard_means_what_the_standard_says(code: Code) -> None:
    """A code of the DICOM terminology carries the meaning that PS3.16 gives it."""
    meanings = {found[code.value][0].lower() for found in concepts[code.scheme].values() if code.value in found}
    assert code.meaning.lower() in meanings


def test_standard_status_is_true_of_the_dictionary() -> None:
    """A finding with status standard is in PS3.16 with its meaning, except COVID-19, which its publisher lists."""
    for finding in findings().values():
        known = {
            found[finding.code.value][0].lower()
            for found in concepts.get(finding.code.scheme, {}).values()
            if finding.code.value in found
        }
        if finding.status == "standard" and finding.code.value != "840539006":
            assert finding.code.meaning.lower() in known, finding.display


def test_cardiomegaly_is_not_the_fetal_one() -> None:
    """The dictionary's only Cardiomegaly belongs to fetal ultrasound (CID 12248)."""
    assert coded("Cardiomegaly").code.value == "8186001"


def test_local_codes_are_marked() -> None:
    """A finding without a verified code has a local one, whose scheme begins with 99, and its status says so."""
    local = {f.display for f in findings().values() if f.status == "local"}
    assert local == {"Pleural thickening", "Lung lesion", "Enlarged cardiomediastinum"}
    for finding in findings().values():
        assert finding.status in ("standard", "corroborated", "local")
        assert (finding.code.scheme == codes.LOCAL_SCHEME) == (finding.status == "local")
    assert re.fullmatch(r"99[A-Z]+", codes.LOCAL_SCHEME)
    assert codes.LOCAL_SCHEME_UID.startswith("2.25.")


def test_no_two_findings_share_a_code() -> None:
    """Each finding has a code of its own, so that a reader of codes alone can tell findings apart."""
    distinct = {finding.display: finding.code.value for finding in findings().values()}
    assert len(set(distinct.values())) == len(distinct)
