"""Syslog messages by RFC 5424, and their way to a server: over TLS (RFC 5425), TCP (RFC 6587) or UDP (RFC 5426).

Syslog has no acknowledgement. Over TCP and TLS a batch therefore has a connection of its own: after the last message we
say that nothing more comes, and wait until the server ends the connection too. A server that ends it in good order has
read everything; one that dies, or is stopped with messages unread in its buffer, resets it. Over UDP nobody knows.
"""

import fcntl
import socket
import ssl
import struct
import termios
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

FACILITY = 10  # security/authorization messages, PS3.15 A.6
NOTICE, WARNING = 5, 4
MSGID = "DICOM+RFC3881"  # PS3.15 A.6
BOM = b"\xef\xbb\xbf"

UDP_PAUSE_SECONDS = 0.002  # between two datagrams: a burst overflows the server's socket buffer
ACKNOWLEDGED_SECONDS = 2.0


class SyslogUnreachable(Exception):
    """Nobody knows whether the batch arrived: it has to be sent again. The text says what went wrong."""


@dataclass(frozen=True)
class SyslogServer:
    """Where the messages go. `tls` makes the context of a TLS connection; it is called for each."""

    host: str
    port: int
    transport: str
    """"tls", "tcp" or "udp"."""
    tls: Callable[[], ssl.SSLContext] | None = None
    timeout_seconds: float = 10.0


def syslog_message(at: datetime, severity: int, host: str, application: str, process: str, xml: bytes) -> bytes:
    """RFC 5424: header, no structured data, and the XML in UTF-8 behind a byte order mark."""
    timestamp = at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    fields = (timestamp, _printable(host, 255), _printable(application, 48), _printable(process, 128), MSGID, "-")
    return f"<{FACILITY * 8 + severity}>1 {' '.join(fields)} ".encode() + BOM + xml


def send(server: SyslogServer, messages: Sequence[bytes]) -> None:
    """Bring the messages, in this order, to the server; none: see whether it is there.

    Raises SyslogUnreachable where not all of them are known to have arrived; over UDP only where the host name has no
    address or the server's machine said that nobody listens.
    """
    try:
        if server.transport == "udp":
            _send_datagrams(server, messages)
        else:
            _send_stream(server, messages)
    except (OSError, ssl.CertificateError) as error:
        raise SyslogUnreachable(f"{server.host}:{server.port}: {_reason(error)}") from error


def _send_datagrams(server: SyslogServer, messages: Sequence[bytes]) -> None:
    family, kind, protocol, _, address = socket.getaddrinfo(server.host, server.port, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind, protocol) as connection:
        connection.connect(address)  # so that "port unreachable" comes back as an error
        for message in messages:
            connection.send(message)
            time.sleep(UDP_PAUSE_SECONDS)


def _send_stream(server: SyslogServer, messages: Sequence[bytes]) -> None:
    with socket.create_connection((server.host, server.port), server.timeout_seconds) as plain:
        if server.tls is None:
            _write_all(plain, messages)
            plain.shutdown(socket.SHUT_WR)
            _await_end(plain)
            return
        with server.tls().wrap_socket(plain, server_hostname=server.host) as connection:
            _write_all(connection, messages)
            with suppress(ssl.SSLEOFError):  # the server's end without close_notify
                connection.unwrap()  # our close_notify, and the server's: RFC 5425 4.4
            _acknowledged(connection)


def _write_all(connection: socket.socket, messages: Sequence[bytes]) -> None:
    """With the length before each message: RFC 5425 4.3, RFC 6587 3.4.1."""
    connection.sendall(b"".join(b"%d %b" % (len(message), message) for message in messages))


def _await_end(connection: socket.socket) -> None:
    """Until the server has read everything and ends the connection; a reset raises."""
    while connection.recv(4096):
        pass
    _acknowledged(connection)


def _acknowledged(connection: socket.socket) -> None:
    """Every byte has reached the server's TCP, and it did not answer with a reset after its end of the stream."""
    deadline = time.monotonic() + ACKNOWLEDGED_SECONDS
    while True:
        error = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, "the server ended the connection before it had read everything")
        (unacknowledged,) = struct.unpack("i", fcntl.ioctl(connection, termios.TIOCOUTQ, b"\0" * 4))
        if not unacknowledged:
            return
        if time.monotonic() > deadline:
            raise TimeoutError("the server ended the connection before it had read everything")
        time.sleep(0.01)


def _printable(value: str, longest: int) -> str:
    """RFC 5424 6: printable ASCII without spaces, or the nil value."""
    return "".join(c if "!" <= c <= "~" else "?" for c in value)[:longest] or "-"


def _reason(error: Exception) -> str:
    return str(getattr(error, "reason", None) or getattr(error, "strerror", None) or error or type(error).__name__)
