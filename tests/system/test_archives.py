"""Archives that answer wrongly: dcmtk's storescp and Orthanc refuse, break off, fill up, lie; then they are mended.

Each archive is a destination of its own of one daemon, and is to get the report and the picture of both studies.
"""

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pydicom
import pytest

from tests.conftest import require, wait_for
from tests.support.harness import Daemon, sink
from tests.support.peers import Orthanc, StoreScpPeer, dx_file, free_port, orthanc, run, storescp

SETTINGS = {
    "HILUM__STUDY__SETTLE_SECONDS": "0.5",
    "HILUM__DELIVERY__FAILURES_UNTIL_REFUSED": "3",
    "HILUM__DELIVERY__FAILING_SECONDS": "1",
    "HILUM__DELIVERY__TIMEOUT_SECONDS": "5",
    "HILUM__DELIVERY__LONGEST_RETRY_SECONDS": "0.5",
}
BOTH = {"sr", "sc"}
NO_CONTEXT = "the peer accepts no presentation context for this object"
#: A profile of storescp that takes no reports.
ONLY_PICTURES = """
[[TransferSyntaxes]]
[Plain]
TransferSyntax1=LittleEndianExplicit
TransferSyntax2=LittleEndianImplicit
[[PresentationContexts]]
[Pictures]
PresentationContext1=SecondaryCaptureImageStorage\\Plain
[[Profiles]]
[Default]
PresentationContexts=Pictures
"""
NO_REPORTS = "function ReceivedInstanceFilter(dicom, origin, info) return dicom.Modality ~= 'SR' end"


class Archives:
    """Archives by name, each on a port of its own, which can be started with faults and again without."""

    def __init__(self) -> None:
        self.ports: dict[str, int] = {}
        self.web: dict[str, tuple[int, int]] = {}
        self._running: dict[str, contextlib.ExitStack] = {}

    def run(self, name: str, start: Callable[[], contextlib.AbstractContextManager[Any]]) -> Any:
        """Start the archive of this name, in the place of the one that runs."""
        self.stop(name)
        self._running[name] = contextlib.ExitStack()
        return self._running[name].enter_context(start())

    def stop(self, name: str) -> None:
        self._running.pop(name, contextlib.ExitStack()).close()

    def storescp(self, name: str, directory: Path, *options: str, under: tuple[str, ...] = ()) -> StoreScpPeer:
        port = self.ports.setdefault(name, free_port())
        peer: StoreScpPeer = self.run(name, lambda: storescp(directory / name, *options, port=port, under=under))
        return peer

    def orthanc(self, name: str, directory: Path, hilum_port: int, **more: Any) -> Orthanc:
        ports = self.web.setdefault(name, (self.ports.setdefault(name, free_port()), free_port()))
        peer: Orthanc = self.run(name, lambda: orthanc(directory / name, hilum_port, ports, **more))
        return peer


@pytest.fixture
def archives() -> Iterator[Archives]:
    made = Archives()
    try:
        yield made
    finally:
        for name in made.ports:
            made.stop(name)


def study(daemon: Daemon, path: Path, patient: str) -> str:
    """A study of one radiograph, sent; its Study Instance UID."""
    dx_file(path, 64, 64, BodyPartExamined="CHEST", ViewPosition="PA", PatientID=patient)
    assert run("dcmsend", "-aec", "HILUM", "127.0.0.1", str(daemon.port), path).returncode == 0
    return str(pydicom.dcmread(path, stop_before_pixels=True).StudyInstanceUID)


def deliveries(daemon: Daemon, name: str, kind: str = "", of: str | None = None) -> list[dict[str, Any]]:
    with daemon.store() as store:
        rows = store.queries.deliveries(destination=name, study_instance_uid=of)
    return [row for row in rows if not kind or row["kind"] == kind]


def ends(daemon: Daemon, name: str, kind: str = "", of: str | None = None) -> set[tuple[str, int | None, str]]:
    """How the deliveries to an archive stand: state, status, words."""
    return {(d["state"], d["status"], d["comment"]) for d in deliveries(daemon, name, kind, of)}


