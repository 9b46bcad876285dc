"""Mutated TLS records to a daemon that listens with TLS.

The input of a seed is the same each time as far as TLS lets it be: a ClientHello and random records are the same bytes,
while the records of a handshake that goes on hold fresh keys, and the same mutation is made at the same place in them.
"""

import contextlib
import random
import socket
import ssl
import struct
import subprocess
from collections.abc import Callable

from dicom_io.network.tls import TlsFiles, client_context
from dicom_io.services.store_scu import Destination, Sender
from tests.support.harness import Daemon
from tests.support.mutations import flipped, mutated_conversation
from tests.system.fuzzing.figures import Figures
from tests.system.fuzzing.sockets import half_close

KIND = "TLS connections"
CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, APPLICATION = 20, 21, 22, 23  # RFC 8446 5.1
LONGEST_RECORD = 16_384
VERSIONS = (0x0000, 0x0002, 0x0200, 0x0300, 0x0301, 0x0302, 0x0303, 0x0304, 0x0305, 0x7F1C, 0xFFFF)
ANSWER_SECONDS, CLOSING_SECONDS = 0.3, 10.0  # until we stop waiting for more; until the daemon must have closed


def record(kind: int, content: bytes, version: int = 0x0303) -> bytes:
    return struct.pack(">BHH", kind, version, len(content)) + content


def records(stream: bytes) -> list[bytes]:
    """The records that a stream consists of."""
    found, at = [], 0
    while at + 5 <= len(stream):
        end = at + 5 + struct.unpack_from(">H", stream, at + 3)[0]
        found.append(stream[at:end])
        at = end
    return found


def hello(chance: random.Random) -> bytes:
    """A ClientHello (RFC 8446 4.1.2) that offers TLS 1.3 and 1.2."""

    def extension(kind: int, content: bytes) -> bytes:
        return struct.pack(">HH", kind, len(content)) + content

    share = struct.pack(">HH", 0x001D, 32) + chance.randbytes(32)  # x25519
    algorithms = struct.pack(">4H", 0x0403, 0x0804, 0x0805, 0x0401)
    extensions = [
        extension(43, b"\4" + struct.pack(">HH", 0x0304, 0x0303)),
        extension(10, struct.pack(">HHH", 4, 0x001D, 0x0017)),
        extension(13, struct.pack(">H", len(algorithms)) + algorithms),
        extension(51, struct.pack(">H", len(share)) + share),
        extension(0, struct.pack(">HBH", 12, 0, 9) + b"localhost"),
        extension(16, b"\0\x0c\x0bacr-nema-03"),
    ]  # fmt: skip
    chance.shuffle(extensions)
    together = b"".join(extensions)
    suites = struct.pack(">4H", 0x1301, 0x1302, 0xC02F, 0xC030)
    body = struct.pack(">H", 0x0303) + chance.randbytes(32) + b"\x20" + chance.randbytes(32)
    body += struct.pack(">H", len(suites)) + suites + b"\1\0" + struct.pack(">H", len(together)) + together
    return record(HANDSHAKE, b"\1" + struct.pack(">L", len(body))[1:] + body, 0x0301)


# --- mutations -----------------------------------------------------------------------------------------------------


def mutated_records(said: list[bytes], chance: random.Random) -> bytes:
    """Records left out, doubled, in another order, split, with another type, version, length or content."""
    said = list(said)
    for _ in range(chance.choice([1, 1, 2, 4])):
        if said:
            at = chance.randrange(len(said))
            said[at : at + 1] = _mutated_record(said[at], chance)
    if chance.random() < 0.1:
        chance.shuffle(said)
    if chance.random() < 0.15:
        said.insert(chance.randrange(len(said) + 1), random_record(chance))
    return b"".join(said)


