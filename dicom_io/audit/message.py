"""DICOM audit messages (Audit Trail Message Format Profile, PS3.15 A.5) as XML by the schema of A.5.1.1.

There is one function for each message of A.5.3 that hilum can send. Each returns UTF-8 bytes without line breaks, with
the elements in the order of the schema. Text is cut to 256 characters, and characters that XML cannot hold are replaced
by U+FFFD. No text, whatever it holds, raises an exception.
"""

import re
from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from itertools import groupby
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from dicom_io.audit.codes import (
    APPLICATION,
    APPLICATION_ACTIVITY,
    APPLICATION_LAUNCHER,
    APPLICATION_START,
    APPLICATION_STOP,
    AUDIT_LOG_USED,
    BEGIN_TRANSFERRING,
    DESTINATION_ROLE,
    EXECUTED,
    INSTANCES_TRANSFERRED,
    PATIENT_NUMBER,
    READ,
    SECURITY_ALERT,
    SOURCE_ROLE,
    STUDY_INSTANCE_UID,
    SUCCESS,
    URI,
    AuditCode,
)

LONGEST_TEXT = 256
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0, 2.2


@dataclass(frozen=True)
class AuditSource:
    """The system that reports, an application server process (AuditSourceTypeCode 4)."""

    audit_source_id: str
    enterprise_site_id: str = ""
    audit_log: str = ""
    """The URI of the audit log that the message comes from."""


@dataclass(frozen=True)
class Event:
    """`at` is an aware time; `row` is the number and digest of the row of the audit log, "" if there is none."""

    at: datetime
    outcome: int = SUCCESS
    row: str = ""


@dataclass(frozen=True)
class Participant:
    """A DICOM application, person or process that took part (PS3.15 A.5.2.1); `address`: IP address or host name."""

    user_id: str
    ae_title: str = ""
    address: str = ""
    user_name: str = ""


@dataclass(frozen=True)
class Transfer:
    """Instances of one study that were sent; `instances` are pairs of SOP Class UID and SOP Instance UID."""

    study_instance_uid: str
    patient_id: str
    accession_number: str
    instances: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Subject:
    """What an alert is about (PS3.15 A.5.3.11): the address of a node, the URI of a resource, or a study's UID."""

    type_code: AuditCode
    value: str
    instances: tuple[tuple[str, str], ...] = ()


def application_activity(
    event: Event, source: AuditSource, started: bool, application: Participant, launcher: Participant | None
) -> bytes:
    """PS3.15 A.5.3.1: an application entity started or stopped. We add the audit log as an object, an extension."""
    message = _message(APPLICATION_ACTIVITY, EXECUTED, event, APPLICATION_START if started else APPLICATION_STOP)
    _participant(message, application, False, APPLICATION)
    if launcher:
        _participant(message, launcher, True, APPLICATION_LAUNCHER)
    _source(message, source)
    if event.row:
        _audit_log(message, event, source)
    return _xml(message)


def audit_log_used(event: Event, source: AuditSource, reader: Participant, command: str) -> bytes:
    """PS3.15 A.5.3.2: a person read the audit log by `command`."""
    message = _message(AUDIT_LOG_USED, READ, event)
    _participant(message, reader, True)
    _source(message, source)
    _detail(_audit_log(message, event, source), "Command", command)
    return _xml(message)


def begin_transferring(
    event: Event, source: AuditSource, sender: Participant, receiver: Participant, transfer: Transfer
) -> bytes:
    """PS3.15 A.5.3.3: the instances are about to be sent."""
    message = _message(BEGIN_TRANSFERRING, EXECUTED, event)
    return _transfer(message, event, source, (sender, receiver), transfer)


def instances_transferred(
    event: Event, source: AuditSource, sender: Participant, receiver: Participant, transfer: Transfer, action: str
) -> bytes:
    """PS3.15 A.5.3.7: the instances were transferred.

    `action`: CREATED if the receiver had none of them before; READ if it had them, or if that is not known.
    """
    message = _message(INSTANCES_TRANSFERRED, action, event)
    return _transfer(message, event, source, (sender, receiver), transfer)


def security_alert(
    event: Event, source: AuditSource, alert: AuditCode, reporter: Participant, performer: Participant | None,
    subject: Subject, description: str,
) -> bytes:  # fmt: skip
    """PS3.15 A.5.3.11: an attempt was rejected, or something is not as it should be."""
    message = _message(SECURITY_ALERT, EXECUTED, event, alert)
    _participant(message, reporter, True)
    if performer:
        _participant(message, performer, False)
    _source(message, source)
    # 2: system object; 13: security resource
    shown = _object(message, subject.type_code, subject.value, type_code="2", role="13", name=subject.value)
    _detail(shown, "Alert Description", description)
    _row(shown, event)
    if subject.instances:
        _description(shown, "", subject.instances)
    return _xml(message)


# --- the parts of a message, PS3.15 A.5.1.1 ------------------------------------------------------------------------


