"""The benchmark runs, and counts what arrived."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, require
from tests.support.peers import ENVIRONMENT


@pytest.mark.slow
def test_throughput_for_a_few_studies(tmp_path: Path) -> None:
    """A short run of `make bench`: each study's report is waited for, and each figure is there and plausible."""
    require("dcmsend", "storescp")
    out = tmp_path / "throughput.json"
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks/throughput.py", "--studies", "8", "--single", "2", "--compressed",
         "--queued", "4", "--out", out],
        capture_output=True, text=True, env=ENVIRONMENT, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    figures = json.loads(out.read_text())
    assert figures["studies"] == 8
    assert 0.2 < figures["studies_per_second"] < 100
    assert 0 < figures["unloaded_last_byte_to_report_ms"]["p50"] < 30_000
    assert set(figures["cpu_ms_per_study"]) == {"receive", "analyse-0", "deliver", "house"}
    assert all(spent > 0 for spent in figures["cpu_ms_per_step"].values())
    assert figures["queued"]["studies"] == 4
    assert 100 < figures["queued"]["peak_memory_mb"] < 1500
