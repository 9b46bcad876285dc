"""Logs: one JSON object a line on standard error, without patient data.

An event names what happened and carries row numbers of the database, counts and seconds: never a name, a patient ID, an
accession number or a value from an image. The libraries that would print such values are silenced. What a peer sent,
such as its AE title, stands there in JSON's escapes, in ASCII.
"""

import logging
import os
import select
import socket
import stat
import warnings
from functools import cache, partial
from typing import Any, TextIO, cast

import structlog

from daemon.runtime.visible import json_text

SILENT = (
    "pynetdicom", "pydicom", "highdicom", "sqlalchemy", "alembic", "apscheduler", "uvicorn", "monai", "openvino",
    "httpx", "apprise", "asyncio",
)  # fmt: skip
PATIENCE_SECONDS = 1.0
STANDARD_ERROR = 2


class PatientStderr:
    """Standard error, whose reader may be slow, stuck or gone: a line that nobody reads must not stop the daemon.

    A line waits PATIENCE_SECONDS for room in the pipe. If there is none, it is lost and counted, and so are the lines
    after it, without a wait, until there is room again.
    """

    def __init__(self, descriptor: int):
        self._descriptor = descriptor
        self._socket: socket.socket | None = None
        self.lost = 0
        self._torn = False
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISSOCK(mode):  # systemd's journal
            self._socket = socket.socket(fileno=os.dup(descriptor))
        elif stat.S_ISFIFO(mode):
            self._descriptor = _unblocked(descriptor)

    def write(self, text: str) -> None:
        data = b"\n" * self._torn + text.encode("utf-8", "backslashreplace")
        try:
            left = self._send(data)
        except OSError:  # the reader is gone, or the disk is full: the daemon's work matters more than this line
            return
        self._torn = 0 < left < len(data) or (self._torn and left > 0)
        self.lost = self.lost + 1 if left else 0

    def flush(self) -> None:
        """Nothing is held back."""

    def _send(self, data: bytes) -> int:
        """Write as much as there is room for, and return how many bytes are left."""
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        while data and poll.poll(0 if self.lost else PATIENCE_SECONDS * 1000):
            try:
                data = data[self._write(data[: select.PIPE_BUF]) :]
            except BlockingIOError:  # another process was quicker
                break
        return len(data)

    def _write(self, data: bytes) -> int:
        if self._socket is not None:
            return self._socket.send(data, socket.MSG_DONTWAIT)
        return os.write(self._descriptor, data)


def _unblocked(pipe: int) -> int:
    """Return a descriptor of this pipe that never blocks; others who write to the pipe are not affected.

    Another user's pipe, as in a container, cannot be opened again; then the pipe itself is returned. It can only block
    a line that comes at the same moment as another process takes the last room.
    """
    try:
        return os.open(f"/proc/self/fd/{pipe}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return pipe


@cache
def _stderr() -> PatientStderr:
    return PatientStderr(STANDARD_ERROR)


def configure(level: str, part: str) -> None:
    """Send this process's log to standard error, from `level` up; `part` names the process in each line."""
    warnings.simplefilter("ignore")  # pydicom's warnings quote values of the data set
    for name in SILENT:
        logger = logging.getLogger(name)
        logger.handlers = [logging.NullHandler()]
        logger.propagate = False
    stderr = _stderr()
    structlog.configure(
        processors=[
            lambda _logger, _method, event: {**event, "part": part},
            lambda _logger, _method, event: {**event, "lines_lost": stderr.lost} if stderr.lost else event,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(partial(json_text, ascii_only=True)),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(cast(TextIO, stderr)),
        cache_logger_on_first_use=True,
    )


def get() -> Any:
    """The logger of this process."""
    return structlog.get_logger()
