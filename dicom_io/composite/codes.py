"""Coded concepts: those of the templates that we write, and the table of findings in `findings.toml`."""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from babel import Locale

from dicom_io.identity import derived_uid


class UnknownFinding(ValueError):
    """A model has findings without a coded concept; the text lists them and says what to do."""


@dataclass(frozen=True)
class Code:
    """A coded concept (PS3.3 8.8). Value and scheme have at most 16 characters, the meaning at most 64."""

    value: str
    scheme: str
    meaning: str


@dataclass(frozen=True)
class CodedFinding:
    """A finding: name for a reader, concept, site, and how well the code is verified (see `findings.toml`).

    The name is the code's meaning, so that a finding has one name wherever it stands.
    """

    display: str
    code: Code
    site: Code
    status: str


# Our private coding scheme; its designator begins with 99 (PS3.16 8.2)
LOCAL_SCHEME = "99HILUM"
LOCAL_SCHEME_UID = derived_uid("coding scheme", LOCAL_SCHEME)
LOCAL_SCHEME_NAME = "Concepts of hilum that no standard scheme has"

# Document titles, CID 7021 (extensible)
IMAGING_MEASUREMENT_REPORT = Code("126000", "DCM", "Imaging Measurement Report")
AI_CHEST_RADIOGRAPH_RESULT = Code("AICXR", LOCAL_SCHEME, "AI Chest Radiograph Result")
TITLES = {
    "imaging-measurement-report": IMAGING_MEASUREMENT_REPORT,
    "ai-chest-radiograph-result": AI_CHEST_RADIOGRAPH_RESULT,
}

# TID 1204, CID 5000
LANGUAGE = Code("121049", "DCM", "Language of Content Item and Descendants")

# TID 1002, 1004
OBSERVER_TYPE = Code("121005", "DCM", "Observer Type")
DEVICE = Code("121007", "DCM", "Device")
DEVICE_OBSERVER_UID = Code("121012", "DCM", "Device Observer UID")
DEVICE_OBSERVER_NAME = Code("121013", "DCM", "Device Observer Name")
DEVICE_OBSERVER_MANUFACTURER = Code("121014", "DCM", "Device Observer Manufacturer")
DEVICE_OBSERVER_MODEL_NAME = Code("121015", "DCM", "Device Observer Model Name")
DEVICE_OBSERVER_SERIAL_NUMBER = Code("121016", "DCM", "Device Observer Serial Number")

# TID 1500, CID 100
PROCEDURE_REPORTED = Code("121058", "DCM", "Procedure reported")
IMAGING_PROCEDURE = Code("363679005", "SCT", "Imaging procedure")
IMAGING_MEASUREMENTS = Code("126010", "DCM", "Imaging Measurements")
QUALITATIVE_EVALUATIONS = Code("C0034375", "UMLS", "Qualitative Evaluations")
SUMMARY = Code("121111", "DCM", "Summary")
COMMENT = Code("121106", "DCM", "Comment")

# TID 1600, 1602, CID 29
IMAGE_LIBRARY = Code("111028", "DCM", "Image Library")
IMAGE_LIBRARY_GROUP = Code("126200", "DCM", "Image Library Group")
SOURCE = Code("260753009", "SCT", "Source")
MODALITY = Code("121139", "DCM", "Modality")
STUDY_DATE = Code("111060", "DCM", "Study Date")
MODALITIES = {
    "CR": Code("CR", "DCM", "Computed Radiography"),
    "DX": Code("DX", "DCM", "Digital Radiography"),
    "RG": Code("RG", "DCM", "Radiographic imaging"),
}

