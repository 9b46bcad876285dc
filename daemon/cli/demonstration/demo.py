"""`hilum demo`: starts a small PACS and the daemon, sends radiographs to it, and shows the results in a table.

Drawn radiographs are judged by the bundle `phantom`, which knows drawings alone; a person's own by the default bundle.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from daemon.cli import tables
from daemon.cli.demonstration.contact_sheet import write_contact_sheet
from daemon.cli.demonstration.drawings import agreement, compared
from daemon.cli.demonstration.pacs import AE_TITLE, Pacs
from daemon.runtime.visible import visible
from dicom_io.image.part10 import Part10, read_part10
from dicom_io.phantom.studies import phantom_studies
from dicom_io.services.store_scu import Destination, Sender
from inference.bundle import PACKAGED
from storage.store import open_store

FINAL = ("DELIVERED", "COMMITTED", "IGNORED", "QUARANTINED")
COLUMNS = ("patient_id", "modality", "state", "drawn", "found", "agree", "reason", "seconds")
OWN_COLUMNS = ("patient_id", "modality", "state", "found", "reason", "seconds")
PHANTOM = PACKAGED / "phantom"
LIMITS = f"The bundle {PHANTOM.name} knows drawings alone: its answers to real radiographs mean nothing."
CONFIGURATION = """\
[dicom]
host = "127.0.0.1"
port = {port}
accept_any_peer = true

[[destination]]
name = "pacs"
ae_title = "{pacs_ae_title}"
host = "127.0.0.1"
port = {pacs_port}

[storage]
directory = "{directory}"
min_free_bytes = 100000000

[study]
settle_seconds = 0.5

[model]
bundle = "{bundle}"

[http]
enabled = false
"""


class Demonstration:
    """One run: where its files are, what is sent, and what came of it. `seed` is that of the first drawing."""

    def __init__(self, input_directory: Path | None, keep: Path | None, seed: int) -> None:
        self.input = input_directory
        self.directory = (keep or Path(tempfile.mkdtemp(prefix="hilum-demo-"))).resolve()
        self.drawn = {} if input_directory else {s.study_instance_uid: s for s in phantom_studies(seed=seed)}
        self.columns = OWN_COLUMNS if input_directory else COLUMNS
        self.bundle = "" if input_directory else str(PHANTOM)
        self.sheet = self.directory / "pages.png"

    def objects(self) -> Iterator[tuple[str, Part10]]:
        """Yield what the modalities send: the AE title of the sender, and the object."""
        for study in self.drawn.values():
            yield study.calling_ae_title, read_part10(study.data)
        for file in sorted(p for p in self.input.rglob("*") if p.is_file()) if self.input else ():
            try:
                yield "MODALITY1", read_part10(file.read_bytes())
            except ValueError as fault:
                _say(f"{file.name}: {fault}")

    def rows(self, studies: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the studies, oldest first, with what was drawn and found, and the seconds until the delivery."""
        return [row | compared(row, self.drawn) | {"seconds": _seconds(row)}
                for row in reversed(studies)]  # fmt: skip

    def show(self, rows: list[dict[str, Any]], pacs: Path) -> None:
        """Print the table, and write the pages that came back into one picture."""
        tables.show(rows, self.columns)
        if sentence := agreement(rows):
            _say(f"{sentence} {LIMITS}")
        captions = {row["study_instance_uid"]: _caption(row) for row in rows}
        if count := write_contact_sheet(pacs, captions, self.sheet):
            _say(f"{count} pages, as a radiologist sees them: {self.sheet}")


def demo(input_directory: Path | None, keep: Path | None, stay: bool, seed: int = 0) -> int:
    """Run the demonstration in this process; return its exit status.

    The status is 0 if each study ended in a report or with a recorded reason, otherwise 1. The files stay.
    """
    run = Demonstration(input_directory, keep, seed)
    pacs = Pacs(run.directory / "pacs")
    try:
        with _daemon(run, pacs.port) as (port, configuration):
            return _run(run, port, configuration, pacs, stay)
    finally:
        pacs.close()
        _say(f"Everything is kept in {run.directory}; remove that folder when you have seen it.")


