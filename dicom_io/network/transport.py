"""The TCP connection under an association, with or without TLS.

pynetdicom's own socket reads 4096 bytes at a time, and a loop that wakes up every millisecond does the waiting. This
one reads into the caller's buffer, and waits in poll() until the peer sends something or a `StopSignal` is set. An idle
association therefore uses no processor time, and a busy one makes one system call for each buffer.
"""

import contextlib
import os
import select
import socket
import ssl
import time
from typing import Any

from pynetdicom.timer import Timer
from pynetdicom.transport import T_CONNECT, AddressInformation, AssociationSocket

READABLE = select.POLLIN | select.POLLHUP | select.POLLERR


class MonotonicTimer(Timer):  # type: ignore[misc]
    """pynetdicom's timer on the monotonic clock, because somebody may set the wall clock by hours."""

    def __init__(self, timeout: float | None):
        super().__init__(timeout)
        self._began: float | None = None

    def start(self) -> None:
        self._began = time.monotonic()

    def stop(self) -> None:
        self._began = None

    @property
    def running(self) -> bool:
        return self._began is not None

    @property
    def expired(self) -> bool:
        return self.running and self.timeout is not None and self.remaining < 0

    @property
    def remaining(self) -> float:
        """Seconds until the timer expires, negative afterwards.

        The whole time while the timer does not run, and 1.0 where it has no timeout.
        """
        if self.timeout is None:
            return 1.0
        if self._began is None:
            return float(self.timeout)
        return float(self.timeout - (time.monotonic() - self._began))


def tls_reason(error: OSError) -> str:
    """Why a TLS handshake failed, by OpenSSL's names: "CERTIFICATE_VERIFY_FAILED: certificate revoked"."""
    reason = getattr(error, "reason", None) or "no handshake"
    verified = getattr(error, "verify_message", "")
    return f"{reason}: {verified}" if verified else str(reason)


class StopSignal:
    """Ends every wait on it at once. May be set from any thread.

    It is a pipe: once set, its read end is readable for everybody who polls it.
    """

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        self.is_set = False

    def fileno(self) -> int:
        return self._read

    def set(self) -> None:
        """End all waits, those that go on now and those that begin later."""
        self.is_set = True
        os.write(self._write, b"x")

    def close(self) -> None:
        """Close the pipe. Call it only when nobody waits any more."""
        os.close(self._read)
        os.close(self._write)


class Connection(AssociationSocket):  # type: ignore[misc]
    """The socket of one association.

    `failure` is the error that connecting or sending ended with, or None. `send_seconds` is how long one `send` may
    take.
    """

    socket: Any

    def __init__(
        self,
        assoc: object,
        client_socket: Any = None,
        address: AddressInformation | None = None,
        stop: StopSignal | None = None,
    ):
        super().__init__(assoc, client_socket, address)
        self.failure: OSError | None = None
        self._stop = stop
        self.send_seconds: float = 30.0
        if client_socket is not None:
            self._tune()

    def connect(self, primitive: T_CONNECT) -> None:
        """Connect, and do the TLS handshake where `tls_args` is set. The state machine is told how it went."""
        try:
            self.socket.settimeout(self.assoc.connection_timeout)
            self.socket.connect(primitive.address_info.as_tuple)
            if self.tls_args:
                context, server_hostname = self.tls_args
                self.socket = context.wrap_socket(self.socket, server_hostname=server_hostname)
            self._tune()
            self.assoc.requestor.address_info = AddressInformation.from_tuple(self.socket.getsockname())
            self._is_connected = True
            primitive.result = "Evt2"
        except OSError as error:
            self.failure = error
            self.socket.close()
            self.socket = None
            primitive.result = "Evt17"
        self.provider_queue.put(primitive)
        self._ready.set()

    def handshake(self, context: ssl.SSLContext, seconds: float) -> None:
        """Do the TLS handshake as the server, within `seconds`. Raises OSError, or its ssl.SSLError.

        The association's own thread does this, so that a peer that connects and sends nothing delays nobody else.
        """
        self.socket.settimeout(seconds)
        # before the handshake, so that `cut` finds the socket on which it waits
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.socket.do_handshake()
        self.socket.setblocking(False)

    def _tune(self) -> None:
        # a report is two small PDUs and an answer, which Nagle's algorithm and delayed acknowledgement would slow down
        # to 40 to 80 ms
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)

    def receive_into(self, buffer: memoryview, seconds: float) -> int | None:
        """Read into `buffer`, waiting up to `seconds`, and return the number of bytes.

        0 means that the peer closed the connection, None that nothing arrived in time or that a stop was signalled.
        Raises OSError where the connection broke.
        """
        received = self._read(buffer)
        if received is None and self._wait(seconds):
            received = self._read(buffer)
        return received

    def _read(self, buffer: memoryview) -> int | None:
        if self.socket is None:
            return 0
        try:
            return int(self.socket.recv_into(buffer))
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError, InterruptedError):
            return None
        except ssl.SSLEOFError:
            return 0

    def _wait(self, seconds: float) -> bool:
        # dcmtk writes the head of a PDU and its body separately. With Nagle's algorithm the body waits until the head
        # is acknowledged, which Linux delays by 40 ms. The option holds for the next data only, so it is set each time.
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        poll = select.poll()
        poll.register(self.socket, READABLE)
        if self._stop is not None and not self._stop.is_set:
            poll.register(self._stop, select.POLLIN)
        # rounded up, because poll() with 0 ms would spin through the last millisecond
        ready = poll.poll(int(max(seconds, 0) * 1000) + (seconds > 0))
        return any(descriptor == self.socket.fileno() for descriptor, _ in ready)

    def send(self, bytestream: bytes) -> None:
        """Send all bytes within `send_seconds`. Where that fails, `failure` is set and the state machine gets Evt17."""
        if self.socket is None:
            return
        try:
            self.socket.settimeout(self.send_seconds)
            self.socket.sendall(bytestream)
            self.socket.setblocking(False)
        except OSError as error:
            self.failure = error
            self.event_queue.put("Evt17")

    @property
    def ready(self) -> bool:
        """Always False, so that pynetdicom never reads by itself: `receive_into` does."""
        return False

    def cut(self) -> None:
        """Break the connection from another thread. The thread that waits on it wakes up and closes it."""
        connection = self.socket
        if connection is not None:
            with contextlib.suppress(OSError):
                # not that of SSLSocket, which would take the TLS state away under the hands of the other thread
                socket.socket.shutdown(connection, socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection. The state machine is not told, because it is the one that asks for this."""
        connection, self.socket = self.socket, None
        self._is_connected = False
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    _shutdown_socket = close
