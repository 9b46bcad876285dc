"""What comes from outside stays data: no value steers a terminal, is markup or a formula, or forges a line."""

import contextlib
import csv
import io
import json
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from fastapi.testclient import TestClient
from lxml import etree
from typer.testing import CliRunner, Result

from config.settings import Settings
from daemon import wiring
from daemon.cli import tables
from daemon.cli.main import app
from daemon.parts.receive import Reception
from daemon.runtime import log
from daemon.runtime.clock import now
from daemon.runtime.shared import Shared
from daemon.runtime.visible import json_text, visible
from daemon.syslog.messages import Interpreter
from daemon.web.api import application
from dicom_io.image.part10 import read_part10
from dicom_io.services.store_scu import Destination, Reply, Sender
from storage.records import Sent
from storage.store import Store
from tests.conftest import wait_for
from tests.support.peers import dx_file
from tests.support.studies import at, deliver, outcome, report

HOSTILE = {
    "closing markup": "[/boom]",
    "markup": "[bold]X[/bold]",
    "link": "[link=http://a]X",
    "emoji code": ":boom:",
    "terminal": "a\x1b[31mb\x1b]0;c\x07",
    "C1": "a\x9b31mb",
    "DEL": "a\x7fb",
    "line": "a\nok  b\r\n",
    "direction": "\u202e4711\u202c",
    "unseen": "47\u200b11\ufeff",
    "tag": "a\U000e0041b",
    "line separator": "a\u2028b",
    "formula": "=1+1",
    "plus": "+1",
    "minus": "-1",
    "at": "@SUM(1)",
    "formula after spaces": "  =1+1",
    "formula after a tab": "\t=1+1",
    "wide formula": "\uff1d1+1",
    "formula after a semicolon": "a; =1+1",
    "HTML": "<script>a</script>",
    "quotes": "a\",'b",
}
FORMULA = ("=", "+", "-", "@", "\t", "\r")


def clean(text: str) -> bool:
    """Whether nothing but line breaks and what can be seen is in it."""
    return all(c == "\n" or c.isprintable() or unicodedata.category(c) == "Zs" for c in text)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """Of a node that anybody may send to, for the commands too; tables are so wide that no value is folded."""
    place = {"DICOM__HOST": "127.0.0.1", "DICOM__PORT": "0", "DICOM__ACCEPT_ANY_PEER": "true",
             "STORAGE__DIRECTORY": str(tmp_path / "hilum"), "STORAGE__MIN_FREE_BYTES": "1"}  # fmt: skip
    environ = {f"HILUM__{key}": value for key, value in place.items()}
    for key, value in environ.items():
        monkeypatch.setenv(key, value)
    monkeypatch.setattr(tables, "WIDTH", 4000)
    log.configure("debug", "receive")
    yield wiring.read_settings(None, environ)
    structlog.reset_defaults()


def hilum(*words: str) -> Result:
    return CliRunner().invoke(app, words)


class Node:
    """A running receiver in this process, with its store, and a modality that sends to it."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings, self.folder = settings, folder
        self.store, self.spool = wiring.open_store(settings), wiring.open_spool(settings)
        reception = Reception(settings, self.store.journal, self.spool, Shared.of(settings, lambda: settings))
        self.scp = wiring.open_scp(settings, reception.callbacks, self.spool.incoming)

    def send(self, ae_title: str, **elements: Any) -> Reply:
        """C-STORE one object."""
        part10 = read_part10(dx_file(self.folder / "sent.dcm", 32, 32, **elements).read_bytes())
        to = Destination("HILUM", "127.0.0.1", self.scp.port, sop_classes=(part10.sop_class_uid,))
        with contextlib.closing(Sender(ae_title, to, timeout_seconds=20)) as sender:
            return sender.send(part10.sop_class_uid, part10.sop_instance_uid, part10.transfer_syntax_uid, part10.data)


def live_through(node: Node, value: str) -> str:
    """Send two different objects under one UID, with `value` wherever it can stand; let the result be refused with it.
    Returns the study's UID."""
    plain = value.isascii()
    named = value.strip()[:16] if plain and value.strip().isprintable() else "MODALITY"
    uids = {"StudyInstanceUID": value, "SeriesInstanceUID": value, "SOPInstanceUID": f"{value}.1"} if plain else {
        "StudyInstanceUID": "1.2.3", "SeriesInstanceUID": "1.2.4", "SOPInstanceUID": "1.2.5"}  # fmt: skip
    elements = {"SpecificCharacterSet": "ISO_IR 192", "PatientID": value, "AccessionNumber": value[:16],
                "PatientName": value, "StationName": value[:16], **uids}  # fmt: skip
    assert node.send(named, **elements).status == 0
    assert node.send(named, **elements, PixelData=bytes(2048)).outcome == "REFUSED"
    journal = node.store.journal
    (study,) = journal.settled(now().replace(year=2100), 0.0, 10, "worker")
    journal.analysed(study, outcome(study, report("1.2.9", "pacs")), at(61))
    deliver(journal, "pacs", Sent("REFUSED", 0xA900, value))
    journal.record("SECURITY", at(99), actor=value, detail={"kind": "peer-not-listed", "calling_ae_title": value,
                                                            "peer_address": value, "error": value})  # fmt: skip
    return study.study_instance_uid


