"""Who is told: an HTTP receiver that fails in many ways, and a mail server (aiosmtpd)."""

import base64
import json
import socket
import ssl
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope

from dicom_io.network.tls import TlsFiles
from tests.conftest import ROOT
from tests.support.peers import free_port

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()


class WebhookReceiver:
    """An HTTP server; `script` says what becomes of the request of that number: a status, or a mood.

    `hang` never answers, `drip` sends its header a byte at a time, `drop` closes the connection unanswered.
    """

    def __init__(self, script: Callable[[int], int | str] = lambda number: 204, tls: TlsFiles | None = None):
        self.script, self._tls = script, tls
        self.judge: Callable[[bytes], int] | None = None
        """Instead of the script: the status for a body."""
        self.port = free_port()
        self.tried: list[int | str] = []
        self.taken: list[tuple[dict[str, str], bytes]] = []
        """Headers, in lower case, and body of what was answered with 2xx."""
        self._released = threading.Event()
        self._server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}/hook"

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.taken]

    def __enter__(self) -> "WebhookReceiver":
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver._answer(self, {k.lower(): v for k, v in self.headers.items()}, body)

            def do_HEAD(self) -> None:
                self.send_error(405)

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        if self._tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self._tls.certificate, self._tls.key)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        threading.Thread(target=self._server.serve_forever, args=[0.02], daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._server
        self._released.set()
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, request: BaseHTTPRequestHandler, headers: dict[str, str], body: bytes) -> None:
        mood = self.judge(body) if self.judge else self.script(len(self.tried))
        self.tried.append(mood)
        if mood == "hang":
            self._released.wait(60)
        elif mood == "drip":
            for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 10_000:
                if self._released.wait(0.1):
                    return
                try:
                    request.connection.sendall(bytes([byte]))
                except OSError:
                    return
        elif mood == "drop":
            request.connection.shutdown(socket.SHUT_RDWR)
        else:
            if 200 <= int(mood) < 300:
                self.taken.append((headers, body))
            request.send_response(int(mood))
            if 300 <= int(mood) < 400:
                request.send_header("Location", "/elsewhere")
            request.send_header("Content-Length", "0")
            request.end_headers()


def _documented() -> Callable[[dict[str, str], bytes, str], bool]:
    """The function by which docs/operations.md has a receiver verify a webhook."""
    page = (ROOT / "docs" / "operations.md").read_text()
    names: dict[str, Any] = {}
    exec(page.split("### How a receiver verifies a webhook")[1].split("```python\n")[1].split("```")[0], names)
    return names["is_from_hilum"]  # type: ignore[no-any-return]


def is_signed(headers: dict[str, str], body: bytes, secret: str = SECRET) -> bool:
    """Verify as the documentation tells a receiver to."""
    return _documented()(headers, body, secret)


class MailServer:
    """A mail server that keeps what it takes; `replies` are what it says to RCPT and DATA, else 250.

    With `users` it asks for a login, after STARTTLS where it has a certificate.
    """

    def __init__(self, files: TlsFiles | None = None, users: dict[str, str] | None = None, implicit: bool = False):
        self.mails: list[Envelope] = []
        self.rcpt: dict[str, str] = {}
        self.data: list[str] = []
        context = None
        if files:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(files.certificate, files.key)
        known = users or {}

        def authenticate(_server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any) -> AuthResult:
            return AuthResult(success=known.get(data.login.decode()) == data.password.decode(), handled=False)

        self.port = free_port()
        how: dict[str, Any] = {"authenticator": authenticate, "auth_required": bool(users)}
        how |= {"ssl_context": context, "auth_require_tls": False} if implicit else {
            "tls_context": context, "require_starttls": context is not None}  # fmt: skip
        self._controller = Controller(self, "127.0.0.1", self.port, **how)

    async def handle_RCPT(self, _server: Any, _session: Any, envelope: Envelope, address: str, options: Any) -> str:
        reply = self.rcpt.get(address, "250 OK")
        if reply.startswith("2"):
            envelope.rcpt_tos.append(address)
        return reply

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Envelope) -> str:
        reply = self.data.pop(0) if self.data else "250 OK"
        if reply.startswith("2"):
            self.mails.append(envelope)
        return reply

    def __enter__(self) -> "MailServer":
        self._controller.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._controller.stop()