def _mutated_record(one: bytes, chance: random.Random) -> list[bytes]:
    if not one:  # an earlier mutation left nothing of it
        return []
    kind, content = one[0], one[5:]
    match chance.randrange(10):
        case 0:
            return []
        case 1:
            return [one, one]
        case 2:
            return [one[: chance.randrange(len(one))]]
        case 3:
            return [record(kind, content, chance.choice(VERSIONS))]
        case 4:
            length = chance.choice([0, 1, len(content) + 1, max(len(content) - 1, 0), LONGEST_RECORD + 1, 0xFFFF])
            return [one[:3] + struct.pack(">H", length) + content]
        case 5:
            return [bytes([chance.choice([0, 20, 21, 22, 23, 24, 25, 128, 255])]) + one[1:]]
        case 6:  # a message in records of a byte or a few
            size = chance.choice([1, 3, 50])
            return [record(kind, content[n : n + size]) for n in range(0, len(content), max(size, len(content) // 200))]
        case 7:
            return [record(kind, chance.randbytes(chance.choice([0, 1, len(content), LONGEST_RECORD])))]
        case _:
            return [record(kind, flipped(content, chance)[:LONGEST_RECORD])]


def random_record(chance: random.Random) -> bytes:
    """A record of any type and length with random content, an alert, an empty one, or what is no TLS at all."""
    kind = chance.choice([CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, APPLICATION, chance.randrange(256)])
    match chance.randrange(5):
        case 0:
            return record(ALERT, bytes([chance.choice([0, 1, 2, 9]), chance.randrange(256)])) * chance.choice(
                [1, 1, 50]
            )
        case 1:
            return record(kind, b"") * chance.choice([1, 40])
        case 2:
            return chance.choice([b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"\x80\x2e\1\0\2", chance.randbytes(500)])
        case _:
            return record(kind, chance.randbytes(chance.choice([1, 4, 100, LONGEST_RECORD])), chance.choice(VERSIONS))


# --- to the daemon -------------------------------------------------------------------------------------------------


class Peer:
    """A TLS client over memory, whose records may be changed before they are sent."""

    def __init__(self, port: int, context: ssl.SSLContext):
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_hostname="127.0.0.1")
        self.socket = socket.create_connection(("127.0.0.1", port), CLOSING_SECONDS)
        self.socket.settimeout(ANSWER_SECONDS)
        self.heard = b""

    def handshake(self, flight: int = -1, change: Callable[[list[bytes]], bytes] = b"".join) -> bool:
        """Shake hands; `change` is applied to the records of that flight. False where it came to nothing."""
        for number in range(20):
            with contextlib.suppress(ssl.SSLWantReadError):
                self._tls.do_handshake()
                self._send(change if number == flight else b"".join)
                return True
            self._send(change if number == flight else b"".join)
            if not self._receive():
                return False
        return False

    def say(self, data: bytes, change: Callable[[list[bytes]], bytes] = b"".join, size: int = LONGEST_RECORD) -> None:
        """Send application data, in records of `size` bytes, as `change` makes them."""
        for start in range(0, len(data), size):
            self._tls.write(data[start : start + size])
        self._send(change)

    def close_notify(self) -> None:
        with contextlib.suppress(ssl.SSLError):
            self._tls.unwrap()
        self._send(b"".join)

    def heard_clear(self) -> bytes:
        """The application data that came, as far as it can be read."""
        with contextlib.suppress(ssl.SSLError):
            return self._tls.read(1 << 20)
        return b""

    def drain(self) -> None:
        """Read until the daemon closes. Raises TimeoutError where it does not do so after we have."""
        with contextlib.suppress(TimeoutError):
            while self._receive(wait=True):
                pass
            return
        self.socket.settimeout(CLOSING_SECONDS)
        half_close(self.socket)
        while self._receive(wait=True):
            pass

    def _send(self, change: Callable[[list[bytes]], bytes]) -> None:
        said = records(self._out.read())
        if said:
            self.socket.sendall(change(said))

    def _receive(self, wait: bool = False) -> bool:
        try:
            more = self.socket.recv(1 << 16)
        except TimeoutError:
            if wait:
                raise
            return False
        self.heard += more
        self._in.write(more)
        return bool(more)


class TlsFuzz:
    """Opens connections to a daemon that speaks TLS, as a peer whose certificate is `files`, and counts their ends."""

    def __init__(self, daemon: Daemon, files: TlsFiles, pdus: list[bytes], figures: Figures):
        self._daemon, self._files, self._pdus, self._figures = daemon, files, pdus, figures
        self._contexts = [client_context(files), client_context(files)]
        self._contexts[0].maximum_version = ssl.TLSVersion.TLSv1_2  # its handshake is not encrypted
        self._kinds = [
            self._hello, self._hello, self._random, self._handshake, self._handshake, self._handshake,
            self._application, self._application, self._clear_after, self._conversation, self._gone,
        ]  # fmt: skip

    def __call__(self, chance: random.Random) -> None:
        """One connection."""
        if chance.random() < 0.02:
            self._figures.note(KIND, self._renegotiate(chance))
            return
        peer = Peer(self._daemon.port, chance.choice(self._contexts))
        with peer.socket:
            try:
                with contextlib.suppress(ConnectionError, ssl.SSLError):
                    chance.choice(self._kinds)(peer, chance)
                    peer.drain()
            except TimeoutError:
                self._figures.findings.append("TLS: a connection whose peer closed was kept open")
            self._figures.note(KIND, ended(peer))

    def look(self) -> None:
        """A peer with a certificate is served as before."""
        to = Destination("HILUM", "127.0.0.1", self._daemon.port, lambda: client_context(self._files))
        sender = Sender("FUZZ", to, timeout_seconds=30)
        if sender.echo().status != 0:
            self._figures.findings.append("TLS: C-ECHO was not answered")
        sender.close()

    def _hello(self, peer: Peer, chance: random.Random) -> None:
        peer.socket.sendall(mutated_records([hello(chance)], chance))

    def _random(self, peer: Peer, chance: random.Random) -> None:
        peer.socket.sendall(b"".join(random_record(chance) for _ in range(chance.choice([1, 2, 10]))))

    def _handshake(self, peer: Peer, chance: random.Random) -> None:
        """A change to the first, second or third flight of a handshake that is right up to there."""
        if peer.handshake(chance.choice([0, 1, 1, 2]), lambda said: mutated_records(said, chance)):
            peer.say(b"".join(self._pdus))

    def _application(self, peer: Peer, chance: random.Random) -> None:
        """An association whose records are changed."""
        if peer.handshake():
            peer.say(b"".join(self._pdus), lambda said: mutated_records(said, chance), chance.choice([100, 4000]))

    def _clear_after(self, peer: Peer, chance: random.Random) -> None:
        """Records in clear after the handshake: what a renegotiation or an injection begins with."""
        if peer.handshake():
            peer.say(self._pdus[0])
            peer.socket.sendall(hello(chance) if chance.random() < 0.5 else random_record(chance))

    def _conversation(self, peer: Peer, chance: random.Random) -> None:
        """Proper records, of any size, around PDUs that are not."""
        if peer.handshake():
            peer.say(mutated_conversation(self._pdus, chance), size=chance.choice([7, 1000, LONGEST_RECORD]))

    def _gone(self, peer: Peer, chance: random.Random) -> None:
        """Half-closed or reset, with or without close_notify, in the handshake, after it, or in a PDU."""
        if chance.random() < 0.7 and peer.handshake():
            peer.say(b"".join(self._pdus)[: chance.choice([1, 3, 100, 300, 1000])])
            if chance.random() < 0.5:
                peer.close_notify()
        if chance.random() < 0.3:
            peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            peer.socket.close()
            raise ConnectionError("reset by us")
        half_close(peer.socket)

    def _renegotiate(self, chance: random.Random) -> str:
        """openssl asks for a renegotiation (TLS 1.2) or a change of keys (TLS 1.3) after the handshake."""
        version, said = chance.choice([("-tls1_2", "R\n"), ("-tls1_3", "K\n"), ("-tls1_3", "k\n")])
        files = self._files
        done = subprocess.run(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{self._daemon.port}", version, "-cert", files.certificate,
             "-key", files.key, "-CAfile", files.ca],
            input=said.encode(), capture_output=True, timeout=30, check=False,
        )  # fmt: skip
        refused = b"no renegotiation" in done.stderr
        if (
            version == "-tls1_2"
            and b"RENEGOTIATING" in done.stdout + done.stderr
            and done.returncode == 0
            and not refused
        ):
            return "renegotiation not refused in time"
        return "renegotiation refused" if version == "-tls1_2" else "keys changed"


def ended(peer: Peer) -> str:
    """How the connection ended: by an association's PDU, by an alert in clear, or without a word."""
    if clear := peer.heard_clear():
        return f"PDU {clear[0]}"
    last = records(peer.heard)[-1:]
    if last and last[0][0] == ALERT and len(last[0]) == 7:
        return f"alert {last[0][6]}"
    return "closed in the handshake" if not peer.heard else "closed"
