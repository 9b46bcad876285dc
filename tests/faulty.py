"""`python -m tests.faulty POINT TIMES`: hilum serve, killed with all its parts at a durable operation."""

import os
import signal
import sys

from config.settings import load
from daemon.serve import serve

if __name__ == "__main__":
    point, times = sys.argv[1], int(sys.argv[2])
    seen = 0

    def fault(here: str) -> None:
        global seen
        seen += here == point
        if seen == times:
            os.killpg(0, signal.SIGKILL)

    sys.exit(serve(load(None, os.environ), lambda: load(None, os.environ), fault))
