"""dicom_io.audit: messages follow the schema of PS3.15 A.5 and have its codes, whatever the values hold."""

from base64 import b64decode
from datetime import UTC, datetime
from pathlib import Path

import pytest
from lxml import etree
from pydicom.sr._cid_dict import cid_concepts
from pydicom.sr._concepts_dict import concepts

from dicom_io.audit import codes
from dicom_io.audit.codes import CREATED, MAJOR_FAILURE, NODE_AUTHENTICATION, NODE_ID, READ, AuditCode
from dicom_io.audit.message import (
    AuditSource,
    Event,
    Participant,
    Subject,
    Transfer,
    application_activity,
    audit_log_used,
    begin_transferring,
    instances_transferred,
    security_alert,
)

SCHEMA = etree.RelaxNG(etree.parse(Path(__file__).parent / "audit_message.rng"))
EVENT = Event(datetime(2026, 3, 1, 12, 0, tzinfo=UTC), row="7 abc")
SOURCE = AuditSource("hilum", "1.2.3", "sqlite:////var/lib/hilum/hilum.db")
WE = Participant("HILUM", "HILUM", "hilum.example", "hilum")
PEER = Participant("MODALITY1", "MODALITY1", "10.1.2.3")
OPERATOR = Participant("jörg@hilum.example")
TRANSFER = Transfer("1.2.3", "PÄT1", "ACC1", (("1.1", "1.2.3.1"), ("1.1", "1.2.3.2"), ("1.5", "1.2.3.3")))
SUBJECT = Subject(NODE_ID, "10.1.2.3", (("1.1", "1.2.3.1"),))

MESSAGES = {
    "start": application_activity(EVENT, SOURCE, True, WE, OPERATOR),
    "stop": application_activity(EVENT, SOURCE, False, WE, None),
    "used": audit_log_used(EVENT, SOURCE, OPERATOR, "audit studies --patient PÄT1"),
    "begin": begin_transferring(EVENT, SOURCE, WE, PEER, TRANSFER),
    "transferred": instances_transferred(EVENT, SOURCE, PEER, WE, TRANSFER, CREATED),
    "alert": security_alert(EVENT, SOURCE, NODE_AUTHENTICATION, WE, PEER, SUBJECT, "peer-not-listed"),
}


def validated(message: bytes) -> etree._Element:
    """Parse the message and check it against the schema."""
    root = etree.fromstring(message)
    SCHEMA.assertValid(root)
    return root


@pytest.mark.parametrize("name", MESSAGES)
def test_every_message_is_valid(name: str) -> None:
    """Each kind of message follows the schema of PS3.15 A.5.1.1, on one line."""
    validated(MESSAGES[name])
    assert b"\n" not in MESSAGES[name]


def test_the_schema_refuses_what_is_wrong() -> None:
    """The tests' schema rejects RFC 3881's attribute names, a missing name, an invalid time and an unknown outcome."""
    good = MESSAGES["transferred"]
    for bad in (
        good.replace(b"csd-code", b"code"),
        good.replace(b"2026-03-01T12:00:00.000+00:00", b"yesterday"),
        good.replace("<ParticipantObjectName>PÄT1</ParticipantObjectName>".encode(), b""),
        good.replace(b'EventOutcomeIndicator="0"', b'EventOutcomeIndicator="1"'),
    ):
        assert bad != good
        assert not SCHEMA.validate(etree.fromstring(bad))


CODES = [code for code in vars(codes).values() if isinstance(code, AuditCode) and code.scheme == "DCM"]


@pytest.mark.parametrize("code", CODES, ids=lambda code: code.value)
def test_codes_are_those_of_the_context_groups(code: AuditCode) -> None:
    """Every DCM code is in CID 400, 401, 402, 403 or 404 with this meaning (PS3.16)."""
    names = {name for cid in (400, 401, 402, 403, 404) for name in cid_concepts[cid]["DCM"]}
    known = {value: said[0] for name in names for value, said in concepts["DCM"][name].items()}
    assert known[code.value] == code.meaning


def test_a_transfer_says_who_what_and_whose() -> None:
    """A transfer names source and destination, the study with its instances grouped by class, and the patient."""
    root = validated(MESSAGES["transferred"])
    assert root.find("EventIdentification").get("EventActionCode") == "C"
    source, destination = root.findall("ActiveParticipant")
    assert source.get("AlternativeUserID") == "AETITLES=MODALITY1"
    assert (source.get("NetworkAccessPointID"), source.get("NetworkAccessPointTypeCode")) == ("10.1.2.3", "2")
    assert [p.find("RoleIDCode").get("csd-code") for p in (source, destination)] == ["110153", "110152"]
    assert destination.get("NetworkAccessPointTypeCode") == "1"
    study, patient = root.findall("ParticipantObjectIdentification")
    classes = study.findall("ParticipantObjectDescription/SOPClass")
    assert [(c.get("UID"), c.get("NumberOfInstances")) for c in classes] == [("1.1", "2"), ("1.5", "1")]
    assert study.find("ParticipantObjectDescription/Accession").get("Number") == "ACC1"
    assert (patient.get("ParticipantObjectID"), patient.get("ParticipantObjectTypeCodeRole")) == ("PÄT1", "1")


def test_one_participant_at_most_asked_for_it() -> None:
    """At most one participant is the requestor (PS3.15 A.5.2); in an alert that is the reporter (A.5.3.11)."""
    for message in MESSAGES.values():
        assert len(validated(message).xpath("ActiveParticipant[@UserIsRequestor='true']")) <= 1
    alert = validated(MESSAGES["alert"])
    assert [p.get("UserIsRequestor") for p in alert.findall("ActiveParticipant")] == ["true", "false"]


def test_details_are_base64() -> None:
    """Alert description, audit row and command are UTF-8 in base64."""
    details = validated(MESSAGES["alert"]).findall(".//ParticipantObjectDetail")
    said = {d.get("type"): b64decode(d.get("value")).decode() for d in details}
    assert said == {"Alert Description": "peer-not-listed", "Audit Row": "7 abc"}
    (command, _) = validated(MESSAGES["used"]).findall(".//ParticipantObjectDetail")[::-1]
    assert b64decode(command.get("value")).decode() == "audit studies --patient PÄT1"


NASTY = ["", "a\0b\x1f\ufffe", "<&>\"'\n\t]]>", "\U0001f600山田^太郎", "\ud800", "&" * 100_000]


@pytest.mark.parametrize("nasty", NASTY, ids=lambda nasty: ascii(nasty[:12]))
def test_whatever_the_values_hold(nasty: str) -> None:
    """With any values a message is well formed, valid, and short enough for a datagram."""
    who = Participant(nasty, nasty, nasty, nasty)
    transfer = Transfer(nasty, nasty, nasty, ((nasty, nasty),) * 20)
    source = AuditSource(nasty, nasty, nasty)
    event = Event(EVENT.at, MAJOR_FAILURE, nasty)
    for message in (
        application_activity(event, source, True, who, who),
        audit_log_used(event, source, who, nasty),
        begin_transferring(event, source, who, who, transfer),
        instances_transferred(event, source, who, who, transfer, READ),
        security_alert(event, source, NODE_AUTHENTICATION, who, who, Subject(NODE_ID, nasty), nasty),
    ):
        validated(message)
        assert len(message) < 60_000
