"""Rules of selection for tests."""

from dataclasses import replace
from typing import Any

from config.sections import SelectSettings
from daemon.translate import selection_rules
from dicom_io.image.selection import SelectionRules


def rules(**changes: Any) -> SelectionRules:
    """The rules of a daemon whose configuration has no [select] table, with these fields changed."""
    return replace(selection_rules(SelectSettings()), **changes)
