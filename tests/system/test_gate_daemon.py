"""The door of the whole daemon: who comes in, how much of it one peer may take, and what hostile objects end as."""

import json
import re
import socket
import struct
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import DigitalXRayImageStorageForPresentation as DX
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, RLELossless, generate_uid

from dicom_io.services.reply import Reply
from dicom_io.services.store_scu import Destination, Sender
from tests.conftest import wait_for
from tests.support.harness import Daemon
from tests.support.peers import data_set_bytes, dx_file

LIMITS = {
    "ACCEPT_ANY_PEER": "false",
    "MAX_ASSOCIATIONS_PER_PEER": "3",
    "MAX_OBJECT_BYTES": "1000000",
    "IDLE_TIMEOUT_SECONDS": "4",
    "MESSAGE_TIMEOUT_SECONDS": "5",
    "ASSOCIATION_TIMEOUT_SECONDS": "3",
}
PEERS = [
    {"ae_title": "SENDER", "host": "127.0.0.0/8"},
    {"ae_title": "BYNAME", "host": "localhost"},
    {"ae_title": "ELSEWHERE", "host": "10.0.0.0/8"},
]
QUIET_THREADS = 3  # of the receiving process without an association


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, untrained: dict[str, str]) -> Iterator[Daemon]:
    limits = {f"HILUM__DICOM__{key}": value for key, value in LIMITS.items()}
    directory = tmp_path_factory.mktemp("gate") / "hilum"
    with Daemon(directory, [], HILUM__PEER=json.dumps(PEERS), **limits, **untrained) as daemon:
        daemon.await_event("ready to analyse")
        yield daemon


def sender(daemon: Daemon, calling: str = "SENDER", called: str = "HILUM", **options: Any) -> Sender:
    return Sender(calling, Destination(called, "127.0.0.1", daemon.port, sop_classes=(DX,), **options))


def send(daemon: Daemon, image: Path, syntax: str = ExplicitVRLittleEndian) -> Reply:
    way = sender(daemon)
    try:
        return way.send(DX, dcmread(image).SOPInstanceUID, syntax, data_set_bytes(image.read_bytes()))
    finally:
        way.close()


def echo(daemon: Daemon, calling: str = "SENDER", called: str = "HILUM") -> str:
    """How a C-ECHO over an association of its own ends."""
    way = sender(daemon, calling, called)
    try:
        return way.echo().outcome
    finally:
        way.close()


def security(daemon: Daemon, kind: str) -> list[dict[str, Any]]:
    return [e for e in daemon.events if e.get("event") == "security" and e.get("kind") == kind]


def process(daemon: Daemon, part: str) -> Path:
    """The directory in /proc of a part of the daemon."""
    started = [e["pid"] for e in daemon.events if e.get("event") == "started" and e["part"] == part]
    return Path("/proc") / str(started[-1])


def held(daemon: Daemon) -> tuple[int, int]:
    """How many threads and descriptors the receiving process has."""
    receiver = process(daemon, "receive")
    return len(list((receiver / "task").iterdir())), len(list((receiver / "fd").iterdir()))


def resident(directory: Path) -> int:
    return int(re.findall(r"VmRSS:\s+(\d+) kB", (directory / "status").read_text())[0]) * 1024


def row_of(daemon: Daemon, image: Path) -> dict[str, Any]:
    uid = str(dcmread(image).StudyInstanceUID)
    return next((row for row in daemon.studies() if row["study_instance_uid"] == uid), {})


def test_who_is_not_listed_stays_out(daemon: Daemon) -> None:
    """AE title and address, network or host name must fit, and so must our own title; each refusal is on record."""
    assert [echo(daemon, calling) for calling in ("SENDER", "BYNAME")] == ["ACCEPTED"] * 2
    for calling, called, kind in (
        ("ELSEWHERE", "HILUM", "peer-not-listed"),
        ("SENDER", "OTHER", "called-ae-title-not-recognised"),
    ):
        assert echo(daemon, calling, called) == "UNREACHABLE"
        wait_for(lambda k=kind: security(daemon, k), what="the event")
    kinds = {e["detail"]["kind"] for e in daemon.hilum("audit", "events", "--json") if e["event"] == "SECURITY"}
    assert kinds >= {"peer-not-listed", "called-ae-title-not-recognised"}


def test_one_peer_takes_no_more_than_its_share(daemon: Daemon, tmp_path: Path) -> None:
    """A fourth association, an object too large, silence and a dripping PDU: each is ended, and others are served."""
    wait_for(lambda: held(daemon)[0] <= QUIET_THREADS, 20, "earlier associations to be gone")
    several = [sender(daemon) for _ in range(4)]
    assert [way.echo().outcome for way in several] == ["ACCEPTED"] * 3 + ["UNREACHABLE"]
    assert echo(daemon, "BYNAME") == "ACCEPTED"
    large = several[0].send(DX, "1.2.3", ExplicitVRLittleEndian, b"\0" * 1_100_000)
    assert (large.outcome, large.status) == ("REFUSED", 0xC0D2)
    several[0].close()
    dripping = several[1]._assoc.dul.socket.socket
    dripping.sendall(struct.pack(">BxL", 4, 60_000))

    def drip() -> bool:
        try:
            dripping.sendall(b"\0")
        except OSError:
            return True
        return False

    wait_for(drip, 20, "the dripping PDU to be cut off")
    wait_for(lambda: several[2].attend(0.1) or not several[2].is_open, 20, "the silent association to be aborted")

    def broken() -> set[str]:
        return {e["error"].partition(" s")[0].rstrip("0123456789. ") for e in security(daemon, "protocol-violation")}

    wait_for(lambda: broken() >= {"silent for", "a message took more than"}, 20, "both events")


