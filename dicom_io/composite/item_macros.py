"""What an item of a copied sequence must hold: the macros of PS3.3, and which sequence consists of which.

An item that lacks a Type 1 attribute is not copied, nor is a sequence whose macro is not known here: a strict archive
rejects an object for it.
"""

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True)
class ItemMacro:
    """An item is whole if it has every word of at least one group; the other groups are copied only complete too."""

    groups: tuple[tuple[str, ...], ...]
    optional: tuple[str, ...] = ()
    one_group: bool = False  # the groups exclude each other

    @property
    def words(self) -> frozenset[str]:
        """The keywords of all attributes that may be copied."""
        return frozenset({"SpecificCharacterSet", *self.optional}.union(*self.groups))

    def whole(self, found: Collection[str]) -> list[str]:
        """The keywords to copy, of those that the item has; [] if it is not whole."""
        complete = [group for group in self.groups if all(word in found for word in group)]
        words = [word for group in complete[: 1 if self.one_group else None] for word in group]
        return [*words, *(w for w in ("SpecificCharacterSet", *self.optional) if w in found)] if words else []


# PS3.3 8.8, Table 8.8-1a
_CODE = ItemMacro(
    groups=(
        ("CodeValue", "CodingSchemeDesignator", "CodeMeaning"),
        ("LongCodeValue", "CodingSchemeDesignator", "CodeMeaning"),
        ("URNCodeValue", "CodeMeaning"),
    ),
    optional=("CodingSchemeVersion",),
    one_group=True,
)

# PS3.3 10.8, SOP Instance Reference
_REFERENCE = ItemMacro(groups=(("ReferencedSOPClassUID", "ReferencedSOPInstanceUID"),))

# PS3.3 10.14, HL7v2 Hierarchic Designator
_DESIGNATOR = ItemMacro(groups=(("LocalNamespaceEntityID",), ("UniversalEntityID", "UniversalEntityIDType")))

# PS3.3 10.15, Issuer of Patient ID
_ISSUER_OF_PATIENT_ID = ItemMacro(
    groups=(
        ("UniversalEntityID", "UniversalEntityIDType"),
        ("IdentifierTypeCode",),
        ("AssigningFacilitySequence",),
        ("AssigningJurisdictionCodeSequence",),
        ("AssigningAgencyOrDepartmentCodeSequence",),
    )
)

# PS3.3 C.7.1.1
_OTHER_PATIENT_ID = ItemMacro(
    groups=(("PatientID", "TypeOfPatientID"),), optional=("IssuerOfPatientID", "IssuerOfPatientIDQualifiersSequence")
)

_MACROS = {
    "OtherPatientIDsSequence": _OTHER_PATIENT_ID,
    "IssuerOfPatientIDQualifiersSequence": _ISSUER_OF_PATIENT_ID,
    "IssuerOfAccessionNumberSequence": _DESIGNATOR,
    "AssigningFacilitySequence": _DESIGNATOR,
    "ReferencedStudySequence": _REFERENCE,
}


def macro_of(sequence: str) -> ItemMacro | None:
    """The macro of which the items of this sequence, given by its keyword, consist; None if it is not known."""
    return _CODE if sequence.endswith("CodeSequence") else _MACROS.get(sequence)
