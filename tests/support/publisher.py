"""A web server over TLS that publishes one file, and can be told to fail as web servers do."""

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from dicom_io.network.tls import TlsFiles


@dataclass
class Publisher:
    """What is served, how it is served, and the headers of the requests."""

    content: bytes
    etag: str = '"v1"'
    ranges: bool = True  # whether it understands Range
    cut_after: int = 0  # bytes, after which the connection is closed; 0: never
    says_length: bool = True
    status: int = 200
    content_type: str = "application/octet-stream"
    redirect: str = ""
    port: int = 0
    asked: list[dict[str, str]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}/model.pt"


@contextmanager
def published(content: bytes, files: TlsFiles, **how: Any) -> Iterator[Publisher]:
    """Serve `content` at `Publisher.url` until the end of the block."""
    publisher = Publisher(content, **how)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            publisher.asked.append({name.lower(): value for name, value in self.headers.items()})
            _answer(self, publisher)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # the client refuses the certificate
    publisher.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield publisher
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _answer(request: BaseHTTPRequestHandler, publisher: Publisher) -> None:
    if publisher.redirect:
        request.send_response(302)
        request.send_header("Location", publisher.redirect)
        request.end_headers()
        return
    whole = publisher.content
    start = _start(request.headers.get("Range", ""), request.headers.get("If-Range", ""), publisher)
    if start >= len(whole):
        request.send_error(416)
        return
    request.send_response(206 if start else publisher.status)
    request.send_header("Content-Type", publisher.content_type)
    if publisher.etag:
        request.send_header("ETag", publisher.etag)
    if publisher.says_length:
        request.send_header("Content-Length", str(len(whole) - start))
    if start:
        request.send_header("Content-Range", f"bytes {start}-{len(whole) - 1}/{len(whole)}")
    request.end_headers()
    request.wfile.write(whole[start : publisher.cut_after or None])


def _start(asked: str, if_range: str, publisher: Publisher) -> int:
    if not (publisher.ranges and asked and if_range in ("", publisher.etag)):
        return 0
    return int(asked.removeprefix("bytes=").rstrip("-"))
