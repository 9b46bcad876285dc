"""Mutated requests to the HTTP port: none is answered by 5xx, none kills the process, and `/health` stays 200."""

import contextlib
import json
import random
import re
import socket
import urllib.error
import urllib.request
from dataclasses import dataclass, field, replace
from typing import Any

from tests.conftest import wait_for
from tests.support.mutations import VALUES, flipped
from tests.system.fuzzing.figures import Figures
from tests.system.fuzzing.sockets import half_close

KIND = "HTTP requests"
SILENCE_SECONDS, CLOSING_SECONDS = 0.3, 10.0  # until we close our side; until the daemon must have closed the other
MOST_REQUESTS = 3  # in one connection
TARGETS = (
    "/health", "/metrics", "/openapi.json", "/api/v1/studies", "/api/v1/studies?limit=5&state=DELIVERED",
    "/api/v1/studies?patient_id=M1&accession_number=1&finding=Effusion&limit=1", "/api/v1/studies/2.25.1.0.0/results",
    "/api/v1/studies/2.25.1.0.0/events", "/", "/docs",
)  # fmt: skip
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PRI", "get", "G\0T", "", "A" * 9000)
VERSIONS = ("HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "HTTP/0.9", "HTTP/1.1.1", "http/1.1", "HTTP/9999999999.1", "")
ESCAPES = (
    "%00",
    "%",
    "%%",
    "%zz",
    "%ff%fe",
    "%ed%a0%80",
    "%c0%af",
    "%2e%2e%2f",
    "%0d%0a",
    "%F0%9F%A9%BB",
    "..//",
    "?#&=",
    "+",
)
NUMBERS = ("-1", "0", "10001", "1e3", "99999999999999999999999", "9" * 5000, "NaN", "0x10", "१", " 5 ", "5;6")
NAMES = ("limit", "state", "finding", "patient_id", "accession_number", "study_instance_uid", "", "limit[]")
HOSTS = (
    "example.com", "localhost:99999999", "[::1", "[::ffff:127.0.0.1]", "", "127.0.0.1@example.com", "127.1",
    "a" * 5000, "localhost, localhost", "\xff", "::1", "LOCALHOST.", "٣.0.0.1",
)  # fmt: skip
HEADERS = (
    ("Content-Length", "5"), ("Content-Length", "-1"), ("Content-Length", "99999999999999999999"),
    ("Content-Length", "5, 6"), ("Transfer-Encoding", "chunked"), ("Transfer-Encoding", "gzip, chunked"),
    ("Transfer-Encoding", "identity"), ("Expect", "100-continue"), ("Expect", "?"), ("Upgrade", "websocket"),
    ("Upgrade", "h2c"), ("Connection", "upgrade"), ("Connection", "close"), ("Range", "bytes=0-1,5-,-9"),
    ("Accept", "\0"), ("Accept-Encoding", "gzip;q=NaN"), ("Content-Type", "application/json; charset=rot13"),
    ("Cookie", "a=" + "b" * 9000), ("X-Forwarded-For", "1.2.3.4"), ("Authorization", "Basic ====" ), ("Na me", "1"),
    ("", ""), ("X", "a\r\n folded"), ("X", "a\rb"), ("Long", "x" * 20_000), ("Host", "localhost"),
)  # fmt: skip
BODIES = (
    b"", b"{}", b"[" * 5000, b"5\r\nhello\r\n0\r\n\r\n", b"FFFFFFFFFFFFFFFFF\r\n", b"-1\r\nx\r\n", b"0\r\nX: y\r\n",
    b"5;ext=\"\r\nhello\r\nzz\r\n", b"\0" * 70_000, b"1\r\na\n0\n\n",
)  # fmt: skip


@dataclass(frozen=True)
class Request:
    """An HTTP request, as text where a byte is a character."""

    method: str = "GET"
    target: str = "/health"
    version: str = "HTTP/1.1"
    headers: tuple[tuple[str, str], ...] = (("Host", "localhost"), ("Accept", "*/*"))
    body: bytes = field(default=b"")

    def encode(self) -> bytes:
        lines = [f"{self.method} {self.target} {self.version}", *(f"{name}: {value}" for name, value in self.headers)]
        return "\r\n".join([*lines, "", ""]).encode("latin-1", "backslashreplace") + self.body


LAST = Request(headers=(("Host", "localhost"), ("Connection", "close")))
"""Makes the daemon answer and close, where what came before it let it."""


def mutated_requests(chance: random.Random) -> bytes:
    """What one connection says: one to three requests, one to four changes to each."""
    said = []
    for _ in range(chance.choice([1, 1, 1, 2, MOST_REQUESTS])):
        made = Request(target=chance.choice(TARGETS))
        for _ in range(chance.choice([1, 1, 2, 4])):
            made = chance.choice(CHANGES)(made, chance)
        raw = made.encode()
        said.append(flipped(raw, chance) if chance.random() < 0.2 else raw)
    if chance.random() < 0.05:
        said.append(chance.randbytes(chance.choice([1, 100, 30_000])))
    if chance.random() < 0.7:
        said.append(LAST.encode())
    return b"".join(said)


def _line(made: Request, chance: random.Random) -> Request:
    if chance.random() < 0.5:
        return replace(made, method=chance.choice(METHODS))
    return replace(made, version=chance.choice(VERSIONS))


def _target(made: Request, chance: random.Random) -> Request:
    at = chance.randrange(len(made.target) + 1)
    strange = chance.choice(ESCAPES) * chance.choice([1, 1, 3, 6000])
    if chance.random() < 0.1:
        return replace(made, target=chance.choice(["", "*", "http://localhost/health", "//", "localhost:1", "?" * 99]))
    return replace(made, target=made.target[:at] + strange + made.target[at:])


def _query(made: Request, chance: random.Random) -> Request:
    value = chance.choice([*NUMBERS, *ESCAPES, *(text.decode("latin-1").encode().hex("%") for text in VALUES[:20])])
    pair = f"{chance.choice(NAMES)}={value}"
    return replace(made, target=f"/api/v1/studies?{'&'.join([pair] * chance.choice([1, 1, 2, 500]))}")


def _study(made: Request, chance: random.Random) -> Request:
    uid = "".join(f"%{byte:02X}" for byte in chance.choice(VALUES)[:3000]) or chance.choice(ESCAPES)
    return replace(made, target=f"/api/v1/studies/{uid}/{chance.choice(['results', 'events', '', 'x'])}")


def _host(made: Request, chance: random.Random) -> Request:
    return replace(made, headers=(("Host", chance.choice(HOSTS)), *made.headers[1:]))


def _headers(made: Request, chance: random.Random) -> Request:
    headers = list(made.headers)
    match chance.randrange(4):
        case 0 if headers:
            del headers[chance.randrange(len(headers))]
        case 1:
            headers += [chance.choice(HEADERS)] * chance.choice([1, 2, 300])
        case _:
            headers.insert(chance.randrange(len(headers) + 1), chance.choice(HEADERS))
    return replace(made, headers=tuple(headers))


def _body(made: Request, chance: random.Random) -> Request:
    body = chance.choice(BODIES)
    how = chance.choice([(), (("Content-Length", str(len(body))),), (("Transfer-Encoding", "chunked"),)])
    return replace(made, method=chance.choice(["POST", "GET"]), headers=(*made.headers, *how), body=body)


CHANGES = (_line, _target, _query, _study, _host, _headers, _body)


class HttpFuzz:
    """Says mutated requests to the daemon's HTTP port, and counts the status of the first answer to each."""

    def __init__(self, port: int, figures: Figures):
        self._port, self._figures = port, figures

    def __call__(self, chance: random.Random) -> None:
        """One connection, and all that it says at once."""
        said = mutated_requests(chance)
        try:
            answer = spoken(self._port, said)
        except TimeoutError:
            self._figures.findings.append(f"HTTP: a connection whose peer closed was kept open: {said!r:.1000}")
            answer = b""
        statuses = [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)]
        if any(status >= 500 for status in statuses):
            self._figures.findings.append(f"HTTP: {statuses} to {said!r:.2000}")
        self._figures.note(KIND, str(statuses[0]) if statuses else "none")

    def await_start(self) -> None:
        """Return when every part of the daemon has started: until then /health rightly says 503."""
        wait_for(lambda: self._health()["status"] == "ok", 300, "the start of the daemon")

    def look(self) -> None:
        """The daemon is well, by its own account."""
        said = self._health()
        if said["status"] != "ok":
            self._figures.findings.append(f"HTTP: /health says {said}")

    def _health(self) -> dict[str, Any]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/health", timeout=30) as response:
                return dict(json.load(response))
        except urllib.error.HTTPError as refused:
            return dict(json.load(refused))


def spoken(port: int, said: bytes) -> bytes:
    """What the daemon answers until it closes, or is silent. Raises TimeoutError where it does not close after us."""
    heard = b""
    with contextlib.suppress(ConnectionError), socket.create_connection(("127.0.0.1", port), CLOSING_SECONDS) as peer:
        with contextlib.suppress(ConnectionError):  # it may have refused us before it read everything
            peer.sendall(said)
        peer.settimeout(SILENCE_SECONDS)
        with contextlib.suppress(TimeoutError):
            while more := peer.recv(1 << 16):
                heard += more
            return heard
        peer.settimeout(CLOSING_SECONDS)
        half_close(peer)
        while more := peer.recv(1 << 16):
            heard += more
    return heard
