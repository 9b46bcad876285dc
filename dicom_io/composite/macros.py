"""Macros of PS3.3 that several modules use, each as an encoded item."""

from functools import lru_cache

from dicom_io.composite.codes import Code
from dicom_io.composite.encode import element, item


@lru_cache(maxsize=1024)
def code_item(code: Code) -> bytes:
    """An item of a code sequence (PS3.3 8.8)."""
    return item(
        element("CodeValue", code.value),
        element("CodingSchemeDesignator", code.scheme),
        element("CodeMeaning", code.meaning),
    )


@lru_cache(maxsize=64)
def sop_reference(sop_class_uid: str, sop_instance_uid: str) -> bytes:
    """An item of a sequence that refers to an instance, for example Referenced SOP Sequence (PS3.3 10.8)."""
    return item(element("ReferencedSOPClassUID", sop_class_uid), element("ReferencedSOPInstanceUID", sop_instance_uid))
