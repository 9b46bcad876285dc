"""A real rsyslog as a process of the test, with a configuration of its own; stopped and started as often as needed."""

import shutil
import signal
import socket
import subprocess
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from dicom_io.network.tls import TlsFiles
from tests.conftest import require, wait_for
from tests.support.peers import ENVIRONMENT, free_port

BOM = b"\xef\xbb\xbf"
_GLOBAL = 'global(workDirectory="{work}" maxMessageSize="64k"{tls})\n'
_INPUTS = {
    "udp": 'module(load="imudp")\ninput(type="imudp" address="127.0.0.1" port="{port}" rcvbufSize="1m")\n',
    "tcp": 'module(load="imtcp")\ninput(type="imtcp" address="127.0.0.1" port="{port}")\n',
    "tls": 'module(load="imtcp" streamDriver.name="gtls" streamDriver.mode="1" streamDriver.authMode="x509/certvalid")'
    '\ninput(type="imtcp" address="127.0.0.1" port="{port}")\n',
}
_OUTPUT = (
    'template(name="whole" type="string" string="%rawmsg%\\n")\n'
    'action(type="omfile" file="{file}" template="whole" asyncWriting="off" flushOnTXEnd="on")\n'
)


class Rsyslog:
    """One server. What it received stays in `file`, a message a line, over all its starts."""

    def __init__(self, directory: Path, transport: str, files: TlsFiles | None = None) -> None:
        require("rsyslogd")
        directory.mkdir()
        self.transport, self.port = transport, free_port()
        self.file = directory / "received"
        self._directory = directory
        self.process: subprocess.Popen[bytes] | None = None
        tls = "" if files is None else (
            f' defaultNetstreamDriverCAFile="{files.ca}" defaultNetstreamDriverCertFile="{files.certificate}"'
            f' defaultNetstreamDriverKeyFile="{files.key}"'
        )  # fmt: skip
        text = _GLOBAL.format(work=directory, tls=tls) + _INPUTS[transport].format(port=self.port)
        (directory / "rsyslog.conf").write_text(text + _OUTPUT.format(file=self.file))

    def start(self) -> "Rsyslog":
        """Start, and wait until it listens."""
        program = shutil.which("rsyslogd", path=ENVIRONMENT["PATH"])
        command = [str(program), "-n", "-f", str(self._directory / "rsyslog.conf"), "-i", str(self._directory / "pid")]
        with (self._directory / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        wait_for(self._listens, 30, f"rsyslog: {(self._directory / 'log').read_text()}")
        return self

    def _listens(self) -> bool:
        """By what the kernel says: a connection of ours would be one more that it has to end."""
        assert self.process
        table = Path(f"/proc/{self.process.pid}/net/{'udp' if self.transport == 'udp' else 'tcp'}").read_text()
        rows = [line.split() for line in table.splitlines()[1:]]
        address = f"{int.from_bytes(socket.inet_aton('127.0.0.1'), 'little'):08X}:{self.port:04X}"
        return any(row[1] == address and row[3] in ("0A", "07") for row in rows)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(30)
            self.process = None

    def lines(self) -> list[bytes]:
        """What it received so far, without its own messages."""
        with suppress(FileNotFoundError):
            return [line for line in self.file.read_bytes().splitlines() if b" DICOM+RFC3881 " in line]
        return []

    def messages(self) -> list[Element]:
        """The audit messages received so far."""
        return [ElementTree.fromstring(line.partition(BOM)[2]) for line in self.lines()]

    def __enter__(self) -> "Rsyslog":
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop(signal.SIGKILL)


def event_ids(messages: list[Element]) -> list[str]:
    """What kinds of messages they are, by the meaning of EventID."""
    return [str(message.find("EventIdentification/EventID").get("originalText")) for message in messages]  # type: ignore[union-attr]
