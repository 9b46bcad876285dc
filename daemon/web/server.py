"""The HTTP server: a client that is slow, silent or greedy loses its connection, and holds up nobody."""

import asyncio
from collections.abc import Callable
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from config.sections import HttpSettings
from daemon.web.guard import HEADERS

MOST_CONNECTIONS = 100
MOST_HEADER_BYTES = 16_384


def http_server(settings: HttpSettings, app: ASGIApp, turn: Callable[[], None] = lambda: None) -> uvicorn.Server:
    """Return a server for `app`. Its `run` serves until `handle_exit` is called, and calls `turn` every second."""

    async def notify() -> None:
        turn()

    return uvicorn.Server(
        uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            callback_notify=notify,
            timeout_notify=1,
            http=TimedProtocol,
            ws="none",
            h11_max_incomplete_event_size=MOST_HEADER_BYTES,
            timeout_keep_alive=settings.timeout_seconds,  # type: ignore[arg-type]  # seconds of call_later
            timeout_graceful_shutdown=10,
            server_header=False,
            log_config=None,
            access_log=False,
        )
    )


class TimedProtocol(H11Protocol):
    """One connection. It is cut off when a request, an answer or the pause between two takes too long.

    Each of them may take `http.timeout_seconds`: a request with its answer from its first byte, the first one from the
    opening of the connection; and the reading of an answer together with the pause that follows it.
    """

    _end: asyncio.TimerHandle | None = None
    _idle = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to count, or turn the connection away if there are too many."""
        super().connection_made(transport)
        self._count()
        if len(self.connections) > MOST_CONNECTIONS:
            self._refuse(503, "Too many connections.")

    def data_received(self, data: bytes) -> None:
        """Begin to count anew at the first byte after an answer."""
        if self._idle:
            self._idle = False
            self._count()
        if not self.transport.is_closing():
            super().data_received(data)

    def on_response_complete(self) -> None:
        """Begin to count anew: the client has to read the answer, too."""
        self._idle = True
        self._count()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cease to count."""
        if self._end:
            self._end.cancel()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP."""
        self._refuse(400, msg)

    def _count(self) -> None:
        if self._end:
            self._end.cancel()
        self._end = self.loop.call_later(self.timeout_keep_alive, self.transport.abort)

    def _refuse(self, status: int, words: str) -> None:
        headers: dict[str, Any] = {"content-type": "text/plain; charset=utf-8", "connection": "close", **HEADERS}
        headers["content-length"] = len(words)
        lines = [f"HTTP/1.1 {status} ", *(f"{name}: {value}" for name, value in headers.items())]
        self.transport.write("\r\n".join([*lines, "", words]).encode())
        self.transport.close()
