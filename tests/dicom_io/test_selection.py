"""dicom_io.image.selection: each image is accepted or ignored, with the reason."""

from pathlib import Path
from typing import Any

import pytest
from pydicom import uid

from dicom_io.identity import MANUFACTURER
from dicom_io.image.header import read_header
from dicom_io.image.selection import SelectionRules, select
from dicom_io.radiographs import RADIOGRAPH_SOP_CLASSES
from tests.support.selection import header, item, rules

CHEST = "a frontal chest radiograph as far as its header tells"
SC = "a Secondary Capture, not an image as the modality made it"
# Every real file with the reason of its verdict where Secondary Capture is switched off
REAL = {
    "ImagingDataCommons__dx_image": "not a human patient",
    "fo-dicom__CR-ModalitySequenceLUT": "another part: teeth (Series Description)",
    "fo-dicom__chrJapMulti": CHEST,
    "fo-dicom__chrJapMultiExplicitIR6": CHEST,
    "ivmartel__gdcm-CR-MONO1-10-chest": CHEST,
    "nhsx__1.3.6.1.4.1.11129.5.5.110503645592756492463169821050252582267888": SC,
    "orthanc-mirrors__CR000000": "another part: pelvis (Series Description)",
    "orthanc-mirrors__Issue56-NoPixelData": "not a human patient",
    "pydicom__6154": "another part: spine (Body Part Examined)",
    "pydicom__6247": "another part: spine (Body Part Examined)",
    "pydicom__6278": "another part: spine (Body Part Examined)",
    "robyoung__MG1_J2KI": SC,
    "robyoung__MG1_JPLY": SC,
    "robyoung__RG1_J2KI": CHEST,
    **{f"robyoung__RG2_{kind}": "another part: hip (Body Part Examined)"
       for kind in ("J2KI", "JLSL", "JLSN", "JPLL", "JPLY", "RLE")},
    **{f"robyoung__RG3_{kind}": "another part: extremity (Body Part Examined)"
       for kind in ("J2KI", "J2KR", "JLSL", "JPLL", "JPLY", "RLE")},
    **{f"udacity__test{number}": SC for number in (1, 2, 4, 6)},
}  # fmt: skip


@pytest.mark.parametrize("name", REAL)
def test_every_real_file_has_its_verdict(shared: Path, name: str) -> None:
    """Each of the 30 real files is accepted or ignored for the reason that a person would give."""
    verdict = select(read_header(shared / "data" / "dicom" / f"{name}.dcm"), rules(secondary_capture=False))
    assert verdict.reason == REAL[name]
    assert verdict.eligible == (REAL[name] == CHEST)
    assert verdict.kind == ("eligible" if verdict.eligible else "ignored")


def test_all_real_files_are_listed(shared: Path) -> None:
    """No real file is left out of the table above."""
    assert {file.stem for file in (shared / "data" / "dicom").glob("*.dcm")} == set(REAL)


@pytest.mark.parametrize("part", ["1", "2", "4", "6"])
def test_secondary_captures_are_accepted_by_default(shared: Path, part: str) -> None:
    """Without a [select] table the converted chest radiographs are accepted: RIBCAGE is a chest by another name."""
    file = shared / "data" / "dicom" / f"udacity__test{part}.dcm"
    assert select(read_header(file), rules()).eligible


@pytest.mark.parametrize("elements", [
    {}, {"BodyPartExamined": None}, {"ViewPosition": None}, {"Modality": None}, {"ViewPosition": "AP"},
    {"Modality": "DR"}, {"Modality": "RG"}, {"Modality": "XR"}, {"Modality": "X-RAY"}, {"Modality": "OT"},
    {"Modality": ["CR", "SR"]},
    {"BodyPartExamined": "thorax"}, {"BodyPartExamined": "LUNG"}, {"ViewPosition": "W033"},
    {"SOPClassUID": uid.DigitalXRayImageStorageForPresentation, "Modality": "DX"},
    {"BodyPartExamined": None, "AnatomicRegionSequence": [item(CodeValue="816094009")]},
    {"PatientSpeciesDescription": "Homo sapiens"}, {"PatientSpeciesCodeSequence": [item(CodeValue="337915000")]},
    {"ImageType": ["DERIVED", "SECONDARY"]}, {"ViewPosition": None, "PatientOrientation": ["L", "F"]},
    {"BodyPartExamined": None, "StudyDescription": "Chest, lumbar spine", "SeriesDescription": "Chest PA"},
    {"PatientAge": "005Y"}, {"SeriesDescription": "flat bilateral related"},
    {"ViewPosition": None, "StudyDescription": "Chest PA and lateral"},
], ids=str)  # fmt: skip
def test_a_chest_is_accepted(elements: dict[str, Any]) -> None:
    """Missing tags reject nothing, and the description of the whole study says nothing about one image."""
    assert select(header(**elements), rules(minimum_age_years=0)).eligible


