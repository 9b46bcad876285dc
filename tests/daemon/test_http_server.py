"""HTTP answers for our own hosts alone, and a slow, silent or greedy client holds up nobody."""

import contextlib
import http.client
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from config.sections import HttpSettings
from config.settings import ConfigurationError, load
from daemon.web import server
from daemon.web.api import application
from daemon.web.guard import HEADERS, Guard
from daemon.web.server import http_server
from storage.spool import Spool
from storage.store import open_store
from tests.conftest import wait_for
from tests.support.peers import answers, free_port
from tests.support.studies import at, image

SECONDS = 2.0


@pytest.fixture
def app(tmp_path: Path) -> Guard:
    """The application, with a study, a host of its own and an allowed one."""
    environ = {"HILUM__STORAGE__DIRECTORY": str(tmp_path), "HILUM__STORAGE__MIN_FREE_BYTES": "1",
               "HILUM__HTTP__HOST": "10.1.2.3", "HILUM__HTTP__ALLOWED_HOSTS": '["Ris.example", "fd00::1"]'}  # fmt: skip
    store = open_store("", tmp_path)
    store.journal.received(image(), at(0))
    return application(load(None, environ), store, Spool(tmp_path / "spool"))


@contextlib.contextmanager
def serving(app: Any) -> Iterator[int]:
    """The application behind our server, with short times; its port."""
    port = free_port()
    running = http_server(HttpSettings(port=port, timeout_seconds=SECONDS), app)
    thread = threading.Thread(target=running.run)
    thread.start()
    try:
        wait_for(lambda: answers(port), what="the HTTP server")
        yield port
    finally:
        running.should_exit = True
        thread.join(30)
        assert not thread.is_alive()


@pytest.fixture
def port(app: Guard) -> Iterator[int]:
    with serving(app) as number:
        yield number


OURS = ["localhost", "LOCALHOST:8080", "localhost.", "127.0.0.1", "127.3.2.1:80", "[::1]", "[::1]:8080",
        "[::ffff:127.0.0.1]", "10.1.2.3:8080", "ris.example", "RIS.example.:443", "[FD00:0::1]"]  # fmt: skip
STRANGE = ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "evillocalhost", "10.1.2.4", "0.0.0.0",
           "[fd00::2]", "2130706433", "127.1", "localhost@evil.example", "evil.example:80:localhost", "[::1", "::1",
           "ris.example,evil.example", "<script>alert(1)</script>", "x" * 5000, " ", "*", "b\xfccher"]  # fmt: skip


@pytest.mark.parametrize("path", ["/api/v1/studies", "/health", "/metrics", "/openapi.json", "/nowhere"])
def test_our_hosts_are_answered_and_others_are_not(app: Guard, path: str) -> None:
    """localhost, loopback addresses, http.host and http.allowed_hosts; anything else is 421 and says nothing of it."""
    client = TestClient(app)
    expected = 404 if path == "/nowhere" else 200
    assert {client.get(path, headers={"host": host}).status_code for host in OURS} == {expected}
    for host in STRANGE:
        refused = client.get(path, headers=[(b"host", host.encode("latin-1"))])
        assert refused.status_code == 421, host
        assert "1.2.3" not in refused.text
        assert "evil" not in refused.text
        assert "script" not in refused.text


def test_the_name_in_an_address_line_does_not_count(port: int) -> None:
    """A request with two Host headers, or none, is 400; none of them sees a study."""
    for head in ("Host: localhost\r\nHost: evil.example\r\n", ""):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(f"GET /api/v1/studies HTTP/1.0\r\n{head}\r\n".encode())
            assert connection.makefile("rb").readline().startswith(b"HTTP/1.1 400")


def test_every_answer_says_that_it_is_not_to_be_kept(app: Guard, port: int) -> None:
    """Pages, refusals, errors of the protocol, and an answer to a fault of ours: no-store and nosniff, each once."""
    for method, path, host in (
        ("GET", "/api/v1/studies", "localhost"), ("GET", "/api/v1/studies?limit=x", "localhost"),
        ("POST", "/health", "localhost"), ("GET", "/nowhere", "localhost"), ("GET", "/health", "evil.example"),
        ("HEAD", "/metrics", "localhost"), ("GET", "/a" * 9000, "localhost"), ("BR\x01OKEN", "/", "localhost"),
    ):  # fmt: skip
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            head = connection.makefile("rb").read().decode().split("\r\n\r\n")[0].lower()
        for name, value in HEADERS.items():
            assert head.count(f"{name}: {value}") == 1, (method, path[:20], head)
        assert "uvicorn" not in head


