"""`python -m tests.faulty POINT TIMES`: hilum serve, killed with all its parts at a durable operation.

With TIMES 0 the part alone that comes to the point crashes there, each time, as a bad decoder would make it.
"""

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
        if times and seen == times:
            os.killpg(0, signal.SIGKILL)
        if not times and here == point:
            os.kill(os.getpid(), signal.SIGSEGV)

    sys.exit(serve(load(None, os.environ), lambda: load(None, os.environ), fault))
