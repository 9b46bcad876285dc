"""A part's signs of life: what it promises, who sees that it is overdue; and a log that nobody reads."""

import json
import os
import subprocess
import sys
import time

from daemon.runtime.vitals import FROZEN_SECONDS, STARTING_SECONDS, WAITING_SECONDS, Vital
from tests.conftest import ROOT


def test_a_promise_is_kept_or_overdue() -> None:
    """A part that works is in order until its next sign is overdue; a long promise covers a long analysis."""
    vital, now = Vital(), time.monotonic()
    assert (vital.trouble(now), vital.is_overdue(now)) == ("is not running", False)
    vital.start()
    assert vital.trouble(now) == "is starting"
    assert vital.is_overdue(now + STARTING_SECONDS + 1)
    vital.beat()
    assert vital.trouble(now + WAITING_SECONDS - 1) == ""
    assert vital.trouble(now + WAITING_SECONDS + 1) == "gives no sign of life"
    vital.beat(90)
    assert vital.trouble(now + 89) == ""
    vital.hurry(FROZEN_SECONDS)
    assert vital.is_overdue(now + FROZEN_SECONDS + 1)
    vital.excuse()
    assert not vital.is_overdue(now + WAITING_SECONDS - 1)
    vital.beat(float("inf"))
    assert not vital.is_overdue(now + 1e9)


def test_processes_see_each_others_signs() -> None:
    """What a forked process writes, its parent reads."""
    vital = Vital()
    child = os.fork()
    if not child:
        vital.beat(50)
        os._exit(0)
    os.waitpid(child, 0)
    assert vital.works
    assert vital.trouble(time.monotonic() + 40) == ""


def test_a_log_that_nobody_reads_stops_nobody() -> None:
    """A full pipe: the process goes on and ends; when somebody reads again, a line says how many were lost."""
    script = (
        "from daemon.runtime import log; import sys; log.configure('info', 'x')\n"
        "for number in range(5000): log.get().info('line', number=number)\n"
        "print('done', flush=True); sys.stdin.readline(); log.get().info('afterwards')"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin
    assert process.stdout
    assert process.stderr
    assert process.stdout.readline() == "done\n"
    first = [json.loads(process.stderr.readline()) for _ in range(100)]  # makes room
    process.stdin.write("\n")
    process.stdin.close()
    *more, last = [json.loads(line) for line in process.stderr.read().splitlines()]
    assert process.wait(30) == 0
    assert last["event"] == "afterwards"
    assert last["lines_lost"] == 5000 - len(first) - len(more)
