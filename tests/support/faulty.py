"""`python -m tests.support.faulty POINT TIMES`: hilum serve, killed with all its parts at a durable operation.

With TIMES 0 the part alone that comes to the point crashes there, each time. With POINT `decode` the decoder does what
the Image Comments of an image say: `crash`, `hang`, `eat` memory or `raise` an error whose text names the patient, as a
fault in it would; other images decode. With POINT `clock` it runs under libfaketime: `time.sleep` waits by select(),
because libfaketime leaves CLOCK_MONOTONIC alone as told, but makes clock_nanosleep() to a time of it fail.
"""

import os
import select
import signal
import sys
import time
from typing import Any

import numpy as np

from daemon import pipeline
from daemon.parts.serve import serve
from daemon.wiring import read_settings


def tell(header: Any) -> None:
    raise LookupError(f"no picture of {header.text('PatientName')} {header.text('PatientID')}")


POISONS: dict[str, Any] = {
    "crash": lambda header: os.kill(os.getpid(), signal.SIGSEGV),
    "hang": lambda header: time.sleep(3600),
    "eat": lambda header: [np.empty(1 << 27) for _ in range(1000)],
    "raise": tell,
}


def poisoned(decode: Any) -> Any:
    def decode_or_worse(path: Any, max_pixels: Any, size_hint: Any, header: Any) -> Any:
        POISONS.get(header.text("ImageComments"), lambda header: None)(header)
        return decode(path, max_pixels, size_hint, header)

    return decode_or_worse


if __name__ == "__main__":
    point, times = sys.argv[1], int(sys.argv[2])
    seen = 0
    if point == "decode":
        pipeline.decode = poisoned(pipeline.decode)
    if point == "clock":
        time.sleep = lambda seconds: select.select([], [], [], seconds)

    def fault(here: str) -> None:
        global seen
        seen += here == point
        if times and seen == times:
            os.killpg(0, signal.SIGKILL)
        if not times and here == point:
            os.kill(os.getpid(), signal.SIGSEGV)

    sys.exit(serve(read_settings(None, os.environ), lambda: read_settings(None, os.environ), fault))