# TID 1501, 300, 320
MEASUREMENT_GROUP = Code("125007", "DCM", "Measurement Group")
TRACKING_IDENTIFIER = Code("112039", "DCM", "Tracking Identifier")
TRACKING_UNIQUE_IDENTIFIER = Code("112040", "DCM", "Tracking Unique Identifier")
FINDING = Code("121071", "DCM", "Finding")
FINDING_SITE = Code("363698007", "SCT", "Finding Site")
SOURCE_OF_MEASUREMENT = Code("121112", "DCM", "Source of Measurement")
# TID 4127 defines it in percent, from 0 to 100
CERTAINTY_OF_FINDING = Code("111012", "DCM", "Certainty of Finding")
PERCENT = Code("%", "UCUM", "Percent")

# where the certainty stands from 0 to 100, a concept that no standard scheme has; UCUM's unity, CID 7181
SCORE = Code("SCORE", LOCAL_SCHEME, "Score with the threshold at 50")
NO_UNITS = Code("1", "UCUM", "no units")

# CID 240. Its (272519000, SCT, "Absent") is never written: a finding below its threshold may still be there
PRESENCE = Code("705057003", "SCT", "Presence")
PRESENT = Code("52101004", "SCT", "Present")
UNDETERMINED = Code("373068000", "SCT", "Undetermined")
CALLS = {"above": PRESENT, "near": UNDETERMINED, "below": UNDETERMINED}

# TID 4019
ALGORITHM_NAME = Code("111001", "DCM", "Algorithm Name")
ALGORITHM_PARAMETERS = Code("111002", "DCM", "Algorithm Parameters")
ALGORITHM_VERSION = Code("111003", "DCM", "Algorithm Version")

# CID 6047
PROCESSING_SUMMARY = Code("111017", "DCM", "CAD Processing and Findings Summary")
ALL_SUCCEEDED_WITHOUT = Code("111241", "DCM", "All algorithms succeeded; without findings")
ALL_SUCCEEDED_WITH = Code("111242", "DCM", "All algorithms succeeded; with findings")
NOT_ALL_SUCCEEDED_WITHOUT = Code("111243", "DCM", "Not all algorithms succeeded; without findings")
NOT_ALL_SUCCEEDED_WITH = Code("111244", "DCM", "Not all algorithms succeeded; with findings")
NONE_SUCCEEDED = Code("111245", "DCM", "No algorithms succeeded; without findings")

# TID 2010, CID 7010
OF_INTEREST = Code("113000", "DCM", "Of Interest")
KEY_OBJECT_DESCRIPTION = Code("113012", "DCM", "Key Object Description")

# CID 7005, Purpose of Reference of Contributing Equipment
PROCESSING_EQUIPMENT = Code("109102", "DCM", "Processing Equipment")

# CID 7202, Purpose of Reference of Source Image
SOURCE_IMAGE = Code("121322", "DCM", "Source image for image processing operation")

# Purpose of Reference from the page to its report, CID 7009
CURRENT_PROCEDURE_EVIDENCE = Code("122073", "DCM", "Current procedure evidence")

# TID 2010: titles of rejection notes (CID 7010, IHE IOCM), and the modifier that the first of them needs (CID 7011)
REJECTED_FOR_QUALITY = Code("113001", "DCM", "Rejected for Quality Reasons")
INCORRECT_WORKLIST_ENTRY = Code("113038", "DCM", "Incorrect Modality Worklist Entry")
DOCUMENT_TITLE_MODIFIER = Code("113011", "DCM", "Document Title Modifier")
OTHER_FAILURE = Code("111220", "DCM", "Other failure")
KEY_OBJECT_DESCRIPTION = Code("113012", "DCM", "Key Object Description")

# whether the model sees any finding at all, a concept that no standard scheme has
PATHOLOGY = Code("ANYFINDING", LOCAL_SCHEME, "Any finding")

