"""Syslog messages (RFC 5424), and how they are sent: over TLS (RFC 5425), TCP (RFC 6587) or UDP (RFC 5426).

Syslog has no acknowledgement. Over TCP and TLS each batch therefore gets a connection of its own: after the last
message we close our direction, and wait until the server closes the connection too. A server that closes it normally
has read everything; one that crashes, or is stopped with unread messages in its buffer, resets it. Over UDP it is
unknown whether messages arrive.
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
ACKNOWLEDGED_SECONDS = 2.0  # the server's TCP has this long to acknowledge the last bytes


class SyslogUnreachable(Exception):
    """It is unknown whether the batch arrived, so it has to be sent again. The text says what went wrong."""


@dataclass(frozen=True)
class SyslogServer:
    """Where the messages go."""

    host: str
    port: int
    transport: str
    """"tls", "tcp" or "udp"."""
    tls: Callable[[], ssl.SSLContext] | None = None
    """Makes the SSL context; called for each connection. None for "tcp" and "udp"."""
    timeout_seconds: float = 10.0


def syslog_message(at: datetime, severity: int, host: str, application: str, process: str, xml: bytes) -> bytes:
    """Return one message by RFC 5424: header, no structured data, then a byte order mark and the XML in UTF-8."""
    timestamp = at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    fields = (timestamp, _printable(host, 255), _printable(application, 48), _printable(process, 128), MSGID, "-")
    return f"<{FACILITY * 8 + severity}>1 {' '.join(fields)} ".encode() + BOM + xml


def send(server: SyslogServer, messages: Sequence[bytes]) -> None:
    """Send the messages in this order. With no messages, only test whether the server can be reached.

    Raises SyslogUnreachable unless all are known to have arrived. Over UDP it is raised only if the host name has no
    address, or if the server's machine reports that nothing listens on the port.
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
            with suppress(ssl.SSLEOFError):  # the server closed the connection without close_notify
                connection.unwrap()  # our close_notify, and the server's: RFC 5425 4.4
            _acknowledged(connection)


def _write_all(connection: socket.socket, messages: Sequence[bytes]) -> None:
    """Send the messages, each preceded by its length (RFC 5425 4.3, RFC 6587 3.4.1)."""
    connection.sendall(b"".join(b"%d %b" % (len(message), message) for message in messages))


def _await_end(connection: socket.socket) -> None:
    """Wait until the server has read everything and closes the connection. Raises OSError if it resets it."""
    while connection.recv(4096):
        pass
    _acknowledged(connection)


def _acknowledged(connection: socket.socket) -> None:
    """Wait until the server's TCP has acknowledged every byte. Raises OSError if it resets the connection instead."""
    deadline = time.monotonic() + ACKNOWLEDGED_SECONDS
    while True:
        error = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, "the server closed the connection before it had read everything")
        (unacknowledged,) = struct.unpack("i", fcntl.ioctl(connection, termios.TIOCOUTQ, b"\0" * 4))
        if not unacknowledged:
            return
        if time.monotonic() > deadline:
            raise TimeoutError("the server closed the connection before it had read everything")
        time.sleep(0.01)


def _printable(value: str, longest: int) -> str:
    """Return a header field by RFC 5424 section 6: printable ASCII without spaces, or the nil value "-"."""
    return "".join(c if "!" <= c <= "~" else "?" for c in value)[:longest] or "-"


def _reason(error: Exception) -> str:
    return str(getattr(error, "reason", None) or getattr(error, "strerror", None) or error or type(error).__name__)
