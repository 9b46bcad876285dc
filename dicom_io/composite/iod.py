"""The modules that all result objects share (PS3.3 C.7.3, C.7.5, C.12), each as encoded elements by keyword."""

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from functools import cache
from importlib import metadata

from pydicom.dataset import Dataset

from dicom_io.composite import codes, copying
from dicom_io.composite.analysis import ModelIdentity, Replaced, series_uid
from dicom_io.composite.codes import Code
from dicom_io.composite.encode import element, item, plain, sequence
from dicom_io.composite.macros import code_item
from dicom_io.composite.repertoire import repertoire
from dicom_io.identity import MANUFACTURER


def series(
    modality: str, number: int, sop_instance_uid: str, caption: str, started: datetime, source: Dataset
) -> dict[str, bytes]:
    """General Series (PS3.3 C.7.3.1) or SR Document Series (C.17.1).

    All objects of one kind that an analysis makes are in one series, which follows from the SOP Instance UID of the
    first. `caption` becomes Series Description.
    """
    day, time = day_and_time(started, source)
    return {
        "Modality": element("Modality", modality),
        "SeriesInstanceUID": element("SeriesInstanceUID", series_uid(sop_instance_uid)),
        "SeriesNumber": element("SeriesNumber", str(number)),
        "SeriesDate": element("SeriesDate", day),
        "SeriesTime": element("SeriesTime", time),
        "SeriesDescription": element("SeriesDescription", repertoire(source).encode(caption, 64)),  # LO
    }


def series_number(first: int, revision: int) -> int:
    """The Series Number of a revision: ten from `first` on, so that no kind reaches the range of the next.

    The tenth revision and those after it share the last; their captions and times tell them apart.
    """
    return first + min(revision, 10) - 1


def equipment(model: ModelIdentity, started: datetime, source: Dataset) -> dict[str, bytes]:
    """Enhanced General Equipment (PS3.3 C.7.5.2), and the model as Contributing Equipment (C.12.1.1.5, IHE AIR)."""
    return {
        "Manufacturer": element("Manufacturer", MANUFACTURER),
        "ManufacturerModelName": element("ManufacturerModelName", MANUFACTURER),
        "DeviceSerialNumber": element("DeviceSerialNumber", serial_number(model)),
        "SoftwareVersions": element("SoftwareVersions", software_version()),
        "ContributingEquipmentSequence": sequence(
            "ContributingEquipmentSequence", [_contributing_equipment(model, started, source)]
        ),
    }


@cache
def software_version() -> str:
    """The version of the installed package; "unknown" if it is not installed."""
    try:
        return plain(metadata.version(MANUFACTURER), 64)
    except metadata.PackageNotFoundError:
        return "unknown"


def serial_number(model: ModelIdentity) -> str:
    """Device Serial Number: the first 16 characters of the digest of the model's weights."""
    return plain(model.digest.removeprefix("sha256:"), 16) or "unknown"


def _contributing_equipment(model: ModelIdentity, started: datetime, source: Dataset) -> bytes:
    day, time = day_and_time(started, source)
    trained = "" if model.trained else " (UNTRAINED)"
    site = f", site calibration {model.site_calibration}" if model.site_calibration else ""
    return item(
        element("Manufacturer", MANUFACTURER),
        element("ManufacturerModelName", plain(model.name, 64) or "unknown"),
        element("DeviceUID", model.device_uid),
        element("SoftwareVersions", plain(model.version, 64) or "unknown"),
        element("ContributionDateTime", day + time),
        element("ContributionDescription", f"{model.task.capitalize()} of radiographs{trained}{site}"),
        sequence("PurposeOfReferenceCodeSequence", [code_item(codes.PROCESSING_EQUIPMENT)]),
    )


def sop_common(
    sop_class_uid: str,
    sop_instance_uid: str,
    started: datetime,
    source: Dataset,
    used: tuple[Code, ...] = (),
    instance_number: int = 1,
) -> dict[str, bytes]:
    """SOP Common (PS3.3 C.12.1), with our coding scheme identified if any of the codes `used` belongs to it.

    `instance_number` counts the objects of a series, from 1.
    """
    day, time = day_and_time(started, source)
    elements = {
        "SOPClassUID": element("SOPClassUID", sop_class_uid),
        "SOPInstanceUID": element("SOPInstanceUID", sop_instance_uid),
        "InstanceCreationDate": element("InstanceCreationDate", day),
        "InstanceCreationTime": element("InstanceCreationTime", time),
        "InstanceNumber": element("InstanceNumber", str(instance_number)),
    }
    if offset := utc_offset(source):
        elements["TimezoneOffsetFromUTC"] = element("TimezoneOffsetFromUTC", offset)
    if any(code.scheme == codes.LOCAL_SCHEME for code in used):
        elements["CodingSchemeIdentificationSequence"] = sequence(
            "CodingSchemeIdentificationSequence", [_local_scheme()]
        )
    return elements


def _local_scheme() -> bytes:
    return item(
        element("CodingSchemeDesignator", codes.LOCAL_SCHEME),
        element("CodingSchemeUID", codes.LOCAL_SCHEME_UID),
        element("CodingSchemeName", codes.LOCAL_SCHEME_NAME),
        element("CodingSchemeResponsibleOrganization", MANUFACTURER),
    )


def utc_offset(source: Dataset) -> str:
    """Timezone Offset From UTC (0008,0201) of the source, for example "+0900"; "" if missing or invalid."""
    said = copying.text(source, "TimezoneOffsetFromUTC")
    try:
        zone = datetime.strptime(said, "%z").tzinfo if len(said) == 5 else None
    except ValueError:
        zone = None
    return said if zone else ""


def day_and_time(moment: datetime, source: Dataset) -> tuple[str, str]:
    """DA and TM of the aware time `moment`, in the time zone that the source states, else in that of `moment`."""
    moment = in_zone(moment, source)
    return moment.strftime("%Y%m%d"), moment.strftime("%H%M%S")


def in_zone(moment: datetime, source: Dataset) -> datetime:
    """The aware time `moment` in the time zone that the source states; unchanged if it states none."""
    if offset := utc_offset(source):
        sign = -1 if offset[0] == "-" else 1
        return moment.astimezone(timezone(sign * timedelta(hours=int(offset[1:3]), minutes=int(offset[3:]))))
    return moment


def replaced_in_zone(replaces: Replaced | None, source: Dataset) -> Replaced | None:
    """What is replaced, with its time in the zone in which the other times of an object are written."""
    return replace(replaces, made_at=in_zone(replaces.made_at, source)) if replaces else None
