"""What kind of object an image is: a radiograph as a modality made it, or a result on which a program drew."""

from pydicom.uid import DigitalXRayImageStorageForProcessing, SecondaryCaptureImageStorage

from dicom_io.elements import element_text
from dicom_io.identity import MANUFACTURER
from dicom_io.image.header import Header
from dicom_io.image.selection.verdict import SelectionRules
from dicom_io.image.selection.words import named
from dicom_io.radiographs import RADIOGRAPH_SOP_CLASSES

# Values of Modality that PS3.3 C.7.3.1.1.1 defines, or once defined, for what is no plain radiograph. A value that the
# standard does not know (DR, XR) says nothing against an object whose SOP Class is a radiograph's.
_OTHERS = """
    AR AS AU BDUS BI BMD CD CF CFM CP CS CT DD DF DG DM DMS DOC DS EC ECG EEG EMG EOG EPS ES FA FID FS GM HD IO IOL
    IVOCT IVUS KER KO LEN LP LS M3D MA MG MR MS NM OAM OCT OP OPM OPR OPT OPTBSV OPTENF OPV OSS PLAN POS PR PT PX REG
    RESP RF RTDOSE RTIMAGE RTPLAN RTRAD RTRECORD RTSEGANN RTSTRUCT SEG SM SMR SR SRF ST STAIN TEXTUREMAP TG US VA VF
    XA XC
"""
OTHER_TECHNIQUES = frozenset(_OTHERS.split())
_PLAIN = frozenset(("CR", "DX"))
_UNSAID = frozenset(("", "OT", "HC"))  # other, and hard copy
_FILM = ("DF", "DI", "SD")  # Conversion Type (PS3.3 C.8.6.1) of a film that was digitised or scanned


def made_by_hilum(header: Header, rules: SelectionRules) -> str:
    """Reject objects that hilum made: if a result that comes back were analysed, the loop would never end."""
    equipment = [header.dataset, *header.items("ContributingEquipmentSequence")]
    own = any(
        element_text(item, keyword).lower() == MANUFACTURER
        for item in equipment
        for keyword in ("Manufacturer", "ManufacturerModelName")
    )
    return "made by this program" if own else ""


def result_of_program(header: Header, rules: SelectionRules) -> str:
    """Reject a picture on which another program shows what it found: its marks would be taken for the patient.

    Such a picture is a Secondary Capture, or in colour, and says by its maker or its descriptions that it is a result.
    A grey Secondary Capture of a film is none, whatever its scanner is called.
    """
    captured = header.sop_class_uid == SecondaryCaptureImageStorage
    if not (captured or in_colour(header)) or (is_film(header) and not in_colour(header)):
        return ""
    keywords = ("Manufacturer", "ManufacturerModelName", "SeriesDescription", "ImageComments", "DerivationDescription",
                "ImageType")  # fmt: skip
    marked = any("result" in named(header.text(keyword), "made") for keyword in keywords)
    return "a result of another program, not a radiograph" if marked else ""


def drawn_in_colour(header: Header, rules: SelectionRules) -> str:
    """Reject what a program or a workstation drew in colour. A film that was scanned in colour is a radiograph."""
    made = {"DERIVED", "SECONDARY"} & {value.upper() for value in header.texts("ImageType")[:2]}
    if not in_colour(header) or not made or is_film(header):
        return ""
    return "a colour picture that was made from an image: marks that were drawn on it would be taken for the patient"


def sop_class(header: Header, rules: SelectionRules) -> str:
    uid = header.sop_class_uid
    if uid not in RADIOGRAPH_SOP_CLASSES:
        return f"SOP Class {uid} is not a radiograph"
    if uid == DigitalXRayImageStorageForProcessing:
        return "" if rules.for_processing else "DX For Processing: detector data, not an image to look at"
    if uid == SecondaryCaptureImageStorage:
        return _secondary_capture(header, rules)
    return ""


def listed_class(header: Header, rules: SelectionRules) -> str:
    """Reject what is no object of `rules.sop_classes`."""
    uid = header.sop_class_uid
    named = rules.sop_classes and uid not in rules.sop_classes
    return f"SOP Class {uid} is not one that the model is for" if named else ""


def _secondary_capture(header: Header, rules: SelectionRules) -> str:
    """A radiograph that a gateway or an archive wrapped has the Modality of a radiograph; others have OT or none."""
    if not rules.secondary_capture:
        return "a Secondary Capture, not an image as the modality made it"
    if not _is_radiography(header, rules) or not any(_modalities(header) - _UNSAID):
        return "a Secondary Capture whose Modality is not a radiograph's"
    return "a Secondary Capture with burned-in text" if header.text("BurnedInAnnotation").upper() == "YES" else ""


def modality(header: Header, rules: SelectionRules) -> str:
    if _is_radiography(header, rules):
        return ""
    return f"Modality is {' and '.join(sorted(_modalities(header)))}, not {' or '.join(sorted(rules.modalities))}"


def presentation_intent_type(header: Header, rules: SelectionRules) -> str:
    if header.presentation_intent_type != "FOR PROCESSING" or rules.for_processing:
        return ""
    return "detector data, not an image to look at (Presentation Intent Type is FOR PROCESSING)"


def is_unnamed_capture(header: Header) -> bool:
    """Whether it is a Secondary Capture whose Modality does not say that it is a radiograph."""
    return header.sop_class_uid == SecondaryCaptureImageStorage and not _modalities(header) - _UNSAID - OTHER_TECHNIQUES


def may_be_film(header: Header) -> bool:
    """Whether an unnamed Secondary Capture is at least grey and of no other technique, as a digitised film is."""
    return not in_colour(header) and not _modalities(header) & OTHER_TECHNIQUES


def in_colour(header: Header) -> bool:
    return header.integer("SamplesPerPixel", 1) > 1 or header.photometric_interpretation == "PALETTE COLOR"


def is_film(header: Header) -> bool:
    return header.text("ConversionType").upper() in _FILM


def _is_radiography(header: Header, rules: SelectionRules) -> bool:
    """Whether a value of Modality, which should be one but is not always, is not another technique's."""
    others = (OTHER_TECHNIQUES | _PLAIN) - {value.upper() for value in rules.modalities}
    return bool(_modalities(header) - others)


def _modalities(header: Header) -> set[str]:
    return {value.upper() for value in header.texts("Modality")} or {""}
