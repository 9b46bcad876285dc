"""Studies per second, end to end: dcmtk's dcmsend -> hilum -> dcmtk's storescp, all on this machine.

    python benchmarks/throughput.py [--studies 200] [--senders 4] [--compressed] [--queued 500] [--naive FILE]
                                    [--out FILE.json]

Each study is one 2048 x 2500 DX image (10 MB uncompressed) of a drawn thorax. Prints throughput, the time from the last
byte sent to the report's arrival (unloaded: one study at a time), processor time by part and by step, and peak memory.
--queued N: memory while N studies lie between a PACS that sends and one that is down. --naive runs a script that is
called as `python FILE PORT PACS_PORT` the same way, for comparison.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.steps import step_milliseconds
from benchmarks.studies import make_studies
from tests.conftest import ROOT, wait_for
from tests.support.harness import Daemon, sink
from tests.support.peers import answers, free_port, storescp


def send(files: list[Path], port: int, called: str = "HILUM") -> None:
    """One dcmsend with these files, in their own transfer syntaxes."""
    done = subprocess.run(
        ["dcmsend", "-aec", called, "--decompress-never", "127.0.0.1", str(port), *map(str, files)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"dcmsend failed: {done.stderr}")


def send_together(files: list[Path], port: int, senders: int) -> None:
    """Several dcmsend at once, each with its share."""
    with ThreadPoolExecutor(senders) as pool:
        list(pool.map(lambda share: send(share, port), [files[n::senders] for n in range(senders)]))


def arrived(directory: Path, number: int, seconds: float = 600) -> float:
    """Wait for `number` files; when the last one was written, as time.time()."""
    wait_for(lambda: sum(1 for _ in directory.iterdir()) >= number, seconds, f"{number} reports in the sink")
    return max(f.stat().st_mtime for f in directory.iterdir())


def processor_seconds(events: list[dict[str, Any]]) -> dict[str, float]:
    """User and system time of each part, by the pid it logged."""
    ticks = os.sysconf("SC_CLK_TCK")
    seconds = {}
    for event in events:
        stat = Path(f"/proc/{event.get('pid')}/stat")
        if event.get("event") == "started" and stat.exists():
            fields = stat.read_text().rsplit(")", 1)[1].split()
            seconds[event["part"]] = (int(fields[11]) + int(fields[12])) / ticks
    return seconds


def memory_bytes(events: list[dict[str, Any]]) -> int:
    """Proportional set size of all parts now: shared pages count once."""
    total = 0
    for event in events:
        rollup = Path(f"/proc/{event.get('pid')}/smaps_rollup")
        if event.get("event") == "started" and rollup.exists():
            line = next(line for line in rollup.read_text().splitlines() if line.startswith("Pss:"))
            total += int(line.split()[1]) * 1024
    return total


def percentiles(values: list[float]) -> dict[str, float]:
    return {f"p{p}": round(float(np.percentile(values, p)), 1) for p in (50, 95, 99)}


def unloaded_ms(files: list[Path], daemon: Daemon, reports: Path) -> list[float]:
    """For one study after another: from its last byte (`received_at`) to the report's arrival, ms."""
    times, before = [], sum(1 for _ in reports.iterdir())
    for number, file in enumerate(files, before + 1):
        send([file], daemon.port)
        times.append(arrived(reports, number))
    received = [datetime.fromisoformat(row["received_at"]).timestamp() for row in daemon.studies()[: len(files)]]
    return [(there - here) * 1000 for there, here in zip(times, reversed(received), strict=True)]


