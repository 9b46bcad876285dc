"""dicom_io.image.selection.body_part and view: words, in the languages of the field, instead of lists of values."""

from typing import Any

import pytest
from pydicom.sr.codedict import codes

from dicom_io.image.selection import select
from dicom_io.image.selection.body_part import parts_named
from dicom_io.image.selection.words import named
from tests.support.selection import header, item, rules

CHEST = """\
CHEST_PA|CHEST 2 VIEWS|CHEST SINGLE|CHEST2VIEWS|CHEST-1V|CHEST/LUNGS|PORTCHEST|
PORTABLE CHEST|CHESTAP|CXR|THORAX AP|THORAX_PA|Tórax|TX TORAX|RIB CAGE|RIBCAGE|
TORACE|PECHO|PEITO|PULMÃO|PULMONES|POLMONI|POUMONS|POITRINE|CAGE THORACIQUE|
CAJA TORACICA|BRUSTKORB|BRUST|LUNGE|BORSTKAS|LUNGOR|BRYSTKASSE|BRÖSTKORG|
KLATKA PIERSIOWA|PŁUCA|GÖĞÜS|AKCİĞER|TORAKS|ОГК|ГРУДНАЯ КЛЕТКА|ЛЁГКИЕ|胸部|胸部正位|胸片|肺|
胸部X線|흉부|가슴|폐|MEDIASTINUM|HEART|CHEST RIBS"""
OTHERS = """\
hand:HAND MAIN MANO HÄNDE 手 КИСТЬ NADGARSTEK HÅNDLEDD|
leg:KNEE KNIE GENOU RODILLA JOELHO GINOCCHIO 膝関節 КОЛЕНО KNÄ|
spine:TSPINE T-SPINE LSSPINE BWS BRUSTWIRBELSÄULE BRÖSTRYGG 胸椎 흉추|
abdomen:ABDOMEN ABDÓMEN ADDOME BAUCH БРЮШНАЯ 腹部|head:SKULL SCHÄDEL CRANEO ЧЕРЕП|
shoulder:SHOULDER SCHULTER ÉPAULE HOMBRO SPALLA 肩关节 CLAVICLE|
foot:FOOT FUSS PIED VOET|sternum:STERNUM BRUSTBEIN 胸骨|
pelvis:PELVIS BECKEN BASSIN BACINO|hip:HIP HÜFTE HANCHE|
ribs:RIBS COSTILLAS RIPPEN 肋骨"""
LATERAL = """\
LATERAL LEFT|LAT ERECT|LEFT LATERAL|X-TABLE LAT|CROSS_TABLE|LAT_L|LLAT|L-L|
LATERO-LATERAL|LATÉRAL|PROFIL G|PERFIL|SEITLICH|ZIJDELINGS|BOCZNE|БОКОВАЯ|左侧位|側面|측면|
LAT1|HORIZONTAL BEAM LATERAL"""


def split(text: str) -> list[str]:
    return [value.strip() for value in text.replace("\n", "").split("|")]


@pytest.mark.parametrize("value", split(CHEST))
def test_words_name_the_chest(value: str) -> None:
    """However a device spells the chest, it is analysed."""
    assert parts_named(value, coded=True) == {"chest"}
    assert select(header(SpecificCharacterSet="ISO_IR 192", BodyPartExamined=value), rules()).eligible


@pytest.mark.parametrize(
    ("part", "value"), [(row.split(":")[0], value) for row in split(OTHERS) for value in row.split(":")[1].split()]
)
def test_words_name_other_parts(part: str, value: str) -> None:
    """What the vocabulary knows to be another part is not analysed, and the reason names the part."""
    assert parts_named(value, coded=True) == {part}
    verdict = select(header(SpecificCharacterSet="ISO_IR 192", BodyPartExamined=value), rules())
    assert not verdict.eligible
    assert part in verdict.reason


@pytest.mark.parametrize("value", ["THORACIC SPINE", "RACHIS THORACIQUE", "COLUMNA TORÁCICA", "KRĘGOSŁUP PIERSIOWY"])
def test_an_adjective_of_the_chest_does_not_make_a_spine_a_chest(value: str) -> None:
    """A thoracic spine is a spine."""
    assert parts_named(value) == {"spine"}


@pytest.mark.parametrize(
    "text", ["Manchester protocol", "Rochester", "Orchestra", "bilateral", "TORSO", "WHOLEBODY", "X"]
)
def test_words_that_only_look_alike_name_nothing(text: str) -> None:
    """A word is not found inside another one by accident."""
    assert not parts_named(text, coded=True)
    assert not named(text, "view", coded=True)


def test_the_standard_names_what_we_know() -> None:
    """PS3.16 CID 4009: the vocabulary knows which of the regions of projection radiography hold the chest."""
    chest = {code.meaning for code in codes.cid4009.concepts.values() if "chest" in parts_named(code.meaning, True)}
    assert {"Chest", "Apex of Lung", "Chest and Abdomen", "Neck and Chest", "Mediastinum"} <= chest
    assert not chest & {"Thoracic spine", "Thoraco-lumbar spine", "Sternum", "Hand", "Abdomen", "Shoulder"}