@pytest.mark.parametrize(("elements", "reason"), [
    ({"Modality": "CT"}, "Modality is CT"), ({"Modality": ["CT", "SR"]}, "Modality is CT and SR"),
    ({"SOPClassUID": uid.CTImageStorage, "Modality": "CT"}, "is not a radiograph"),
    ({"SOPClassUID": uid.DigitalXRayImageStorageForProcessing}, "For Processing"),
    ({"PresentationIntentType": "FOR PROCESSING"}, "FOR PROCESSING"),
    ({"BodyPartExamined": "ABDOMEN"}, "abdomen"), ({"BodyPartExamined": "RIB"}, "view of the ribs"),
    ({"BodyPartExamined": "CHESTABDOMEN"}, "more than the chest: abdomen too"),
    ({"BodyPartExamined": None, "AnatomicRegionSequence": [item(CodeValue="818981001")]},
     "another part: abdomen (Anatomic Region Sequence)"),
    ({"BodyPartExamined": None, "SeriesDescription": "Knee left"}, "leg (Series Description)"),
    ({"ViewPosition": "LL"}, "a lateral view: the model reads frontal views only"),
    ({"ViewPosition": "lateral"}, "a lateral view"),
    ({"ViewPosition": "RAO"}, "an oblique view"),
    ({"ViewPosition": None, "SeriesDescription": "Chest LAT"},
     "a lateral view: the model reads frontal views only (Series Description)"),
    ({"ViewPosition": None, "ViewCodeSequence": [item(CodeMeaning="left lateral")]}, "View Code Sequence"),
    ({"ViewPosition": None, "PatientOrientation": ["A", "F"]}, "lateral"),
    ({"PatientSpeciesDescription": "Canis lupus"}, "not a human"),
    ({"PatientBreedDescription": "Beagle"}, "not a human"),
    ({"PatientSpeciesCodeSequence": [item(CodeValue="448771007")]}, "not a human"),
    ({"ResponsiblePersonRole": "OWNER"}, "not a human"),
    ({"ResponsibleOrganization": "Veterinary Clinic"}, "not a human"),
    ({"ImageType": ["DERIVED", "PRIMARY", "TOMOSYNTHESIS"]}, "TOMOSYNTHESIS"),
    ({"Manufacturer": MANUFACTURER}, "made by this program"), ({"Manufacturer": "Hilum"}, "made by this program"),
    ({"ManufacturerModelName": MANUFACTURER}, "made by this program"),
    ({"ContributingEquipmentSequence": [item(Manufacturer=MANUFACTURER)]}, "made by this program"),
], ids=str)  # fmt: skip
def test_what_is_not_a_chest_is_ignored_with_its_reason(elements: dict[str, Any], reason: str) -> None:
    """Each rule rejects what it is for, and says why."""
    verdict = select(header(**elements), rules())
    assert not verdict.eligible
    assert reason in verdict.reason


@pytest.mark.parametrize(("changed", "elements"), [
    (rules(modalities=("CR", "DX", "RG")), {"Modality": "RG"}),
    (rules(for_processing=True), {"SOPClassUID": uid.DigitalXRayImageStorageForProcessing,
                                           "PresentationIntentType": "FOR PROCESSING"}),
    (rules(secondary_capture=True), {"SOPClassUID": uid.SecondaryCaptureImageStorage}),
    (rules(body_parts=("HAND",)), {"BodyPartExamined": "HAND"}),
    (rules(excluded_views=("AP",)), {"ViewPosition": "LL"}),
    (rules(animals=True), {"PatientSpeciesDescription": "Canis lupus"}),
    (rules(read_descriptions=False), {"ViewPosition": None, "SeriesDescription": "Chest LAT"}),
    (rules(minimum_age_years=18), {"PatientAge": "018Y"}),
    (rules(minimum_age_years=18), {}),
], ids=str)  # fmt: skip
def test_rules_can_be_changed(changed: SelectionRules, elements: dict[str, Any]) -> None:
    """A site can accept what the defaults ignore; an unknown age is accepted."""
    assert select(header(**elements), changed).eligible