def measure(arguments: argparse.Namespace, work: Path) -> dict[str, Any]:
    files = make_studies(work / "studies", arguments.studies + arguments.single + 8, arguments.compressed)
    warm, single, many = files[:8], files[8 : 8 + arguments.single], files[8 + arguments.single :]
    with storescp(work / "sink") as pacs, Daemon(work / "hilum", [sink("pacs", pacs.port)]) as daemon:
        daemon.await_event("ready to analyse")
        send(warm, daemon.port)
        arrived(pacs.directory, len(warm))
        latency = unloaded_ms(single, daemon, pacs.directory)
        before, began, peak = processor_seconds(daemon.events), time.time(), memory_bytes(daemon.events)
        with ThreadPoolExecutor(1) as pool:
            sending = pool.submit(send_together, many, daemon.port, arguments.senders)
            while not sending.done():
                peak = max(peak, memory_bytes(daemon.events))
                time.sleep(0.5)
            sending.result()
        last = arrived(pacs.directory, len(files))
        used = processor_seconds(daemon.events)
        return {
            "studies": len(many),
            "megabytes_each": round(many[1].stat().st_size / 1e6, 1),
            "studies_per_second": round(len(many) / (last - began), 2),
            "unloaded_last_byte_to_report_ms": percentiles(latency),
            "cpu_ms_per_study": {part: round(1000 * (used[part] - before[part]) / len(many), 1) for part in used},
            "cpu_ms_per_step": step_milliseconds(many[:8]),
            "peak_memory_mb": round(peak / 1e6),
        }


def measure_queued(number: int, senders: int, work: Path) -> dict[str, Any]:
    """Peak memory while the daemon takes `number` studies whose reports cannot go, and how long these take after."""
    files = make_studies(work / "queued-studies", number, False)
    port, peak = free_port(), 0
    with Daemon(work / "queued", [sink("pacs", port)]) as daemon:
        daemon.await_event("ready to analyse")
        with ThreadPoolExecutor(1) as pool:
            sending = pool.submit(send_together, files, daemon.port, senders)
            while not sending.done() or any(row["state"] == "RECEIVED" for row in daemon.studies()):
                peak = max(peak, memory_bytes(daemon.events))
                time.sleep(0.5)
            sending.result()
        began = time.time()
        with storescp(work / "queued-sink", port=port) as pacs:
            waited = arrived(pacs.directory, number) - began
            peak = max(peak, memory_bytes(daemon.events))
    return {"studies": number, "peak_memory_mb": round(peak / 1e6), "seconds_to_deliver_all": round(waited, 1)}


def measure_naive(script: Path, number: int, work: Path) -> float:
    """Studies per second of a script that does the same job."""
    files = make_studies(work / "naive-studies", number + 2, False)
    with storescp(work / "naive-sink") as pacs:
        port = free_port()
        process = subprocess.Popen(
            [sys.executable, str(script), str(port), str(pacs.port)],
            cwd=script.parent,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_for(lambda: answers(port), 120, "the naive daemon")
            send_together(files[:2], port, 2)
            arrived(pacs.directory, 2)
            began = time.time()
            send_together(files[2:], port, 4)
            return number / (arrived(pacs.directory, len(files)) - began)
        finally:
            process.kill()
            process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=200)
    parser.add_argument("--single", type=int, default=20, help="studies sent one by one, for the time unloaded")
    parser.add_argument("--senders", type=int, default=4)
    parser.add_argument("--compressed", action="store_true", help="every fourth image JPEG-LS")
    parser.add_argument("--queued", type=int, default=0, help="studies to queue before a PACS that is down")
    parser.add_argument("--naive", type=Path, help="a script to compare with")
    parser.add_argument("--naive-studies", type=int, default=12)
    parser.add_argument("--out", type=Path, default=ROOT / "bench-output/throughput.json")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hilum-bench-") as work:
        figures = measure(arguments, Path(work))
        if arguments.queued:
            figures["queued"] = measure_queued(arguments.queued, arguments.senders, Path(work))
        if arguments.naive:
            naive = measure_naive(arguments.naive, arguments.naive_studies, Path(work))
            figures["naive_studies_per_second"] = round(naive, 2)
            figures["times_naive"] = round(figures["studies_per_second"] / naive, 1)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(figures, indent=1) + "\n")
    for key, value in figures.items():
        print(f"{key:34} {value}")


if __name__ == "__main__":
    main()