@contextmanager
def _daemon(run: Demonstration, pacs_port: int) -> Iterator[tuple[int, Path]]:
    """Run `hilum serve` with its data in the run's folder; yields its port and its configuration file."""
    directory, configuration = run.directory, run.directory / "hilum.toml"
    text = CONFIGURATION.format(
        port=0, pacs_port=pacs_port, pacs_ae_title=AE_TITLE, directory=directory, bundle=run.bundle
    )
    configuration.write_text(text)
    process = subprocess.Popen(
        [sys.executable, "-m", "daemon", "serve", "--config", str(configuration)], stderr=subprocess.PIPE, text=True,
        start_new_session=True, env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    try:
        port = _await_ready(process, directory / "hilum.log")
        configuration.write_text(text.replace("port = 0", f"port = {port}"))
        yield port, configuration
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def _await_ready(process: "subprocess.Popen[str]", log: Path) -> int:
    """Wait until the daemon has loaded its model; return the port it listens on. The file `log` gets its log."""
    assert process.stderr
    lines: list[str] = []
    port = 0
    for line in process.stderr:
        lines.append(line)
        event = json.loads(line) if line.startswith("{") else {}
        if event.get("event") == "ready":
            port = int(event["port"])
        if event.get("event") == "ready to analyse" and port:
            threading.Thread(target=_copy, args=(lines, process.stderr, log), daemon=True).start()
            return port
    raise SystemExit("hilum serve ended before it was ready:\n" + "".join(lines[-5:]))


def _copy(first: list[str], rest: Any, log: Path) -> None:
    with log.open("w") as out:
        out.writelines(first)
        out.writelines(rest)


def _run(run: Demonstration, port: int, configuration: Path, pacs: Pacs, stay: bool) -> int:
    """Send the objects, wait for the results, and print them; return the exit status."""
    _say(f"hilum listens as HILUM@127.0.0.1:{port}; a small PACS, {AE_TITLE}, listens on port {pacs.port}.")
    sent, refused = _send(port, run.objects())
    _say(f"{sent} objects were sent and stored, {refused} were refused. Results:")
    store = open_store("", run.directory)
    rows = _await(lambda: run.rows(store.queries.studies(limit=1000)), sent)
    run.show(rows, pacs.directory)
    reports = len(list(pacs.directory.glob("*.dcm")))
    _say(f"{reports} result objects arrived at the PACS, in {pacs.directory}.")
    _say(f"To query the audit database: hilum audit studies --config {configuration}")
    if stay:
        _open(run.sheet)
        _stay(run, port, lambda: run.rows(store.queries.studies(limit=1000)), rows, pacs.directory)
    store.close()
    return 0 if rows and all(row["state"] in FINAL for row in rows) and reports else 1


def _send(port: int, objects: Iterator[tuple[str, Part10]]) -> tuple[int, int]:
    """Send each object under its modality's AE title; return how many were stored (each once), and how many refused."""
    stored, refused = set(), 0
    for calling_ae_title, part10 in objects:
        to = Destination("HILUM", "127.0.0.1", port, sop_classes=(part10.sop_class_uid,))
        sender = Sender(calling_ae_title, to)
        answer = sender.send(part10.sop_class_uid, part10.sop_instance_uid, part10.transfer_syntax_uid, part10.data)
        sender.close()
        if answer.outcome == "ACCEPTED":
            stored.add(part10.sop_instance_uid)
        else:
            refused += 1
            _say(f"{calling_ae_title}: refused: {answer.comment}")
    return len(stored), refused


def _seconds(row: dict[str, Any]) -> float | None:
    if not row["delivered_at"]:
        return None
    times = [datetime.fromisoformat(str(row[key])) for key in ("received_at", "delivered_at")]
    return round((times[1] - times[0]).total_seconds(), 2)


def _await(rows: Callable[[], list[dict[str, Any]]], number: int, seconds: float = 120) -> list[dict[str, Any]]:
    """Wait until the studies of `number` objects are in a final state, or `seconds` have passed; return the rows."""
    deadline = time.monotonic() + seconds
    while True:
        found = rows()
        over = found and all(row["state"] in FINAL for row in found) and sum(row["images"] for row in found) >= number
        if over or time.monotonic() > deadline:
            return found
        time.sleep(0.1)


def _open(sheet: Path) -> None:
    """Open the pages where there is a desktop to open them on."""
    if sheet.is_file() and (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        typer.launch(str(sheet))


def _caption(row: dict[str, Any]) -> str:
    shown = (
        f"{row['patient_id']}: drawn {row['drawn']}, found {row['found']}" if row.get("drawn") else row["patient_id"]
    )
    return visible(shown)


def _stay(
    run: Demonstration, port: int, rows: Callable[[], list[dict[str, Any]]], shown: list[dict[str, Any]], pacs: Path
) -> None:
    """Print the table again whenever more studies have finished, until Ctrl-C."""
    _say(f"Send more: dcmsend -aec HILUM 127.0.0.1 {port} FILE.dcm      Ctrl-C ends the demonstration.")
    if run.drawn:
        _say("More drawings: hilum phantom DIR --dicom. For your own radiographs: hilum demo --input DIR.")
    try:
        while True:
            time.sleep(1)
            found = rows()
            if found != shown and all(row["state"] in FINAL for row in found):
                run.show(found, pacs)
                shown = found
    except KeyboardInterrupt:
        _say("Good-bye.")


def _say(text: str) -> None:
    Console(soft_wrap=True, highlight=False).print(visible(text), markup=False, emoji=False)
