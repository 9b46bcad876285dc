"""Every row that the journal writes has its DICOM audit message, valid by the standard's schema, or none on purpose."""

import json
import re
from base64 import b64decode
from dataclasses import replace
from pathlib import Path

import pytest
from lxml import etree
from sqlalchemy import Engine

from daemon.decisions import Quarantine, decide
from daemon.syslog.messages import ANALYSES, OTHERS, SILENT, TRANSFERS, Interpreter
from daemon.wiring import read_settings
from storage.database import open_database
from storage.errors import SpoolDamaged
from storage.journal import Journal
from storage.notices import Notice, Raised
from storage.outbox import Outbox, OutboxEntry
from storage.records import Attempt, Compared, Likeness, PendingCommitRequest, Sent
from tests.conftest import ROOT
from tests.dicom_io.test_audit_message import validated
from tests.support.studies import REFUSED, analysed, at, deliver, image, outcome, report, take_up
from tests.support.verdicts import found, judged, result, with_results

DESTINATION = {"name": "pacs", "ae_title": "PACS", "host": "pacs.example", "port": 104}


def documented() -> set[str]:
    """The events in the table of docs/operations.md."""
    table = (ROOT / "docs" / "operations.md").read_text().split("### Events of the audit trail\n")[1].split("\n#")[0]
    return {event for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for event in re.findall(r"`(\w+)`", row)}


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(open_database("", tmp_path))


@pytest.fixture
def engine(tmp_path: Path, journal: Journal) -> Engine:
    """A trail in which everything happened once."""
    record_life(journal)
    return open_database("", tmp_path)


def record_life(journal: Journal) -> None:
    for event, detail in (
        ("STARTED", {"port": 11112, "pid": 1, "user": "hilum"}),
        ("SECURITY", {"kind": "peer-not-listed", "held_back": 3, "peer_address": "10.9.9.9", "calling_ae_title": "X"}),
        ("SECURITY", {"kind": "tls-refused", "held_back": 0, "peer_address": "10.9.9.9", "calling_ae_title": "",
                      "error": "NO_SHARED_CIPHER"}),
        ("SECURITY", {"kind": "audit-trail-altered", "faults": 2}),
    ):  # fmt: skip
        journal.record(event, at(0), detail=detail)
    journal.record("AUDIT_READ", at(0), actor="operator jörg", detail={"command": "audit studies --patient=PÄT1"})
    for event in ("RELOADED", "RELOAD_REFUSED"):
        journal.record(event, at(0), actor="operator jörg", detail={"keys": ["model.digest"]})
    journal.promote("next", "chest", at(0), "operator jörg")
    journal.roll_back(at(0), "operator jörg")
    analysed(journal, "1.1", "pacs", "gone", committing=("pacs",))
    journal.received(image("1.1"), at(62))  # the same bytes
    held = image("1.1").spooled.sha256
    journal.received(image("1.1", sha256="other"), at(63), Compared(held, Likeness.OTHER))
    for name in ("pacs", "gone"):
        deliver(journal, name)
    (wanted,) = journal.commit_due("pacs", 9, at(0))
    journal.commit_requested("1.8.1", [wanted.delivery_id], at(200))
    journal.committed("1.8.1", ["1.1.9"], [], at(201))
    journal.replay("1.1", at(202), "operator jörg")
    (again,) = take_up(journal, 300)
    journal.received(image("1.1", number=2), at(301))
    journal.analysed(again, outcome(again, report("1.1.9b", "pacs")), at(302))  # newer images wait
    (again,) = take_up(journal, 400)
    journal.analysed(again, outcome(again, report("1.1.9c", "pacs"), state="IGNORED"), at(402))
    with_results(journal, "1.4", result(found("Mass", "above")), seconds=403)
    judged(journal, "1.4", "Mass", "agree", 470)
    deliver(journal, "pacs", seconds=403)
    analysed(journal, "1.3", "pacs")
    for seconds, person_acts in ((500, journal.retry), (510, journal.release), (520, journal.discard)):
        deliver(journal, "pacs", REFUSED, seconds)
        person_acts("1.3", at(seconds + 5), "operator jörg")
    journal.received(image("1.5"), at(535))
    (urgent,) = take_up(journal, 596)
    told = Notice("hook", {"findings": [{"finding": "Mass", "call": "above"}]})
    raised = replace(outcome(urgent, report("1.5.9", "pacs")), raised=Raised(("urgent",), (told,)))
    journal.analysed(urgent, raised, at(597))
    (waiting,) = journal.notifications_due("hook", at(598), 10)
    journal.notified(Attempt(waiting.id, Sent("ACCEPTED", None, "HTTP 204")), at(599))
    journal.received(image("1.2"), at(600))
    (damaged,) = take_up(journal, 700)
    journal.quarantine(damaged.id, "objects/00/x was altered: found ..., expected ...", at(701), "spool-damaged")
    asked = PendingCommitRequest("1.8.2", "MODALITY1", "127.0.0.1", (("1.2", "1.1.1"),))
    journal.remember_request(asked, at(800))
    journal.answered(journal.unanswered(at(801))[0], ["1.1.1"], [], at(801))
    journal.take(1, image("1.1", sha256="other"), at(900), "operator jörg")
    journal.discard_conflict(1, at(901), "operator jörg")
    journal.received(image("1.1", sha256="corrected"), at(902), Compared("other", Likeness.CORRECTED))
    journal.expired(at(10_000), at(10_000))
    journal.record("STOPPED", at(10_001), detail={"pid": 1, "user": "hilum"})


