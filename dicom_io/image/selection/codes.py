"""What the coded entries of a header mean, in English, by the context groups of PS3.16."""

from functools import lru_cache

from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from dicom_io.elements import element_text

_RETIRED = (Code("51185008", "SCT", "Chest"),)  # in earlier editions of CID 4; T-D3000 in SNOMED-RT


def meaning(item: Dataset) -> str:
    """Return the standard's meaning of a code that it lists, else the item's Code Meaning; "" if neither is there."""
    return _standard(element_text(item, "CodeValue")) or element_text(item, "CodeMeaning")


@lru_cache(maxsize=256)
def _standard(value: str) -> str:
    """Find a code of SNOMED CT, of its predecessor SNOMED-RT (T-D3000), or of DICOM."""
    for scheme in ("SCT", "SRT", "DCM"):
        code = Code(value, scheme, "")
        for known in _known():
            if value and known == code:
                return str(known.meaning)
    return ""


@lru_cache
def _known() -> tuple[Code, ...]:
    """PS3.16 CID 4 Anatomic Region, CID 4010 DX View, CID 4011 DX View Modifier, CID 7203 Image Derivation."""
    groups = (codes.cid4, codes.cid4010, codes.cid4011, codes.cid7203)
    return (*(code for group in groups for code in group.concepts.values()), *_RETIRED)
