"""Somebody sets the machine's clock by an hour while hilum serves: as libfaketime shows it to every process of it."""

import time
from pathlib import Path

import pytest

from tests.conftest import require, wait_for
from tests.support.flaky_pacs import FlakyPacs
from tests.support.harness import Daemon, sink
from tests.system.chaos import Modality

HOUR = 3600
SETTLE_SECONDS, RETRY_SECONDS = 5, 300
LIBRARIES = "/usr/lib/*/faketime/libfaketimeMT.so.1"


class Clock:
    """The wall clock of the processes with this environment; the monotonic one goes on as it does."""

    def __init__(self, file: Path):
        self._file = file
        self.set(0)
        (library, *_) = Path("/").glob(LIBRARIES.removeprefix("/"))
        self.environ = {"LD_PRELOAD": str(library), "FAKETIME_TIMESTAMP_FILE": str(file), "FAKETIME_NO_CACHE": "1",
                        "DONT_FAKE_MONOTONIC": "1"}  # fmt: skip

    def set(self, seconds: int) -> None:
        """So many seconds from the machine's clock."""
        part = self._file.with_suffix(".part")
        part.write_text(f"{seconds:+d}\n")
        part.replace(self._file)


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    require("faketime")
    return Clock(tmp_path / "clock")


@pytest.mark.timeout(300)
def test_a_step_of_the_clock_delays_nothing(tmp_path: Path, clock: Clock, untrained: dict[str, str]) -> None:
    """An hour forward, then back again, while a study settles and a result waits for its retry: the study keeps its
    settle time, both are delivered within 60 s, and each step is one warning."""
    pacs = FlakyPacs()
    policy = {"HILUM__STUDY__SETTLE_SECONDS": str(SETTLE_SECONDS),
              "HILUM__DELIVERY__FIRST_RETRY_SECONDS": "1",
              "HILUM__DELIVERY__LONGEST_RETRY_SECONDS": str(RETRY_SECONDS)}  # fmt: skip
    daemon = Daemon(tmp_path / "hilum", [sink("pacs", pacs.port)], **policy, **clock.environ, **untrained)
    try:
        daemon.start("clock", times=0)
        modality, steps = Modality(tmp_path / "studies", daemon.port), []
        for number, to in enumerate((HOUR, 0)):
            waiting, settling = modality.make(2)
            assert modality.send(waiting)
            with_retry = lost(daemon)
            wait_for(lambda before=with_retry: lost(daemon) > before, 90, "the PACS to be missed")
            assert modality.send(settling)
            sent = time.monotonic()
            clock.set(to)
            pacs.start()
            wait_for(lambda n=number: daemon.states()["DELIVERED"] > 2 * n, 60, "the retry")
            wait_for(lambda n=number: daemon.states() == {"DELIVERED": 2 * n + 2}, 60, "the study that was settling")
            assert SETTLE_SECONDS - 0.5 <= time.monotonic() - sent < 60
            steps = [e["by_seconds"] for e in daemon.events if e["event"] == "the clock was set"]
            assert len(steps) == number + 1
            pacs.stop()
        assert [round(step / HOUR, 2) for step in steps] == [1, -1]
        assert "as it was written" in daemon.hilum("audit", "verify")
        assert not daemon.faults()
    finally:
        daemon.kill()
        pacs.stop()


def lost(daemon: Daemon) -> int:
    return len([e for e in list(daemon.events) if e["event"] == "destination unreachable"])