def test_an_unknown_age_is_said() -> None:
    """An image of a patient of unknown age is analysed with a remark; with a known age, or no limit, there is none."""
    unknown = {"PatientAge": "", "PatientBirthDate": ""}
    assert "age is unknown" in select(header(**unknown), rules(minimum_age_years=18)).remark
    assert select(header(**unknown), rules(minimum_age_years=0)).remark == ""
    assert select(header(PatientAge="044Y"), rules(minimum_age_years=18)).remark == ""
    assert select(header(PatientBirthDate="19700101", StudyDate="20200101"), rules(minimum_age_years=18)).remark == ""


def test_minimum_age() -> None:
    """By default a child is not analysed; a patient of 18 is."""
    verdict = select(header(PatientAge="017Y"), rules())
    assert verdict.reason == "younger than 18 years: the model is not meant for children"
    assert select(header(PatientAge="018Y"), rules()).eligible


def test_every_stored_sop_class_can_be_analysed() -> None:
    """The receiver accepts no SOP class that selection would always ignore."""
    widest = rules(for_processing=True, secondary_capture=True)
    for sop_class_uid in RADIOGRAPH_SOP_CLASSES:
        assert select(header(SOPClassUID=sop_class_uid), widest).eligible, sop_class_uid


def test_results_of_hilum_are_never_accepted() -> None:
    """No setting lets hilum analyse its own results, which would never end."""
    own = header(SOPClassUID=uid.SecondaryCaptureImageStorage, Manufacturer=MANUFACTURER)
    assert select(own, rules(animals=True)).reason == "made by this program"


def test_reasons_hold_no_free_text() -> None:
    """A name typed into the body part or a description is not repeated."""
    for elements in ({"BodyPartExamined": "Müller, Hand"},
                     {"BodyPartExamined": None, "SeriesDescription": "Hand Müller"},
                     {"ViewPosition": None, "SeriesDescription": "Müller LAT"}):  # fmt: skip
        assert "ller" not in select(header(**elements), rules()).reason


SIGNS = [
    ("chest", {"ViewPosition": "LL"}),
    ("chest", {"PatientAge": "007Y"}),
    ("chest", {"Modality": "CT"}),
    ("chest", {"SOPClassUID": uid.DigitalXRayImageStorageForProcessing}),
    ("chest", {"BodyPartExamined": "RIBS"}),
    ("chest", {"BodyPartExamined": None, "ViewPosition": "LL"}),
    ("chest", {"BodyPartExamined": "TORSO", "ViewPosition": "LL"}),
    ("chest", {"BodyPartExamined": "CHEST ABDOMEN"}),
    ("chest", {"BodyPartExamined": "SKULL", "SeriesDescription": "Chest PA"}),
    ("chest", {"BodyPartExamined": "HAND", "StudyDescription": "Chest"}),
    ("chest", {"PatientBreedDescription": "Beagle"}),
    ("chest", {"SOPClassUID": uid.SecondaryCaptureImageStorage, "Modality": "OT"}),
    ("chest", {"ImageType": ["DERIVED", "PRIMARY"], "SeriesDescription": "Soft tissue"}),
    ("other", {"BodyPartExamined": "HAND"}),
    ("other", {"BodyPartExamined": "HAND", "StudyDescription": "Chest, hand"}),
    ("other", {"BodyPartExamined": None, "SeriesDescription": "Knee left"}),
    ("other", {"BodyPartExamined": None, "Modality": "MG"}),
    ("other", {"BodyPartExamined": "THORACIC SPINE"}),
    ("other", {"SOPClassUID": uid.SecondaryCaptureImageStorage, "Modality": "DOC"}),
    (
        "other",
        {
            "SOPClassUID": uid.SecondaryCaptureImageStorage,
            "Modality": "OT",
            "BodyPartExamined": None,
            "StudyDescription": "Chest",
        },
    ),
    ("result", {"Manufacturer": MANUFACTURER}),
    ("result", {"SOPClassUID": uid.SecondaryCaptureImageStorage, "SeriesDescription": "CXR AI result"}),
]


@pytest.mark.parametrize(("sign", "elements"), SIGNS, ids=str)
def test_what_is_not_analysed_tells_whether_it_may_be_a_chest(sign: str, elements: dict[str, Any]) -> None:
    """A chest by any sign is one that somebody waits for; a hand, a scanned letter and a result are not."""
    verdict = select(header(**elements), rules())
    assert (verdict.eligible, verdict.sign) == (False, sign)