def _message(event_id: AuditCode, action: str, event: Event, event_type: AuditCode | None = None) -> Element:
    message = Element("AuditMessage")
    moment = event.at.astimezone(UTC).isoformat(timespec="milliseconds")
    identification = SubElement(
        message, "EventIdentification", EventActionCode=action, EventDateTime=moment,
        EventOutcomeIndicator=str(event.outcome),
    )  # fmt: skip
    _code(identification, "EventID", event_id)
    if event_type:
        _code(identification, "EventTypeCode", event_type)
    return message


def _participant(message: Element, who: Participant, requestor: bool, role: AuditCode | None = None) -> None:
    element = SubElement(message, "ActiveParticipant", UserID=_text(who.user_id))
    if who.ae_title:
        element.set("AlternativeUserID", _text(f"AETITLES={who.ae_title}"))  # A.5.2.2
    if who.user_name:
        element.set("UserName", _text(who.user_name))
    element.set("UserIsRequestor", "true" if requestor else "false")
    if who.address:
        element.set("NetworkAccessPointID", _text(who.address))
        element.set("NetworkAccessPointTypeCode", _access_point_type(who.address))
    if role:
        _code(element, "RoleIDCode", role)


def _access_point_type(address: str) -> str:
    """2 for an IP address, 1 for a machine name."""
    try:
        ip_address(address)
    except ValueError:
        return "1"
    return "2"


def _source(message: Element, source: AuditSource) -> None:
    element = SubElement(message, "AuditSourceIdentification")
    if source.enterprise_site_id:
        element.set("AuditEnterpriseSiteID", _text(source.enterprise_site_id))
    element.set("AuditSourceID", _text(source.audit_source_id))
    SubElement(element, "AuditSourceTypeCode", {"csd-code": "4"})  # application server process


def _transfer(
    message: Element, event: Event, source: AuditSource, ends: tuple[Participant, Participant], transfer: Transfer
) -> bytes:
    for end, role, requestor in zip(ends, (SOURCE_ROLE, DESTINATION_ROLE), (True, False), strict=True):
        _participant(message, end, requestor, role)
    _source(message, source)
    uid = transfer.study_instance_uid
    study = _object(message, STUDY_INSTANCE_UID, uid, type_code="2", role="3", name=uid)  # system object, report
    _row(study, event)
    _description(study, transfer.accession_number, transfer.instances)
    patient = transfer.patient_id or "<none>"  # the attribute is mandatory; not every object names its patient
    _object(message, PATIENT_NUMBER, patient, type_code="1", role="1", name=patient)  # person, patient
    return _xml(message)


def _audit_log(message: Element, event: Event, source: AuditSource) -> Element:
    log = _object(message, URI, source.audit_log, type_code="2", role="13", name="Security Audit Log")
    _row(log, event)
    return log


def _object(message: Element, id_type: AuditCode, value: str, *, type_code: str, role: str, name: str) -> Element:
    """Add an object. The schema requires a name or a query: `name` is the identifier where there is no other name."""
    element = SubElement(
        message, "ParticipantObjectIdentification", ParticipantObjectID=_text(value),
        ParticipantObjectTypeCode=type_code, ParticipantObjectTypeCodeRole=role,
    )  # fmt: skip
    _code(element, "ParticipantObjectIDTypeCode", id_type)
    SubElement(element, "ParticipantObjectName").text = _text(name)
    return element


def _row(element: Element, event: Event) -> None:
    """Add number and digest of the audit row, our extension: so that a copy of the digest is outside the database."""
    if event.row:
        _detail(element, "Audit Row", event.row)


def _detail(element: Element, name: str, value: str) -> None:
    SubElement(element, "ParticipantObjectDetail", type=name, value=b64encode(_text(value).encode()).decode())


def _description(element: Element, accession_number: str, instances: Sequence[tuple[str, str]]) -> None:
    description = SubElement(element, "ParticipantObjectDescription")
    if accession_number:
        SubElement(description, "Accession", Number=_text(accession_number))
    for sop_class_uid, uids in _by_class(instances):
        sop_class = SubElement(description, "SOPClass", UID=_text(sop_class_uid), NumberOfInstances=str(len(uids)))
        for uid in uids:
            SubElement(sop_class, "Instance", UID=_text(uid))


def _by_class(instances: Sequence[tuple[str, str]]) -> Iterator[tuple[str, list[str]]]:
    for sop_class_uid, pairs in groupby(sorted(instances), key=lambda pair: pair[0]):
        yield sop_class_uid, [uid for _, uid in pairs]


def _code(parent: Element, name: str, code: AuditCode) -> None:
    SubElement(parent, name, {"csd-code": code.value, "codeSystemName": code.scheme, "originalText": code.meaning})


def _text(value: str) -> str:
    return _NOT_XML.sub("\ufffd", value[:LONGEST_TEXT])


def _xml(message: Element) -> bytes:
    text = ElementTree.tostring(message, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>{text}'.encode()
