"""`hilum demo`: starts a small PACS and the daemon, sends radiographs to it, and shows the results in a table."""

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

from rich.console import Console

from daemon.cli import tables
from daemon.cli.pacs import AE_TITLE, Pacs
from daemon.runtime.visible import visible
from dicom_io.image.part10 import Part10, read_part10
from dicom_io.phantom.studies import phantom_studies
from dicom_io.services.store_scu import Destination, Sender
from storage.store import open_store

FINAL = ("DELIVERED", "COMMITTED", "IGNORED", "QUARANTINED")
COLUMNS = ("patient_id", "modality", "state", "findings", "reason", "seconds")
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

[http]
enabled = false
"""


def demo(input_directory: Path | None, keep: Path | None, stay: bool) -> int:
    """Run the demonstration in this process; return its exit status.

    The status is 0 if each study ended in a report or with a recorded reason, otherwise 1.
    """
    with tempfile.TemporaryDirectory(prefix="hilum-demo-") as temporary:
        directory = (keep or Path(temporary)).resolve()
        pacs = Pacs(directory / "pacs")
        try:
            with _daemon(directory, pacs.port) as (port, configuration):
                return _run(directory, port, configuration, _objects(input_directory), pacs, stay)
        finally:
            pacs.close()


def _objects(input_directory: Path | None) -> Iterator[tuple[str, Part10]]:
    """Yield what the modalities send: the AE title of the sender, and the object."""
    if input_directory is None:
        for study in phantom_studies():
            yield study.calling_ae_title, read_part10(study.data)
        return
    for file in sorted(p for p in input_directory.rglob("*") if p.is_file()):
        try:
            yield "MODALITY1", read_part10(file.read_bytes())
        except ValueError as fault:
            _say(f"{file.name}: {fault}")


@contextmanager
def _daemon(directory: Path, pacs_port: int) -> Iterator[tuple[int, Path]]:
    """Run `hilum serve` with its data in `directory`; yields its port and its configuration file."""
    directory.mkdir(parents=True, exist_ok=True)
    configuration = directory / "hilum.toml"
    text = CONFIGURATION.format(port=0, pacs_port=pacs_port, pacs_ae_title=AE_TITLE, directory=directory)
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


def _run(
    directory: Path, port: int, configuration: Path, objects: Iterator[tuple[str, Part10]], pacs: Pacs, stay: bool
) -> int:
    """Send the objects, wait for the results, and print them; return the exit status."""
    _say(f"hilum listens as HILUM@127.0.0.1:{port}; a small PACS, {AE_TITLE}, listens on port {pacs.port}.")
    sent, refused = _send(port, objects)
    _say(f"{sent} objects were sent and stored, {refused} were refused. Results:")
    store = open_store("", directory)
    rows = _await(lambda: _rows(store.queries.studies(limit=1000)), sent)
    tables.show(rows, COLUMNS)
    reports = len(list(pacs.directory.glob("*.dcm")))
    _say(f"{reports} result objects arrived at the PACS, in {pacs.directory}.")
    _say(f"To query the audit database: hilum audit studies --config {configuration}")
    if stay:
        _stay(port, lambda: _rows(store.queries.studies(limit=1000)), rows)
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


def _rows(studies: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the studies, oldest first, with the seconds from receipt to delivery."""
    return [row | {"seconds": _seconds(row)} for row in reversed(studies)]


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


def _stay(port: int, rows: Callable[[], list[dict[str, Any]]], shown: list[dict[str, Any]]) -> None:
    """Print the table again whenever more studies have finished, until Ctrl-C."""
    _say(f"Send more: dcmsend -aec HILUM 127.0.0.1 {port} FILE.dcm      Ctrl-C ends the demonstration.")
    try:
        while True:
            time.sleep(1)
            found = rows()
            if found != shown and all(row["state"] in FINAL for row in found):
                tables.show(found, COLUMNS)
                shown = found
    except KeyboardInterrupt:
        _say("Good-bye.")


def _say(text: str) -> None:
    Console(soft_wrap=True, highlight=False).print(visible(text), markup=False, emoji=False)