def test_health_checks_leave_nothing(daemon: Daemon) -> None:
    """A thousand connections that say nothing, gone or reset, cost neither thread nor descriptor."""
    wait_for(lambda: echo(daemon) == "ACCEPTED")
    wait_for(lambda: held(daemon)[0] <= QUIET_THREADS, 20, "earlier associations to be gone")
    before = held(daemon)
    for number in range(1000):
        with socket.create_connection(("127.0.0.1", daemon.port), 5) as peer:
            if number % 2:
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wait_for(lambda: held(daemon) <= before, 30, "every connection to be gone")


def test_decompression_bombs_end_in_a_reason(daemon: Daemon, tmp_path: Path) -> None:
    """Two hundred bytes that claim 65535 x 65535 pixels, in three syntaxes: a reason each, and memory stays flat."""
    claims = {"Rows": 65535, "Columns": 65535, "BodyPartExamined": "CHEST", "ViewPosition": "PA"}
    # SOC, SIZ: 65535 x 65535, one tile as large, 1 component of 12 bit; then nothing
    siz = struct.pack(">HHIIIIIIIIHBBB", 41, 0, 65535, 65535, 0, 0, 65535, 65535, 0, 0, 1, 11, 1, 1)
    codestreams = {
        ExplicitVRLittleEndian: b"\0" * 200,
        RLELossless: encapsulate([struct.pack("<16I", 2, 64, 66, *[0] * 13) + b"\x81\0" * 60]),
        JPEG2000Lossless: encapsulate([b"\xff\x4f\xff\x51" + siz + b"\0" * 100]),
    }
    images = {}
    for number, (syntax, pixels) in enumerate(codestreams.items()):
        images[syntax] = dx_file(tmp_path / f"{number}.dcm", 8, 8, syntax=ExplicitVRLittleEndian)
        dataset = dcmread(images[syntax])
        for keyword, value in claims.items():
            setattr(dataset, keyword, value)
        dataset.PixelData = pixels
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset["PixelData"].VR = "OW" if syntax == ExplicitVRLittleEndian else "OB"
        dataset["PixelData"].is_undefined_length = syntax != ExplicitVRLittleEndian
        dataset.save_as(images[syntax])
    analyst = process(daemon, "analyse-0")
    before = resident(analyst)
    for syntax, image in images.items():
        way = sender(daemon)
        way._extra.append((DX, syntax))
        sent = way.send(DX, dcmread(image).SOPInstanceUID, syntax, data_set_bytes(image.read_bytes()))
        way.close()
        assert sent.outcome == "ACCEPTED", sent
    for image in images.values():
        wait_for(lambda i=image: row_of(daemon, i).get("state", "RECEIVED") != "RECEIVED", 60, "the verdict")
        events = daemon.hilum("audit", "events", "--study", str(dcmread(image).StudyInstanceUID), "--json")
        assert "65535 x 65535" in json.dumps(events), events
    assert process(daemon, "analyse-0") == analyst
    assert resident(analyst) - before < 100e6


def test_names_from_outside_are_no_paths(daemon: Daemon, tmp_path: Path) -> None:
    """A UID that looks like a path, in command and data set, writes nothing but files of the spool's own naming."""
    hostile = "../../etc/x"
    image = dcmread(dx_file(tmp_path / "a.dcm"))
    for keyword in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
        image[keyword]._value = hostile
    encoded = BytesIO()
    image.save_as(encoded)
    before = {p for p in daemon.directory.parent.rglob("*") if "spool" not in p.parts}
    way = sender(daemon)
    sent = way.send(DX, hostile, ExplicitVRLittleEndian, data_set_bytes(encoded.getvalue()))
    way.close()
    assert sent.status is not None
    known = re.compile(r"objects/[0-9a-f]{2}(/[0-9a-f]{32}\.dcm)?|objects|incoming|incoming/.*")
    spool = daemon.directory / "spool"
    assert [p for p in spool.rglob("*") if not known.fullmatch(p.relative_to(spool).as_posix())] == []
    after = {p for p in daemon.directory.parent.rglob("*") if "spool" not in p.parts}
    assert {p.name for p in after - before} <= {"hilum.db-wal", "hilum.db-shm"}
    assert not [e for e in daemon.events if e["event"] == "not json"]


def test_the_same_uid_again(daemon: Daemon, tmp_path: Path) -> None:
    """The same image: success and no new work. Other pixels: refused, set aside, on record; the first ones stay."""
    image = dx_file(tmp_path / "a.dcm", BodyPartExamined="HAND", StudyInstanceUID=generate_uid())
    assert send(daemon, image).status == 0
    wait_for(lambda: row_of(daemon, image).get("state") == "IGNORED", 60, "the verdict")
    again = send(daemon, image)
    assert (again.status, again.comment) == (0, "already held, the same image")
    changed = dcmread(image)
    changed.PatientComments = "changed"
    changed.save_as(tmp_path / "b.dcm")
    assert send(daemon, tmp_path / "b.dcm").status == 0
    changed.PixelData = bytes([changed.PixelData[0] ^ 1]) + changed.PixelData[1:]
    changed.save_as(tmp_path / "b.dcm")
    assert send(daemon, tmp_path / "b.dcm").status == 0xC0D1
    uid = str(changed.StudyInstanceUID)
    assert row_of(daemon, image)["state"] == "IGNORED"
    events = [e["event"] for e in daemon.hilum("audit", "events", "--study", uid, "--json")]
    assert sorted(events) == ["DUPLICATE", "DUPLICATE", "IGNORED", "RECEIVED", "SECURITY"]