@pytest.mark.parametrize(
    "elements",
    [
        {"BodyPartExamined": "TORSO", "SeriesDescription": "Chest PA"},
        {"BodyPartExamined": "TORSO"},
        {"BodyPartExamined": "SOMETHING", "AnatomicRegionSequence": [item(CodeValue="T-D3000")]},
        {"BodyPartExamined": None, "AnatomicRegionSequence": [item(CodeValue="L1", CodeMeaning="Thorax")]},
        {"BodyPartExamined": None, "AnatomicRegionSequence": [item(CodeValue="L1", CodeMeaning="Region 7")]},
        {"BodyPartExamined": None, "SeriesDescription": "Chest, abdomen"},
        {
            "BodyPartExamined": None,
            "RequestAttributesSequence": [item(RequestedProcedureDescription="Thorax 2 Ebenen")],
        },
        {
            "BodyPartExamined": None,
            "ProcedureCodeSequence": [item(CodeValue="1", CodeMeaning="XR Chest 2 views")],
            "StudyDescription": "Hand",
        },
    ],
    ids=str,
)
def test_what_is_unknown_goes_on(elements: dict[str, Any]) -> None:
    """A value that nobody knows rejects nothing: the next element is asked, and at last the model."""
    assert select(header(**elements), rules()).eligible


@pytest.mark.parametrize(
    "elements",
    [
        {"BodyPartExamined": "TORSO", "SeriesDescription": "Hand left"},
        {"BodyPartExamined": "B?cken", "SeriesDescription": "BÄCKEN FRONTAL", "SpecificCharacterSet": "ISO_IR 100"},
        {"BodyPartExamined": None, "AnatomicRegionSequence": [item(CodeValue="T-D3500", CodeMeaning="Abdomen")]},
        {"BodyPartExamined": None, "RequestedProcedureDescription": "XR Hand 2 views"},
        {"BodyPartExamined": None, "ProcedureCodeSequence": [item(CodeValue="1", CodeMeaning="XR Knee 2 views")]},
    ],
    ids=str,
)
def test_the_next_element_may_name_another_part(elements: dict[str, Any]) -> None:
    """Where Body Part Examined leaves it open, a code or a description can say that it is another part."""
    verdict = select(header(**elements), rules())
    assert (verdict.eligible, verdict.sign) == (False, "other")


@pytest.mark.parametrize("value", split(LATERAL))
def test_words_name_a_lateral_view(value: str) -> None:
    """However a device spells it, a lateral image is not read as a frontal one."""
    verdict = select(header(SpecificCharacterSet="ISO_IR 192", ViewPosition=value, SeriesDescription="Chest"), rules())
    assert verdict.reason == "a lateral view: the model reads frontal views only (View Position)"


@pytest.mark.parametrize(
    ("elements", "view"),
    [
        ({"ViewPosition": "LEFT LATERAL DECUBITUS"}, "decubitus"),
        ({"ViewPosition": "AP LLD"}, "decubitus"),
        ({"ViewPosition": "PA OBLIQUE"}, "oblique"),
        ({"ViewPosition": "LAO 45"}, "oblique"),
        ({"ViewPosition": None, "ViewCodeSequence": [item(CodeValue="399198007")]}, "lateral"),
        (
            {"ViewPosition": None, "ViewCodeSequence": [item(CodeValue="R-10236", CodeMeaning="left lateral")]},
            "lateral",
        ),
        ({"ViewPosition": "W033", "SeriesDescription": "Thorax seitlich"}, "lateral"),
        ({"ViewPosition": "", "SeriesDescription": "Chest PA and LAT", "ProtocolName": "Chest LAT"}, "lateral"),
    ],
    ids=str,
)
def test_other_views_are_told_apart(elements: dict[str, Any], view: str) -> None:
    """The element of one image is read whole; what it leaves open is asked of the next."""
    assert f" {view} view" in select(header(**elements), rules()).reason


@pytest.mark.parametrize(
    "elements",
    [
        {"ViewPosition": "", "SeriesDescription": "Chest PA and LAT"},
        {"ViewPosition": "", "SeriesDescription": "Thorax pa/seitlich"},
        {"ViewPosition": "AP/LAT"},
        {"ViewPosition": "P.A."},
        {"ViewPosition": "POSTERO-ANTERIOR"},
        {"ViewPosition": "AP SUPINE"},
        {"ViewPosition": "PA", "SeriesDescription": "Chest LAT"},
        {"ViewPosition": "", "SeriesDescription": "Chest 2 views"},
        {"ViewPosition": "", "SeriesDescription": "Thorax face et profil"},
        {"ViewPosition": "", "StudyDescription": "Chest LAT"},
    ],
    ids=str,
)
def test_a_description_of_several_images_says_nothing_of_one(elements: dict[str, Any]) -> None:
    """A lateral view that is named beside a frontal one is another image's."""
    assert select(header(**elements), rules()).eligible


def test_old_lists_of_values_keep_their_meaning() -> None:
    """A configuration that lists spellings works as before, and values of the site's own are compared whole."""
    old = rules(body_parts=("CHEST", "THORAX", "ROOM 3"), excluded_views=("LL", "LAT", "MY VIEW"))
    assert select(header(BodyPartExamined="room 3"), old).eligible
    assert not select(header(ViewPosition="LATERAL"), old).eligible
    assert not select(header(ViewPosition="My View"), old).eligible
    assert select(header(ViewPosition="RAO"), old).eligible
