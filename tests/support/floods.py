"""Processes that flood a port of this machine with connections, each with the same bytes on it."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator

from tests.conftest import ROOT

#: Opens connections one after the other, sends the same bytes on each, keeps the last 200 open, and prints their number
#: when it is told to end.
FLOOD = """
import collections, contextlib, os, signal, socket, sys
port, sent, held = int(sys.argv[1]), sys.stdin.buffer.read(), collections.deque(maxlen=200)
opened = 0
signal.signal(signal.SIGTERM, lambda *_: (os.write(1, b"%d" % opened), os._exit(0)))
print("begun", flush=True)
while True:
    with contextlib.suppress(OSError):
        held.append(socket.create_connection(("127.0.0.1", port), 5))
        opened += 1
        held[-1].sendall(sent)
"""

#: What is sent on each connection: nothing, or an association request that is as large as it may be.
WIDE = """
from tests.support.raw_peer import *
names = tuple(b"1.2.840.10008.1.2.4.%d" % n for n in range(60)) + (IMPLICIT,)
contexts = b"".join(proposal(2 * n + 1, b"1.2.840.10008.5.1.4.1.1.%d" % n, names) for n in range(128))
sys.stdout.buffer.write(request(contexts=contexts))
"""
LONG = """
from tests.support.raw_peer import *
names = tuple(b"1.2.3.%d" % n for n in range(120)) + (IMPLICIT,)
contexts = b"".join(proposal(2 * n + 1, b"1.2.840.10008.5.1.4.1.1.1", names) for n in range(128))
sys.stdout.buffer.write(request(contexts=contexts))
"""
DEEP = """
from tests.support.raw_peer import *
roles = item(0x54, b"\\0\\x11" + VERIFICATION + b"\\1\\1") * 2400
sys.stdout.buffer.write(request(user=b"".join(item(0x50, roles) for _ in range(3))))
"""
FLOODS = {
    "half-open": "",
    "128 contexts with 61 syntaxes": WIDE,
    "128 contexts with 121 syntaxes": LONG,
    "user information of 180 KB": DEEP,
}


@contextlib.contextmanager
def flood(port: int, program: str) -> Iterator[list[int]]:
    """Run a process that floods `port` with what `program` writes.

    At the end, the list has the number of connections that it opened.
    """
    made = subprocess.run([sys.executable, "-c", f"import sys\n{program}"], cwd=ROOT, capture_output=True, check=True)
    opened: list[int] = []
    with subprocess.Popen(
        [sys.executable, "-c", FLOOD, str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin
        assert process.stdout
        try:
            process.stdin.write(made.stdout)
            process.stdin.close()
            assert process.stdout.readline() == b"begun\n"
            yield opened
            process.terminate()
            opened.append(int(process.stdout.read()))
        finally:
            process.kill()
