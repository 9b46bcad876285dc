"""dicom_io.image.selection: which images are for the model, with a reason for each verdict."""

from pathlib import Path
from typing import Any

import pytest
from pydicom import uid
from pydicom.dataset import Dataset

from dicom_io.identity import MANUFACTURER
from dicom_io.image.header import Header, read_header
from dicom_io.image.selection import SelectionRules, select

CHEST = "a frontal chest radiograph as far as its header tells"
SC = "a Secondary Capture, not an image as the modality made it"
# Every real file with the reason that stands in its verdict
REAL = {
    "ImagingDataCommons__dx_image": "not a human patient",
    "fo-dicom__CR-ModalitySequenceLUT": "no BodyPartExamined, and a description says TEETH",
    "fo-dicom__chrJapMulti": CHEST,
    "fo-dicom__chrJapMultiExplicitIR6": CHEST,
    "ivmartel__gdcm-CR-MONO1-10-chest": CHEST,
    "nhsx__1.3.6.1.4.1.11129.5.5.110503645592756492463169821050252582267888": SC,
    "orthanc-mirrors__CR000000": "BodyPartExamined is another value, not the chest",
    "orthanc-mirrors__Issue56-NoPixelData": "not a human patient",
    "pydicom__6154": "BodyPartExamined is CSPINE, not the chest",
    "pydicom__6247": "BodyPartExamined is CSPINE, not the chest",
    "pydicom__6278": "BodyPartExamined is CSPINE, not the chest",
    "robyoung__MG1_J2KI": SC,
    "robyoung__MG1_JPLY": SC,
    "robyoung__RG1_J2KI": CHEST,
    **{f"robyoung__RG2_{kind}": "BodyPartExamined is HIP, not the chest"
       for kind in ("J2KI", "JLSL", "JLSN", "JPLL", "JPLY", "RLE")},
    **{f"robyoung__RG3_{kind}": "BodyPartExamined is EXTREMITY, not the chest"
       for kind in ("J2KI", "J2KR", "JLSL", "JPLL", "JPLY", "RLE")},
    **{f"udacity__test{number}": SC for number in (1, 2, 4, 6)},
}  # fmt: skip


def header(**elements: Any) -> Header:
    """The header of a chest radiograph, with these elements changed; None takes one away."""
    ds = Dataset()
    ds.file_meta = Dataset()
    values = {"SOPClassUID": uid.ComputedRadiographyImageStorage, "Modality": "CR", "BodyPartExamined": "CHEST",
              "ViewPosition": "PA", **elements}  # fmt: skip
    for keyword, value in values.items():
        if value is not None:
            setattr(ds, keyword, value)
    return Header(Path("none.dcm"), ds, uid.ExplicitVRLittleEndian, 0)


def item(**elements: Any) -> Dataset:
    ds = Dataset()
    for keyword, value in elements.items():
        setattr(ds, keyword, value)
    return ds


@pytest.mark.parametrize("name", REAL)
def test_every_real_file_has_its_verdict(shared: Path, name: str) -> None:
    """Each of the 30 real files is taken or ignored for the reason that a person would give."""
    verdict = select(read_header(shared / "data" / "dicom" / f"{name}.dcm"))
    assert verdict.reason == REAL[name]
    assert verdict.eligible == (REAL[name] == CHEST)
    assert verdict.kind == ("eligible" if verdict.eligible else "ignored")


def test_all_real_files_are_listed(shared: Path) -> None:
    """No real file is left out of the table above."""
    assert {file.stem for file in (shared / "data" / "dicom").glob("*.dcm")} == set(REAL)


@pytest.mark.parametrize("part", ["1", "2", "4", "6"])
def test_secondary_captures_are_taken_when_told(shared: Path, part: str) -> None:
    """With secondary_capture on, the converted chest radiographs are taken: RIBCAGE is a chest by another name."""
    file = shared / "data" / "dicom" / f"udacity__test{part}.dcm"
    assert select(read_header(file), SelectionRules(secondary_capture=True)).eligible


