"""The kinds of result objects that a destination may ask for: one row of `MODULES` each.

To add a kind, write a module in `dicom_io/results` with a `KIND` (see `dicom_io.composite.analysis.ResultKind`) and add
its row here. The journal, the couriers and the configuration then know it by its name.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields
from importlib import import_module
from typing import TYPE_CHECKING, Any

from config.sections import DestinationSettings

if TYPE_CHECKING:
    from dicom_io.composite.analysis import ResultKind

# Name in `destination.outputs` and in the journal: module. Imported on use, because `hilum audit` needs no pydicom.
MODULES = {
    "sr": "dicom_io.results.report",
    "sc": "dicom_io.results.secondary_capture",
    "gsps": "dicom_io.results.presentation_state",
    "seg": "dicom_io.results.outlines.segmentation",
    "kos": "dicom_io.results.key_objects",
    "pdf": "dicom_io.results.encapsulated_pdf",
    "rejection-note": "dicom_io.results.rejection_note",  # last: it depends on what the others made
}


def kind(name: str) -> ResultKind:
    """Return the kind of result object with this name, a key of `MODULES`."""
    found: ResultKind = import_module(MODULES[name]).KIND
    return found


def languages() -> tuple[str, ...]:
    """Return the tags of the languages that a destination may ask for."""
    found: tuple[str, ...] = import_module("dicom_io.results.language").offered()
    return found


def sop_classes(names: Sequence[str]) -> tuple[str, ...]:
    """Return the SOP classes that objects of these kinds may have, each once."""
    return tuple(dict.fromkeys(uid for name in names for uid in kind(name).sop_classes))


def grouped(name: str, destinations: Sequence[DestinationSettings]) -> Iterator[tuple[Any, list[DestinationSettings]]]:
    """Yield (options, destinations): the destinations that ask for this kind, by the options that it depends on.

    The destinations of a group get the same object.
    """
    groups: dict[Any, list[DestinationSettings]] = {}
    for destination in destinations:
        if name in destination.outputs:  # only then is the kind's module loaded
            of_kind = kind(name).options
            options = of_kind(**{field.name: getattr(destination, field.name) for field in fields(of_kind)})
            groups.setdefault(options, []).append(destination)
    yield from groups.items()