def mended(daemon: Daemon, studies: list[str], state: str = "DELIVERED", believed: Iterable[str] = ()) -> None:
    """A person has everything that was refused sent again; it is delivered, and the trail tells of each object once.

    An archive that was `believed` has objects that it accepted before, and did not keep.
    """
    with daemon.journal() as journal:
        for uid in studies:
            journal.retry(uid, datetime.now(UTC))
    wait_for(lambda: daemon.states() == {state: len(studies)}, 60, "every delivery after the archives were mended")
    with daemon.store() as store:
        events, made = store.queries.events(event="SENT"), store.queries.deliveries()
    told = Counter((e["actor"], e["sop_instance_uid"]) for e in events if e["detail"]["outcome"] == "ACCEPTED")
    assert told.keys() == {(d["destination"], d["sop_instance_uid"]) for d in made}
    assert {name for (name, _), times in told.items() if times > 1} <= set(believed)
    assert {d["state"] for d in made} == {"ACCEPTED"}
    assert "as it was written" in daemon.hilum("audit", "verify")


ACCEPTED = {("ACCEPTED", 0, "")}


@pytest.mark.timeout(300)
def test_storescp_on_its_worst_days(tmp_path: Path, archives: Archives, untrained: dict[str, str]) -> None:
    """A full disk, a name that is taken, refused contexts, broken associations: an object waits alone, goes to a person
    with the archive's answer, or waits for the archive; once mended, each object is there once."""
    require("storescp", "dcmsend", "prlimit")
    profile = tmp_path / "pictures.cfg"
    profile.write_text(ONLY_PICTURES)
    small = ("prlimit", "--fsize=1000000", "env", "--ignore-signal=XFSZ")  # as a full disk: no picture fits
    archives.storescp("full", tmp_path, under=small)
    archives.storescp("classes", tmp_path, "-xf", str(profile), "Default")
    archives.storescp("implicit", tmp_path, "+xi", "-pdu", "4096", "--reject")  # --reject: who has no class UID
    archives.storescp("rejects", tmp_path, "--refuse")
    archives.storescp("breaks", tmp_path, "--abort-during")
    archives.ports["taken"] = free_port()  # not there yet
    sinks = [sink(name, port, outputs=sorted(BOTH)) for name, port in archives.ports.items()]
    with Daemon(tmp_path / "hilum", sinks, **SETTINGS, **untrained) as daemon:
        first, second = (study(daemon, tmp_path / f"{n}.dcm", f"P{n}") for n in (1, 2))
        wait_for(lambda: len(deliveries(daemon, "taken")) == 4, 120, "the analyses")
        (report,) = deliveries(daemon, "taken", "sr", first)
        (tmp_path / "taken").mkdir()
        (tmp_path / "taken" / f"SR3.{report['sop_instance_uid']}").mkdir()
        archives.storescp("taken", tmp_path)

        refused = {("REFUSED", 0xA700, "answered so 3 times: without a comment")}
        wait_for(lambda: ends(daemon, "full", "sc") == refused, 120, "pictures to be refused by the full archive")
        assert ends(daemon, "full", "sr") == ACCEPTED
        wait_for(lambda: ends(daemon, "taken", "sr", first) == refused, 120, "the one report to be refused")
        assert ends(daemon, "taken", "sc", first) == ends(daemon, "taken", of=second) == ACCEPTED
        assert ends(daemon, "classes", "sr") == {("REFUSED", 0x0122, NO_CONTEXT)}
        assert ends(daemon, "classes", "sc") == ends(daemon, "implicit") == ACCEPTED
        # nobody gets past the first object where no association comes about, everything is tried where it breaks
        wait_for(lambda: all(d["attempts"] for d in deliveries(daemon, "breaks")), 60, "each object to be tried")
        aborted = {"association aborted by the peer", "connection failed: Connection reset by peer"}
        assert ends(daemon, "breaks") <= {("PENDING", None, words) for words in aborted}
        tried = [d for d in deliveries(daemon, "rejects") if d["attempts"]]
        assert [d["comment"] for d in tried] == ["association rejected: No reason given"]
        assert daemon.states() == {"ANALYSED": 2}

        held = [archives.storescp(name, tmp_path) for name in ("rejects", "breaks", "implicit")]
        wait_for(lambda: daemon.states() == {"QUARANTINED": 2}, 60, "a person to be asked for")
        assert {row["reason"].partition(" by ")[2].partition(" ")[2] for row in daemon.rows()} <= {
            "with status 0xA700: answered so 3 times: without a comment", f"with status 0x0122: {NO_CONTEXT}"
        }  # fmt: skip
        (tmp_path / "taken" / f"SR3.{report['sop_instance_uid']}").rmdir()
        held += [archives.storescp(name, tmp_path) for name in ("full", "classes", "taken")]
        mended(daemon, [first, second])
        assert {len(archive.files()) for archive in held} == {4}
        assert not daemon.faults()


