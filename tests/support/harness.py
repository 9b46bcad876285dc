"""The daemon as a process, for end-to-end tests and benchmarks: started, watched by its log, killed, started again."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from storage.journal import Journal
from storage.store import Store, open_store
from tests.conftest import ROOT, wait_for

FAULTS = {"unhandled exception", "part ended", "analysis failed", "scheduled job failed", "not json", "cannot work"}
"""Log events that tell of something nobody provoked."""


@dataclass(frozen=True)
class Usage:
    """What a process takes: its share of memory in bytes (PSS), open descriptors, threads."""

    memory: int
    descriptors: int
    threads: int

    @classmethod
    def of(cls, pid: int) -> "Usage":
        process = Path(f"/proc/{pid}")
        memory = next(line for line in (process / "smaps_rollup").read_text().splitlines() if line.startswith("Pss:"))
        return cls(int(memory.split()[1]) * 1024, len(list((process / "fd").iterdir())),
                   len(list((process / "task").iterdir())))  # fmt: skip


class Daemon:
    """`hilum serve` over a directory of its own; `environ` overrides its settings (HILUM__STUDY__SETTLE_SECONDS=1)."""

    def __init__(self, directory: Path, destinations: list[dict[str, Any]], **environ: str):
        self.directory = directory
        self.environ = {
            **os.environ,
            "HILUM__STORAGE__DIRECTORY": str(directory),
            "HILUM__STORAGE__MIN_FREE_BYTES": "1000000",
            "HILUM__DICOM__HOST": "127.0.0.1",
            "HILUM__DICOM__PORT": "0",
            "HILUM__DICOM__ACCEPT_ANY_PEER": "true",
            "HILUM__HTTP__ENABLED": "false",
            "HILUM__STUDY__SETTLE_SECONDS": "0",
            "HILUM__DELIVERY__FIRST_RETRY_SECONDS": "0.2",
            "HILUM__DELIVERY__LONGEST_RETRY_SECONDS": "1",
            "HILUM__DESTINATION": json.dumps(destinations),
            **environ,
        }
        self.events: list[dict[str, Any]] = []
        self.process: subprocess.Popen[str] | None = None

    def start(self, kill_at: str = "", times: int = 1) -> "Daemon":
        """Start, and wait until it listens; a fixed port from the second start on.

        With `kill_at`, the whole daemon is killed the `times`-th time that a part comes to that point, which may be
        before it listens where work is left over; with "decode" the decoder does what the image's Image Comments say
        (`tests/support/faulty.py`), with "clock" it runs under libfaketime.
        """
        self.events = []
        entry = ["tests.support.faulty", kill_at, str(times)] if kill_at else ["daemon", "serve"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", *entry],
            cwd=ROOT,
            env=self.environ,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        threading.Thread(target=self._read, args=(self.process, self.events), daemon=True).start()
        wait_for(lambda: self._first("ready") or not self.alive, 90, "the daemon's start")
        ready = self._first("ready")
        assert ready or kill_at, f"hilum serve ended: {self.events[-5:]}"
        if ready:
            self.environ["HILUM__DICOM__PORT"] = str(ready["port"])
        return self

    @property
    def port(self) -> int:
        return int(self.environ["HILUM__DICOM__PORT"])

    def _read(self, process: "subprocess.Popen[str]", events: list[dict[str, Any]]) -> None:
        assert process.stderr
        for line in process.stderr:
            try:
                events.append(json.loads(line))
            except json.JSONDecodeError:
                events.append({"event": "not json", "line": line.rstrip()})

    def await_event(self, name: str, seconds: float = 60) -> dict[str, Any]:
        """The first log line of this event since the last start."""

        def look() -> dict[str, Any] | None:
            assert self.alive, f"hilum serve ended: {self.events[-5:]}"
            return self._first(name)

        return wait_for(look, seconds, f"the event {name!r}; the last lines are {self.events[-3:]}")  # type: ignore[return-value]

    def _first(self, name: str) -> dict[str, Any] | None:
        return next((e for e in self.events if e.get("event") == name), None)

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        """SIGKILL for the whole daemon: parent and parts at once, as a power cut would."""
        if self.process and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        assert self.process
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def hilum(self, *arguments: str) -> Any:
        """A command beside the daemon, over the same configuration; its JSON, or its text."""
        done = subprocess.run(
            [sys.executable, "-m", "daemon", *arguments],
            cwd=ROOT,
            env=self.environ,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if "--json" in arguments else done.stdout

    def studies(self) -> list[dict[str, Any]]:
        """What `hilum audit studies --json` prints."""
        return self.hilum("audit", "studies", "--json", "--limit", "10000")  # type: ignore[no-any-return]

    # --- watched from this process: quick enough to be asked in a loop

    @contextmanager
    def store(self) -> Iterator[Store]:
        """The daemon's database, opened beside it."""
        store = open_store(self.environ.get("HILUM__STORAGE__DATABASE", ""), self.directory)
        try:
            yield store
        finally:
            store.close()

    @contextmanager
    def journal(self) -> Iterator[Journal]:
        """Its journal."""
        with self.store() as store:
            yield store.journal

    def rows(self) -> list[dict[str, Any]]:
        """As `studies`."""
        with self.store() as store:
            return store.queries.studies(limit=1_000_000)

    def states(self) -> "Counter[str]":
        """How many studies there are in each state."""
        with self.journal() as journal:
            return +Counter(journal.counts())

    def parts(self) -> dict[str, int]:
        """The process of each part, by the last start that it logged, and of the parent."""
        assert self.process
        started = {e["part"]: int(e["pid"]) for e in list(self.events) if e.get("event") == "started"}
        return {"parent": self.process.pid, **started}

    def usage(self) -> dict[str, Usage]:
        """What each part takes now."""
        return {name: Usage.of(pid) for name, pid in self.parts().items()}

    def faults(self) -> list[dict[str, Any]]:
        """The log lines since the last start that tell of something nobody provoked."""
        return [e for e in list(self.events) if e.get("event") in FAULTS or e.get("kind") == "request-failed"]

    def __enter__(self) -> "Daemon":
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self.kill()


def sink(name: str, port: int, **more: Any) -> dict[str, Any]:
    """A destination on this machine."""
    return {"name": name, "ae_title": name.upper(), "host": "127.0.0.1", "port": port, "outputs": ["sr"], **more}
