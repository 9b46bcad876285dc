"""References from a document to the instances that it is about, by study and series (PS3.3 C.17.2.1)."""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from dicom_io.composite import copying
from dicom_io.composite.analysis import SourceImage
from dicom_io.composite.encode import element, item, sequence
from dicom_io.composite.macros import sop_reference

NONE: Mapping[str, Sequence[bytes]] = MappingProxyType({})


def reference(image: SourceImage) -> tuple[str, str]:
    """SOP class and instance of an image."""
    return copying.sop_class_uid(image.dataset), copying.sop_instance_uid(image.dataset)


def evidence(images: Sequence[SourceImage], others: Mapping[str, Sequence[bytes]] = NONE) -> list[bytes]:
    """Items of Current Requested Procedure Evidence Sequence: every image that the document refers to.

    `others` are references to objects of the first image's study, by series.
    """
    studies: dict[str, dict[str, list[bytes]]] = {}
    for image in images:
        study = studies.setdefault(copying.study_instance_uid(image.dataset), {})
        study.setdefault(copying.series_instance_uid(image.dataset), []).append(sop_reference(*reference(image)))
    for series, references in others.items():
        studies[copying.study_instance_uid(images[0].dataset)].setdefault(series, []).extend(references)
    return [hierarchy(study, series) for study, series in studies.items()]


def hierarchy(study: str, series: Mapping[str, Iterable[bytes]]) -> bytes:
    """Hierarchical SOP Instance Reference: the references of each series of a study."""
    members = [
        item(sequence("ReferencedSOPSequence", references), element("SeriesInstanceUID", uid))
        for uid, references in series.items()
    ]
    return item(sequence("ReferencedSeriesSequence", members), element("StudyInstanceUID", study))
