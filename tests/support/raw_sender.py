"""A peer that speaks PS3.8 by hand, to say what no library would."""

import socket
import struct
import time

VERIFICATION = "1.2.840.10008.1.1"
IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"


def item(kind: int, value: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(value)) + value


def proposed(number: int, abstract: str, syntaxes: list[str]) -> bytes:
    """A Presentation Context Item (PS3.8 9.3.2.2)."""
    body = struct.pack(">B3x", number) + item(0x30, abstract.encode())
    return item(0x20, body + b"".join(item(0x40, syntax.encode()) for syntax in syntaxes))


def request(contexts: list[bytes], calling: str = "ATTACKER") -> bytes:
    """An A-ASSOCIATE-RQ PDU (PS3.8 9.3.2)."""
    body = struct.pack(">HH", 1, 0) + b"HILUM".ljust(16) + calling.encode().ljust(16) + bytes(32)
    user = item(0x51, struct.pack(">L", 16384)) + item(0x52, b"2.25.1")
    body += item(0x10, b"1.2.840.10008.3.1.1.1") + b"".join(contexts) + item(0x50, user)
    return struct.pack(">BxL", 1, len(body)) + body


def command(fields: dict[int, bytes]) -> bytes:
    """A command set in a P-DATA-TF PDU, with a group length (PS3.7 6.3)."""
    body = b"".join(struct.pack("<HHL", 0, number, len(value)) + value for number, value in sorted(fields.items()))
    return pdv(3, struct.pack("<HHLL", 0, 0, 4, len(body)) + body)


def pdv(control: int, data: bytes) -> bytes:
    return struct.pack(">BxLLBB", 4, len(data) + 6, len(data) + 2, 1, control) + data


class RawPeer:
    """A connection to a port of this machine, from an address of it."""

    def __init__(self, port: int, seconds: float = 30.0, address: str = "127.0.0.1"):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=seconds, source_address=(address, 0))

    def associate(self, abstract: str, syntax: str, calling: str = "ATTACKER") -> bool:
        """Open an association with one presentation context; False where it is not accepted."""
        self.socket.sendall(request([proposed(1, abstract, [syntax])], calling))
        return self.answer()[0] == 2

    def answer(self) -> tuple[int, bytes]:
        """The next PDU, type and content; type 0 where the connection ended."""
        try:
            head = self._exactly(6)
            return head[0], self._exactly(struct.unpack(">L", head[2:])[0])
        except OSError:
            return 0, b""

    def store(self, sop_class: str, instance: str, data: bytes, block: int = 500_000) -> int | None:
        """C-STORE of a data set's bytes; the status, None where there was no answer."""
        even = [text.encode() + b"\0" * (len(text) % 2) for text in (sop_class, instance)]
        number = struct.pack("<H", 1)
        fields = {2: even[0], 0x100: number, 0x110: number, 0x700: bytes(2), 0x800: number, 0x1000: even[1]}
        try:
            self.socket.sendall(command(fields))
            for at in range(0, len(data), block):
                self.socket.sendall(pdv(2 if at + block >= len(data) else 0, data[at : at + block]))
        except OSError:
            return None
        return self.status()

    def echo(self) -> float:
        """C-ECHO: the seconds until its answer. Raises ConnectionError without a success."""
        number = struct.pack("<H", 1)
        fields = {2: VERIFICATION.encode() + b"\0", 0x100: struct.pack("<H", 0x30), 0x110: number,
                  0x800: struct.pack("<H", 0x101)}  # fmt: skip
        began = time.monotonic()
        self.socket.sendall(command(fields))
        if self.status() != 0:
            raise ConnectionError("C-ECHO was not answered with success")
        return time.monotonic() - began

    def status(self) -> int | None:
        kind, body = self.answer()
        at = 6
        while kind == 4 and at + 8 <= len(body):
            _, number, length = struct.unpack_from("<HHL", body, at)
            if number == 0x0900:
                return int(struct.unpack_from("<H", body, at + 8)[0])
            at += 8 + length
        return None

    def close(self) -> None:
        self.socket.close()

    def _exactly(self, count: int) -> bytes:
        got = b""
        while len(got) < count:
            more = self.socket.recv(count - len(got))
            if not more:
                raise ConnectionError("closed")
            got += more
        return got