def interpreter(*destinations: dict[str, object]) -> Interpreter:
    settings = read_settings(
        None,
        {
            "HILUM__DESTINATION": json.dumps(destinations),
            "HILUM__AUDIT__SOURCE_ID": "hilum",
            "HILUM__AUDIT__ENTERPRISE_SITE_ID": "ward 7",
        },
    )
    return Interpreter(settings, "hilum.example", "sqlite:////var/lib/hilum/hilum.db")


def by_event(entries: list[OutboxEntry]) -> dict[str, list[etree._Element]]:
    """The valid messages of each row by its event."""
    found: dict[str, list[etree._Element]] = {}
    for entry in entries:
        messages = [validated(message.xml) for message in interpreter(DESTINATION).messages([entry])]
        found.setdefault(entry.event, []).extend(messages)
    return found


def detail(message: etree._Element, kind: str) -> str:
    return b64decode(message.xpath(f"//ParticipantObjectDetail[@type='{kind}']/@value")[0]).decode()


def codes(messages: list[etree._Element]) -> list[tuple[str, ...]]:
    """EventID, type where there is one, action and outcome."""
    found = []
    for message in messages:
        identification = message.find("EventIdentification")
        ids = [code.get("csd-code") for code in identification]
        found.append((*ids, identification.get("EventActionCode"), identification.get("EventOutcomeIndicator")))
    return found


def test_every_documented_event_is_decided() -> None:
    """What the documents list is what is interpreted or silent; an event is one or the other."""
    decided = [*TRANSFERS, *ANALYSES, *OTHERS, *SILENT]
    assert len(decided) == len(set(decided))
    assert set(decided) == documented()


def test_every_event_that_the_journal_writes_is_decided(engine: Engine) -> None:
    """The story of this test holds every event; all of its messages are valid, one by one and together."""
    entries = Outbox(engine).pending("syslog", 1000)
    assert {entry.event for entry in entries} == documented()
    together = [validated(message.xml) for message in interpreter(DESTINATION).messages(entries)]
    alone = by_event(entries)
    assert {event for event, messages in alone.items() if not messages} == set(SILENT)
    assert 0 < len(together) <= sum(map(len, alone.values()))


def test_the_messages_are_those_of_the_standard(engine: Engine) -> None:
    """EventID, EventTypeCode, EventActionCode and EventOutcomeIndicator by the tables of PS3.15 A.5.3."""
    found = {event: codes(messages) for event, messages in by_event(Outbox(engine).pending("syslog", 1000)).items()}
    assert found["STARTED"] == [("110100", "110120", "E", "0")]
    assert found["STOPPED"] == [("110100", "110121", "E", "0")]
    assert found["RELOADED"] == [("110113", "110131", "E", "0")]
    assert found["RELOAD_REFUSED"] == [("110113", "110131", "E", "4")]
    assert found["AUDIT_READ"] == [("110101", "R", "0")]
    assert found["SECURITY"] == [
        ("110113", "110126", "E", "4"), ("110113", "110126", "E", "4"), ("110113", "110135", "E", "12"),
        ("110113", "110132", "E", "8"),
    ]  # fmt: skip
    assert set(found["RECEIVED"]) == {("110104", "C", "0")}
    assert found["DUPLICATE"] == [("110104", "R", "0")]
    assert set(found["SENT"]) == {("110104", "R", "0"), ("110104", "R", "8")}
    assert found["ANALYSED"] == [("110102", "E", "0")] * 4, "one for each destination"
    assert found["ANALYSED_BEFORE"] == [("110102", "E", "0")]
    assert found["QUARANTINED"] == [("110113", "110135", "E", "12")], "only of the damaged spool"


def test_alerts_say_what_happened(engine: Engine) -> None:
    """Who it was, what it is about, and how many of the same were held back."""
    messages = by_event(Outbox(engine).pending("syslog", 1000))
    stranger, tls, trail, conflict = messages["SECURITY"]
    assert detail(stranger, "Alert Description") == "peer-not-listed; 3 more of them"
    assert detail(tls, "Alert Description") == "tls-refused; error: NO_SHARED_CIPHER"
    assert [p.get("UserID") for p in tls.findall("ActiveParticipant")] == ["HILUM", "10.9.9.9"]
    assert detail(trail, "Alert Description") == "audit-trail-altered; faults: 2"
    assert conflict.xpath("//Instance/@UID") == ["1.1.1"]
    assert "other bytes" in detail(conflict, "Alert Description")
    (damaged,) = messages["QUARANTINED"]
    assert damaged.xpath("//ParticipantObjectIdentification/@ParticipantObjectID") == ["1.2"]
    assert "was altered" in detail(damaged, "Alert Description")


def test_a_destination_that_is_no_longer_configured_keeps_its_name(engine: Engine) -> None:
    """What went to a destination that the configuration no longer has is reported under our name for it."""
    begun = by_event(Outbox(engine).pending("syslog", 1000))["ANALYSED"][:2]
    receivers = [message.findall("ActiveParticipant")[1] for message in begun]
    assert [r.get("UserID") for r in receivers] == ["gone", "PACS"]
    assert [r.get("NetworkAccessPointID") for r in receivers] == [None, "pacs.example"]


def test_a_damaged_spool_is_a_security_event() -> None:
    """What the spool finds altered or missing is quarantined as an alert."""
    assert decide(SpoolDamaged("x was altered")) == Quarantine("x was altered", "spool-damaged")
    assert decide(ValueError()).kind == ""  # type: ignore[union-attr]


def test_a_row_of_a_later_version_has_no_message(journal: Journal, tmp_path: Path) -> None:
    """An event that this version does not know is passed over; it does not hold up what comes after it."""
    journal.record("NEVER_HEARD_OF", at(0), detail={"x": [1]})
    journal.record("STARTED", at(1))
    entries = Outbox(open_database("", tmp_path)).pending("syslog", 9)
    assert len(list(interpreter().messages(entries))) == 1