# CID 4031 and 7151
SITES = {
    "lung": Code("39607008", "SCT", "Lung"),
    "pleura": Code("3120008", "SCT", "Pleura"),
    "heart": Code("80891009", "SCT", "Heart"),
    "mediastinum": Code("72410000", "SCT", "Mediastinum"),
    "chest": Code("816094009", "SCT", "Chest"),
}
STATUSES = ("standard", "corroborated", "local")
_EXAMPLE = (
    "name a TOML file with [model] findings (and with --findings at import) that has a table for each, such as "
    '[Melanoma] code = "MELANOMA", scheme = "99SITE", meaning = "Melanoma of skin", site = "chest"'
)
ANY_FINDING = CodedFinding(PATHOLOGY.meaning, PATHOLOGY, SITES["chest"], "local")


def language_code(tag: str) -> Code:
    """The code of a language (CID 5000) by its tag of RFC 5646. Raises ValueError for what is none."""
    return Code(tag, "RFC5646", str(Locale.parse(tag, sep="-").english_name))


def _key(label: str) -> str:
    """The label in lower case without blanks, hyphens and underscores."""
    return "".join(c for c in label.casefold() if c not in " _-")


@cache
def findings() -> dict[str, CodedFinding]:
    """Return the table of findings, keyed by `_key` of each name and label: `findings.toml`, and what was added."""
    return _table(tomllib.loads(files("dicom_io.composite").joinpath("findings.toml").read_text(encoding="utf-8")))


def add_findings(path: Path) -> None:
    """Add a site's own findings, a TOML file in the form of `findings.toml`, for the life of this process.

    A finding of the file takes the place of one with the same name. `status` may be left out: "local". `site` is one of
    `SITES`, or a table with code, scheme and meaning. Raises UnknownFinding if the file cannot be used.
    """
    try:
        own = _table(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, _Faulty) as error:
        raise UnknownFinding(f"{path} holds no findings: {error}; {_EXAMPLE}") from error
    findings().update(own)
    coded.cache_clear()


class _Faulty(Exception):
    """A row of a table of findings does not say what it must."""


def _table(rows: Mapping[str, Any]) -> dict[str, CodedFinding]:
    table: dict[str, CodedFinding] = {}
    for name, row in rows.items():
        if not isinstance(row, dict) or set(row) - {"code", "scheme", "meaning", "site", "status", "labels"}:
            raise _Faulty(f"[{name}] must have code, scheme, meaning, site, and may have status and labels alone")
        code, site, status = _code(name, row), row.get("site"), row.get("status", "local")
        where = SITES.get(site) if isinstance(site, str) else _code(f"{name}.site", site)
        if where is None or status not in STATUSES:
            raise _Faulty(f"[{name}] has the site {site!r} and the status {status!r}, expected one of "
                          f"{', '.join(SITES)} (or a table with code, scheme and meaning), and one of "
                          f"{', '.join(STATUSES)}")  # fmt: skip
        for label in (name, *row.get("labels", ())):
            table[_key(str(label))] = CodedFinding(code.meaning, code, where, status)
    return table


def _code(name: str, row: Any) -> Code:
    """Return the code of a row. Its parts must fit their elements (PS3.3 8.8)."""
    parts = {"code": 16, "scheme": 16, "meaning": 64}
    for key, longest in parts.items():
        text = row.get(key) if isinstance(row, dict) else None
        if not isinstance(text, str) or not text.strip() or len(text) > longest or not text.isascii() or "\\" in text:
            raise _Faulty(f"[{name}] {key} is {text!r}, expected 1 to {longest} characters of ASCII")
    return Code(row["code"], row["scheme"], row["meaning"])


@cache
def coded(label: str) -> CodedFinding:
    """Return the coded concept of a model's `label`. Raises UnknownFinding."""
    check_findings([label])
    return findings()[_key(label)]


def check_findings(labels: Iterable[str]) -> None:
    """Raise UnknownFinding for labels without a coded concept; called at the start, not only when a report is due."""
    unknown = [label for label in labels if _key(label) not in findings()]
    if unknown:
        raise UnknownFinding(f"no coded concept for {', '.join(map(repr, unknown))}: {_EXAMPLE}")
