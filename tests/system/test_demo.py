"""`hilum demo` as a newcomer runs it: without a terminal, from beginning to end."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT


@pytest.mark.slow
def test_the_demonstration_shows_that_it_works(tmp_path: Path) -> None:
    """It ends with status 0, finds what it drew in nine of ten drawings, and each path that it prints exists."""
    command = [sys.executable, "-m", "daemon", "demo"]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=280, env=environment(tmp_path)
    )
    assert done.returncode == 0, done.stdout + done.stderr
    counted = re.search(r"agree for (\d+) of (\d+) drawn chests", done.stdout)
    assert counted, done.stdout
    assert int(counted[1]) >= 0.9 * int(counted[2]) > 0, done.stdout
    assert "knows drawings alone" in done.stdout
    printed = set(re.findall(rf"{re.escape(str(tmp_path))}[\w./-]*\w", done.stdout))
    assert {Path(path).name for path in printed} >= {"pages.png", "pacs", "hilum.toml"}
    assert [path for path in printed if not Path(path).exists()] == []


def environment(temporary: Path) -> dict[str, str]:
    """The environment with another folder for temporary files, and without the settings of a daemon."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HILUM__")}
    return kept | {"TMPDIR": str(temporary)}
