"""Rules of selection for tests."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from pydicom import config, uid
from pydicom.dataset import Dataset

from config.sections import SelectSettings
from daemon.translate import selection_rules
from dicom_io.image.header import Header
from dicom_io.image.selection import SelectionRules


def rules(**changes: Any) -> SelectionRules:
    """The rules of a daemon whose configuration has no [select] table, with these fields changed."""
    return replace(selection_rules(SelectSettings()), **changes)


def header(**elements: Any) -> Header:
    """The header of a chest radiograph, with these elements changed; None removes one."""
    values = {"SOPClassUID": uid.ComputedRadiographyImageStorage, "Modality": "CR", "BodyPartExamined": "CHEST",
              "ViewPosition": "PA", **elements}  # fmt: skip
    ds = item(**{keyword: value for keyword, value in values.items() if value is not None})
    ds.file_meta = Dataset()
    return Header(Path("none.dcm"), ds, uid.ExplicitVRLittleEndian, 0)


def item(**elements: Any) -> Dataset:
    """A data set of these elements, whose values may be as wrong as devices send them."""
    ds = Dataset()
    with config.disable_value_validation():
        for keyword, value in elements.items():
            setattr(ds, keyword, value)
    return ds
