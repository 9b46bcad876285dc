"""Logs: one JSON object a line on standard error, without patient data.

An event names what happened and carries row numbers of the database, counts and seconds: never a name, a patient ID, an
accession number or a value from an image. The libraries that would print such values are silenced. What a peer sent,
such as its AE title, stands there in JSON's escapes, in ASCII.
"""

import logging
import os
import sys
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, TextIO, cast

import structlog

from daemon.runtime.visible import json_text

SILENT = ("pynetdicom", "pydicom", "highdicom", "sqlalchemy", "alembic", "apscheduler", "uvicorn", "monai", "openvino")


class TolerantStderr:
    """Standard error, whose reader may be gone. A log line that nobody can read must not end the daemon."""

    def write(self, text: str) -> None:
        self._try(lambda: sys.stderr.write(text))

    def flush(self) -> None:
        self._try(sys.stderr.flush)

    def _try(self, action: Callable[[], object]) -> None:
        try:
            action()
        except BrokenPipeError:  # it stays broken, and text left in the buffer would make the exit status a failure
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stderr.fileno())
            os.close(nowhere)
        except OSError:  # a full disk, for example: the daemon's work matters more than this line
            pass


def configure(level: str, part: str) -> None:
    """Send this process's log to standard error, from `level` up; `part` names the process in each line."""
    warnings.simplefilter("ignore")  # pydicom's warnings quote values of the data set
    for name in SILENT:
        logger = logging.getLogger(name)
        logger.handlers = [logging.NullHandler()]
        logger.propagate = False
    structlog.configure(
        processors=[
            lambda _logger, _method, event: {**event, "part": part},
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(partial(json_text, ascii_only=True)),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(cast(TextIO, TolerantStderr())),
        cache_logger_on_first_use=True,
    )


def get() -> Any:
    """The logger of this process."""
    return structlog.get_logger()