@pytest.mark.timeout(300)
def test_orthanc_on_its_worst_days(tmp_path: Path, archives: Archives, untrained: dict[str, str]) -> None:
    """Orthanc without room for one patient, that does not know us or no syntax of ours, or says 0000 and keeps nothing:
    the object waits with these words, and goes out once Orthanc is mended."""
    require("Orthanc", "dcmsend")
    script = tmp_path / "no_reports.lua"
    script.write_text(NO_REPORTS)
    faults: dict[str, dict[str, Any]] = {
        "patients": {"MaximumPatientCount": 1},
        "lies": {"LuaScripts": [str(script)]},
        "stranger": {"DicomAlwaysAllowStore": False, "DicomAlwaysAllowEcho": False, "DicomModalities": {}},
        "title": {"DicomAet": "ANOTHER"},
        "syntax": {"AcceptedTransferSyntaxes": ["1.2.840.10008.1.2.4.*"]},
    }

    port = free_port()
    for name, fault in faults.items():
        peer = archives.orthanc(name, tmp_path, port, **fault)
        if name == "patients":
            protect(peer, tmp_path / "kept.dcm", "P1")
    sinks = [sink(name, at, ae_title="ORTHANC", outputs=sorted(BOTH), storage_commitment=name == "lies")
             for name, at in archives.ports.items()]  # fmt: skip
    with Daemon(tmp_path / "hilum", sinks, HILUM__DICOM__PORT=str(port), **SETTINGS, **untrained) as daemon:
        first, second = (study(daemon, tmp_path / f"{n}.dcm", f"P{n}") for n in (1, 2))
        wait_for(lambda: len(deliveries(daemon, "patients")) == 4, 120, "the analyses")
        refused = {("REFUSED", 0xA700, "answered so 3 times: without a comment")}
        wait_for(lambda: ends(daemon, "patients", of=second) == refused, 60, "the patient without room to be refused")
        assert ends(daemon, "patients", of=first) == ACCEPTED
        assert ends(daemon, "syntax", "sr") == {("REFUSED", 0x0122, NO_CONTEXT)}
        assert ends(daemon, "syntax", "sc") == ACCEPTED, "a picture was kept back by its report"
        for name, title in (("stranger", "Calling"), ("title", "Called")):
            tried = {d["comment"] for d in deliveries(daemon, name) if d["attempts"]}
            assert tried == {f"association rejected: {title} AE title not recognised"}
        wait_for(lambda: {d["commitment"] for d in deliveries(daemon, "lies", "sr")} == {"FAILED"}, 120, "the truth")
        assert ends(daemon, "lies", "sr") == {("ACCEPTED", 0, "storage commitment failed: 0x0112")}
        assert {d["commitment"] for d in deliveries(daemon, "lies", "sc")} == {"COMMITTED"}

        held = {name: archives.orthanc(name, tmp_path, port) for name in faults}
        mended(daemon, [first, second], "COMMITTED", believed={"lies"})
        counts = {name: peer.get("/statistics")["CountInstances"] for name, peer in held.items()}
        assert counts == {name: 4 + (name == "patients") for name in faults}
        assert not daemon.faults()


def protect(pacs: Orthanc, file: Path, patient: str) -> None:
    """Put an image of this patient into Orthanc, which then may not let go of the patient for another."""
    pacs.get("/instances", data=dx_file(file, 32, 32, PatientID=patient).read_bytes())
    (key,) = pacs.get("/patients")
    urlopen(Request(f"http://127.0.0.1:{pacs.http}/patients/{key}/protected", b"1", method="PUT")).close()
