"""The TCP connection under an association: non-blocking reads into a caller's buffer, one wait, TCP_NODELAY, TLS.

pynetdicom's own socket reads 4096 bytes at a time and leaves the waiting to a loop that sleeps for a millisecond.
This one blocks in poll() until the peer, or a `StopSignal`, has something to say, so that an idle association costs
nothing and a busy one a system call per buffer.
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
    """pynetdicom's timer on a clock that nobody sets: the wall clock may jump by hours."""

    _start_time: float | None

    def start(self) -> None:
        self._start_time = time.monotonic()
        self._end_time = None

    def stop(self) -> None:
        self._start_time = None

    @property
    def remaining(self) -> float:
        """Seconds to expiry, negative after it; the whole time where the timer does not run."""
        if self.timeout is None:
            return 1.0
        if self._start_time is None:
            return float(self.timeout)
        return float(self.timeout - (time.monotonic() - self._start_time))


class StopSignal:
    """Wakes every wait on it, at once and from any thread: the read end of a pipe becomes readable for all."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        self.is_set = False

    def fileno(self) -> int:
        return self._read

    def set(self) -> None:
        """Wake all who wait, now and from now on."""
        self.is_set = True
        os.write(self._write, b"x")

    def close(self) -> None:
        """Give the descriptors back, once nobody waits any more."""
        os.close(self._read)
        os.close(self._write)


class Connection(AssociationSocket):  # type: ignore[misc]
    """An association's socket. `failure` says why connecting or sending did not work."""

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
        """Connect, with the TLS handshake where `tls_args` is given; the result goes to the state machine."""
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
        """Become the server's side of TLS. Raises OSError (ssl.SSLError) where the peer is not let in.

        Done by the association's own thread: a peer that connects and says nothing holds up nobody else.
        """
        self.socket.settimeout(seconds)
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.socket.setblocking(False)

    def _tune(self) -> None:
        # a report is two small PDUs and an answer: Nagle and delayed acknowledgement make 40 to 80 ms of that
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)

    def receive_into(self, buffer: memoryview, seconds: float) -> int | None:
        """Bytes read, 0 at the end of the connection, None where nothing came within `seconds` or a stop was called.

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
        # dcmtk writes the head of a PDU and its body apart, and with Nagle the body waits for the head's
        # acknowledgement, which Linux puts off by 40 ms; the option lasts until the next data only
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        poll = select.poll()
        poll.register(self.socket, READABLE)
        if self._stop is not None and not self._stop.is_set:
            poll.register(self._stop, select.POLLIN)
        # rounded up: poll() with 0 ms would spin through the last millisecond
        ready = poll.poll(int(max(seconds, 0) * 1000) + (seconds > 0))
        return any(descriptor == self.socket.fileno() for descriptor, _ in ready)

    def send(self, bytestream: bytes) -> None:
        """Send all of it within `send_seconds`, in one write where the kernel takes it; Evt17 where that fails."""
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
        """False: whoever waits for the peer does so in `receive_into`."""
        return False

    def cut(self) -> None:
        """End the connection from another thread, whose wait then ends; that thread closes it."""
        connection = self.socket
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close for good; nothing is told to the state machine, which asked for it."""
        connection, self.socket = self.socket, None
        self._is_connected = False
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    _shutdown_socket = close
