"""Logs: one JSON object a line on standard error, without patient data.

An event names what happened and carries opaque identifiers (study row, delivery row, counts, seconds), never a name,
a patient ID, an accession number or a value out of an image. The libraries that would print such values are silenced.
"""

import logging
import os
import sys
import warnings
from collections.abc import Callable
from typing import Any, TextIO, cast

import structlog

SILENT = ("pynetdicom", "pydicom", "highdicom", "sqlalchemy", "alembic", "apscheduler", "uvicorn", "monai", "openvino")


class Forgiving:
    """Standard error, whose reader may be gone: a line that nobody reads ends no daemon."""

    def write(self, text: str) -> None:
        self._try(lambda: sys.stderr.write(text))

    def flush(self) -> None:
        self._try(sys.stderr.flush)

    def _try(self, action: Callable[[], object]) -> None:
        try:
            action()
        except BrokenPipeError:  # for good: what stays in the buffer would turn the exit status into a failure
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stderr.fileno())
            os.close(nowhere)
        except OSError:
            pass


def configure(level: str, part: str) -> None:
    """Send this process's log to standard error; `part` names the process in each line."""
    warnings.simplefilter("ignore")  # pydicom's quote the value that they complain about
    for name in SILENT:
        logger = logging.getLogger(name)
        logger.handlers = [logging.NullHandler()]
        logger.propagate = False
    structlog.configure(
        processors=[
            lambda _logger, _method, event: {**event, "part": part},
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(cast(TextIO, Forgiving())),
        cache_logger_on_first_use=True,
    )


def get() -> Any:
    """The logger of this process."""
    return structlog.get_logger()