@pytest.mark.parametrize("elements", [
    {}, {"BodyPartExamined": None}, {"ViewPosition": None}, {"Modality": None}, {"ViewPosition": "AP"},
    {"BodyPartExamined": "thorax"}, {"BodyPartExamined": "LUNG"}, {"ViewPosition": "W033"},
    {"SOPClassUID": uid.DigitalXRayImageStorageForPresentation, "Modality": "DX"},
    {"BodyPartExamined": None, "AnatomicRegionSequence": [item(CodeValue="816094009")]},
    {"PatientSpeciesDescription": "Homo sapiens"}, {"PatientSpeciesCodeSequence": [item(CodeValue="337915000")]},
    {"ImageType": ["DERIVED", "SECONDARY"]}, {"ViewPosition": None, "PatientOrientation": ["L", "F"]},
    {"BodyPartExamined": None, "StudyDescription": "Chest, lumbar spine", "SeriesDescription": "Chest PA"},
    {"PatientAge": "005Y"}, {"SeriesDescription": "flat bilateral related"},
    {"ViewPosition": None, "StudyDescription": "Chest PA and lateral"},
], ids=str)  # fmt: skip
def test_a_chest_is_taken(elements: dict[str, Any]) -> None:
    """Missing tags refuse nothing, and the words of a whole study do not speak for one image."""
    assert select(header(**elements)).eligible


@pytest.mark.parametrize(("elements", "reason"), [
    ({"Modality": "CT"}, "Modality is CT"),
    ({"SOPClassUID": uid.CTImageStorage, "Modality": "CT"}, "is no radiograph"),
    ({"SOPClassUID": uid.DigitalXRayImageStorageForProcessing}, "For Processing"),
    ({"PresentationIntentType": "FOR PROCESSING"}, "FOR PROCESSING"),
    ({"BodyPartExamined": "ABDOMEN"}, "ABDOMEN"), ({"BodyPartExamined": "RIB"}, "RIB"),
    ({"BodyPartExamined": "CHESTABDOMEN"}, "CHESTABDOMEN"),
    ({"BodyPartExamined": None, "AnatomicRegionSequence": [item(CodeValue="818981001")]}, "818981001"),
    ({"BodyPartExamined": None, "SeriesDescription": "Knee left"}, "KNEE"),
    ({"ViewPosition": "LL"}, "LL"), ({"ViewPosition": "lateral"}, "LATERAL"), ({"ViewPosition": "RAO"}, "RAO"),
    ({"ViewPosition": None, "SeriesDescription": "Chest LAT"}, "LAT"),
    ({"ViewPosition": None, "ViewCodeSequence": [item(CodeMeaning="left lateral")]}, "LATERAL"),
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
def test_what_is_not_ours_is_ignored_with_its_reason(elements: dict[str, Any], reason: str) -> None:
    """Each rule refuses what it is for, and says why."""
    verdict = select(header(**elements))
    assert not verdict.eligible
    assert reason in verdict.reason


@pytest.mark.parametrize(("rules", "elements"), [
    (SelectionRules(modalities=("CR", "DX", "RG")), {"Modality": "RG"}),
    (SelectionRules(for_processing=True), {"SOPClassUID": uid.DigitalXRayImageStorageForProcessing,
                                           "PresentationIntentType": "FOR PROCESSING"}),
    (SelectionRules(secondary_capture=True), {"SOPClassUID": uid.SecondaryCaptureImageStorage}),
    (SelectionRules(body_parts=("HAND",)), {"BodyPartExamined": "HAND"}),
    (SelectionRules(excluded_views=("AP",)), {"ViewPosition": "LL"}),
    (SelectionRules(animals=True), {"PatientSpeciesDescription": "Canis lupus"}),
    (SelectionRules(read_descriptions=False), {"ViewPosition": None, "SeriesDescription": "Chest LAT"}),
    (SelectionRules(minimum_age_years=18), {"PatientAge": "018Y"}),
    (SelectionRules(minimum_age_years=18), {}),
], ids=str)  # fmt: skip
def test_rules_can_be_changed(rules: SelectionRules, elements: dict[str, Any]) -> None:
    """What the defaults ignore, a site can take; an unknown age passes."""
    assert select(header(**elements), rules).eligible


def test_minimum_age() -> None:
    """A child is not analysed by a model for adults."""
    verdict = select(header(PatientAge="017Y"), SelectionRules(minimum_age_years=18))
    assert verdict.reason == "younger than 18 years"


def test_our_own_are_never_taken_whatever_the_rules() -> None:
    """No setting makes a loop possible."""
    rules = SelectionRules(secondary_capture=True, animals=True)
    ours = header(SOPClassUID=uid.SecondaryCaptureImageStorage, Manufacturer=MANUFACTURER)
    assert select(ours, rules).reason == "made by this program"


def test_reasons_hold_no_free_text() -> None:
    """A name typed into the body part or a description is not repeated."""
    for elements in ({"BodyPartExamined": "Müller, Hand"},
                     {"BodyPartExamined": None, "SeriesDescription": "Hand Müller"},
                     {"ViewPosition": None, "SeriesDescription": "Müller LAT"}):  # fmt: skip
        assert "ller" not in select(header(**elements)).reason