def ended_after(connection: socket.socket, drip: bytes) -> float:
    """Send one byte after another until the server ends the connection; the seconds that it took."""
    began = time.monotonic()
    connection.settimeout(0.1)
    while time.monotonic() - began < 30:
        with contextlib.suppress(TimeoutError):
            try:
                if drip:
                    connection.sendall(drip)
                if not connection.recv(65536):
                    break
            except OSError as error:
                if isinstance(error, TimeoutError):
                    raise
                break
    return time.monotonic() - began


SLOW = {
    "silent": (b"", b""),
    "drips its headers": (b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: ", b"x"),
    "drips its body": (b"POST /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n", b"x"),
    "drips after its answer": (b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n", b"G"),
    "idle after its answer": (b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n", b""),
    "drips a chunk": (b"POST /health HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"x"),
}


@pytest.mark.parametrize("kind", SLOW)
def test_a_client_that_drips_is_ended(port: int, kind: str) -> None:
    """Within the time for a request and the one for the pause after it; others are answered meanwhile."""
    first, drip = SLOW[kind]
    with socket.create_connection(("127.0.0.1", port)) as slow:
        slow.sendall(first)
        other = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        other.request("GET", "/health", headers={"Host": "localhost"})
        assert other.getresponse().status == 200
        other.close()
        assert SECONDS * 0.5 < ended_after(slow, drip) < SECONDS * 6


@pytest.mark.parametrize("more", ["", "Connection: close\r\n"])
def test_a_client_that_does_not_read_is_ended(more: str) -> None:
    """An answer that nobody fetches does not stay in memory."""

    async def endless(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": bytes(100_000_000)})

    with serving(endless) as port, socket.create_connection(("127.0.0.1", port)) as slow:
        slow.sendall(f"GET / HTTP/1.1\r\nHost: localhost\r\n{more}\r\n".encode())
        time.sleep(SECONDS * 3)
        slow.settimeout(10)
        received = 0
        with contextlib.suppress(ConnectionError):
            while block := slow.recv(1 << 20):
                received += len(block)
        assert received < 100_000_000


def test_a_client_that_goes_on_is_kept(port: int) -> None:
    """Requests one after another on one connection are answered for longer than one of them may take."""
    kept = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    deadline = time.monotonic() + 2 * SECONDS
    kept.connect()
    held = kept.sock
    while time.monotonic() < deadline:
        kept.request("GET", "/health", headers={"Host": "localhost"})
        assert kept.getresponse().read()
        time.sleep(SECONDS / 4)
    assert kept.sock is held


def test_more_connections_than_there_is_room_for(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """They get 503 at once; when the others are gone, there is room again."""
    monkeypatch.setattr(server, "MOST_CONNECTIONS", 5)
    with contextlib.ExitStack() as held:
        for _ in range(5):
            held.enter_context(socket.create_connection(("127.0.0.1", port)))
        with socket.create_connection(("127.0.0.1", port), timeout=10) as late:
            assert late.makefile("rb").read().startswith(b"HTTP/1.1 503 ")

    def answered() -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException):
            client = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            client.request("GET", "/health", headers={"Host": "localhost"})
            return client.getresponse().status == 200
        return False

    wait_for(answered, 20, "room")


@pytest.mark.parametrize("host", ["*", "http://ris.example", "ris.example:8080", "", "[::1]", "a b", "*.example"])
def test_a_host_that_no_header_can_name_is_refused(host: str) -> None:
    """`http.allowed_hosts` takes names and addresses, no patterns, no ports."""
    with pytest.raises(ConfigurationError, match=r"http\.allowed_hosts"):
        load(None, {"HILUM__HTTP__ALLOWED_HOSTS": f'["{host}"]'})
