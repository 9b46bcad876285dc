"""Coded concepts: those of the templates that we write, and the table of findings in `findings.toml`."""

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

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
ANY_FINDING = CodedFinding(PATHOLOGY.meaning, PATHOLOGY, SITES["chest"], "local")


def language_code(tag: str) -> Code:
    """The code of a language (CID 5000) by its tag of RFC 5646. Raises ValueError for what is none."""
    return Code(tag, "RFC5646", str(Locale.parse(tag, sep="-").english_name))


def _key(label: str) -> str:
    """The label in lower case without blanks, hyphens and underscores."""
    return "".join(c for c in label.casefold() if c not in " _-")


@cache
def findings() -> dict[str, CodedFinding]:
    """Return the table of `findings.toml`, keyed by `_key` of each name and label; the file is read once."""
    rows = tomllib.loads(files("dicom_io.composite").joinpath("findings.toml").read_text(encoding="utf-8"))
    table: dict[str, CodedFinding] = {}
    for name, row in rows.items():
        code = Code(row["code"], row["scheme"], row["meaning"])
        coded = CodedFinding(row["meaning"], code, SITES[row["site"]], row["status"])
        for label in (name, *row.get("labels", ())):
            table[_key(label)] = coded
    return table


@cache
def coded(label: str) -> CodedFinding:
    """Return the coded concept of a model's `label`. Raises UnknownFinding."""
    check_findings([label])
    return findings()[_key(label)]


def check_findings(labels: Iterable[str]) -> None:
    """Raise UnknownFinding for labels without a coded concept; called at the start, not only when a report is due."""
    unknown = [label for label in labels if _key(label) not in findings()]
    if unknown:
        raise UnknownFinding(
            f"no coded concept for {', '.join(map(repr, unknown))}: add each to dicom_io/composite/findings.toml, "
            f"with a local code of the scheme {LOCAL_SCHEME} where no verified one exists"
        )