@pytest.fixture(params=HOSTILE.values(), ids=HOSTILE.keys())
def value(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def node(settings: Settings, tmp_path: Path) -> Iterator[Node]:
    made = Node(settings, tmp_path)
    yield made
    made.scp.shutdown(1.0)
    made.store.close()


def test_a_value_from_outside_stays_data(capfd: pytest.CaptureFixture[str], node: Node, value: str) -> None:
    """From C-STORE to every table, CSV, JSON, log line, syslog message, HTTP answer and error text."""
    uid = live_through(node, value)
    events: list[str] = []

    def told() -> bool:
        """The receiver answers first and logs afterwards, in a thread of its own."""
        logged = capfd.readouterr().err
        assert clean(logged)
        events.extend(json.loads(line)["event"] for line in logged.splitlines())
        return "received" in events

    wait_for(told, what="the line of what was received")
    stored = node.store.queries.studies()[0]["patient_id"]
    assert stored.strip() == value.strip()
    check_commands(stored, uid)
    check_syslog(node.store, node.settings, stored)
    check_http(node, value, stored, uid)
    check_errors(value, node.folder)


def check_commands(stored: str, uid: str) -> None:
    """Each list is complete in each form, and shows the value as it is."""
    lists = {("audit", "studies"): "patient_id", ("audit", "events"): "actor", ("audit", "deliveries"): "comment",
             ("quarantine", "list"): "patient_id", ("quarantine", "show", "--", uid): "study_instance_uid",
             ("conflicts", "list"): "sop_instance_uid", ("conflicts", "show", "1"): "held"}  # fmt: skip
    for words, column in lists.items():
        table, as_json, as_csv = (hilum(*words[:2], *option, *words[2:]) for option in ([], ["--json"], ["--csv"]))
        for done in (table, as_json, as_csv):
            assert done.exit_code == 0, (words, done.output, done.exception)
            assert clean(done.stdout), words
        found = [row[column] for row in json.loads(as_json.stdout)]
        rows = list(csv.DictReader(io.StringIO(as_csv.stdout)))
        assert found
        assert len(rows) == len(found) or words == ("audit", "events"), "asking is an event itself"
        for shown, row in zip(found, rows, strict=False):
            assert visible(shown) in table.stdout or column in ("study_instance_uid", "actor"), words
            assert visible(shown) in row[column].replace("'", "") or "'" in shown, words
        for cell in (cell for row in rows for cell in row.values()):
            for piece in cell.split(";"):
                first = unicodedata.normalize("NFKC", piece.lstrip()[:1])
                assert not first.startswith(FORMULA), (words, cell)
    assert stored in {row["patient_id"] for row in json.loads(hilum("audit", "studies", "--json").stdout)}


def check_syslog(store: Store, settings: Settings, stored: str) -> None:
    """Each message is one line of well-formed XML, and names the patient as a person can read him."""
    messages = [m.xml.decode() for m in Interpreter(settings, "host", "uri").messages(store.outbox.pending("x", 999))]
    assert len(messages) > 3
    for xml in messages:
        assert clean(xml)
        assert "\n" not in xml
    named = {e.get("ParticipantObjectID") for xml in messages for e in etree.fromstring(xml.encode()).iter()}
    assert visible(stored) in named


def check_http(node: Node, value: str, stored: str, uid: str) -> None:
    """JSON gives the value back exactly and as text that can be looked at; refusals do not repeat it."""
    client = TestClient(application(node.settings, node.store, node.spool), base_url="http://localhost")
    answers = [client.get("/api/v1/studies"), client.get("/api/v1/studies", params={"patient_id": stored})]
    assert [answer.json()[0]["patient_id"] for answer in answers] == [stored, stored]
    assert answers[0].json()[0]["study_instance_uid"] == uid
    refused = client.get("/api/v1/studies", params={"limit": f"zz{value}"})
    assert refused.status_code == 422
    assert "zz" not in refused.text
    for answer in (*answers, refused, client.get("/metrics"), client.get("/nowhere", params={"a": value})):
        assert clean(answer.text)
        assert (answer.headers["cache-control"], answer.headers["x-content-type-options"]) == ("no-store", "nosniff")


def check_errors(value: str, folder: Path) -> None:
    """What a command refuses it names, in a sentence that can be looked at."""
    for words, status in (
        (("quarantine", "release", "--", f"{value}?"), 1), (("retry", "--", f"{value}?"), 1),
        (("conflicts", "show", "9"), 1),
        (("audit", "studies", "--since", value), 2), (("audit", "verify", "--anchor", value), 2),
        (("predict", "--", str(folder / value)), 2), (("audit", "studies", "-c", str(folder / value)), 2),
    ):  # fmt: skip
        done = hilum(*words)
        assert (done.exit_code, clean(done.output), "Traceback" in done.output) == (status, True, False), words
        assert done.stderr.strip()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Müller 胸部 a b", "Müller 胸部 a b"), ("山田\u3000太郎", "山田\u3000太郎"),
        ("\x00\x1f\x7f\x85", r"\x00\x1f\x7f\x85"),
        ("\u202ea\u2066\u200d", r"\u202ea\u2066\u200d"), ("\U000e0001", r"\U000e0001"), ("\ud800", r"\ud800"),
        ("é\xad", r"é\xad"),
    ],
)  # fmt: skip
def test_what_cannot_be_seen_is_shown(text: str, shown: str) -> None:
    """Controls, format characters and lone surrogates become escapes; letters and spaces of every script stay."""
    assert visible(text) == shown
    assert json.loads(json_text({text: [text]}, indent=1)) == {text: [text]}
    assert clean(json_text({text: [text]}, indent=1))
    assert json_text(text, ascii_only=True).isascii()


def test_every_character_reads_back(value: str) -> None:
    """JSON is exact for each control and format character there is."""
    every = value + "".join(c for c in map(chr, range(0x110000)) if unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp"))
    assert json.loads(json_text(every)) == every
    assert clean(visible(every))
