"""The receiver at its memory limit: who needs more is told to try again, the others are served, nothing is lost."""

import contextlib
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from dicom_io.network.statuses import Status
from tests.conftest import wait_for
from tests.support.flaky_pacs import FlakyPacs
from tests.support.harness import Daemon, sink
from tests.support.hostile import CR, Crafted, element, object_with
from tests.support.raw_sender import EXPLICIT, RawPeer
from tests.system.chaos import Modality
from tests.system.test_faults import Kept

LIMIT = 320_000_000  # bytes: a receiver without connections has 200 million, and each connection takes 10
LARGE = 3_900_000  # bytes of one value of a header: just what is read of it


@pytest.fixture
def pacs() -> Iterator[FlakyPacs]:
    with FlakyPacs() as peer:
        yield peer


def data_segment(pid: int) -> int:
    """What RLIMIT_DATA limits, in bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    return 1024 * int(next(line for line in status.splitlines() if line.startswith("VmData:")).split()[1])


@contextlib.contextmanager
def exhausted(pid: int) -> Iterator[None]:
    """A process that may not take one page more than it has."""
    _, hard = resource.prlimit(pid, resource.RLIMIT_DATA)
    resource.prlimit(pid, resource.RLIMIT_DATA, (data_segment(pid), hard))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_DATA, (hard, hard))


def hoard(port: int) -> list[RawPeer]:
    """Associations, opened until one is not accepted."""
    held = []
    for number in range(50):
        peer = RawPeer(port, 10)
        held.append(peer)
        if not peer.associate(CR, EXPLICIT, f"HOARDER{number}"):
            return held
    pytest.fail(f"{len(held)} associations fitted into the limit")


def large_header() -> Crafted:
    """A radiograph with a text of megabytes (UT) before its pixels."""
    return object_with(element(0x0040A160, b"UT", b"x" * LARGE))


def test_who_needs_more_memory_tries_again_and_the_others_are_served(
    tmp_path: Path, pacs: FlakyPacs, untrained: dict[str, str]
) -> None:
    """At `dicom.memory_limit_bytes` a connection is closed and a large object gets A700, never C000 after which it
    would be given up; other associations are served meanwhile, and later everything is taken and delivered."""
    limit = {"HILUM__DICOM__MEMORY_LIMIT_BYTES": str(LIMIT)}
    with Daemon(tmp_path / "hilum", [sink("pacs", pacs.port)], **limit, **untrained) as daemon:
        receiver = daemon.parts()["receive"]
        assert resource.prlimit(receiver, resource.RLIMIT_DATA) == (LIMIT, LIMIT)
        modality, kept = Modality(tmp_path / "studies", daemon.port), Kept(daemon)
        first, second, third, last = modality.make(4)
        assert kept.send(first).status == Status.SUCCESS
        sender, crafted = RawPeer(daemon.port), large_header()
        assert sender.associate(CR, EXPLICIT)

        held = hoard(daemon.port)
        assert kept.send(second).status == Status.SUCCESS
        assert not modality.send(last), "an association was accepted beyond the limit"
        with exhausted(receiver):
            assert sender.store(CR, crafted.instance, crafted.data) == Status.OUT_OF_RESOURCES
            assert kept.send(third).status == Status.SUCCESS
        for peer in held:
            peer.close()
        wait_for(lambda: modality.send(last), 20, "room for another connection")
        assert sender.store(CR, crafted.instance, crafted.data) == Status.SUCCESS

        kept.sender.close()
        assert daemon.parts()["receive"] == receiver, "the receiver ended"
        assert data_segment(receiver) < LIMIT
        told = {(e["kind"], e.get("error")) for e in daemon.events if e.get("event") == "security"}
        assert told == {("connection-failed", None), ("request-failed", "MemoryError")}
        # what the crafted object is answered is a report, too: it has no picture
        wait_for(lambda: daemon.states() == {"DELIVERED": 5}, 60, "a report on every object that was acknowledged")
