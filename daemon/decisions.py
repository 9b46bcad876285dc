"""The one table from exception to decision: what happens to a study whose step raised.

transient trouble of the machine   wait, then try again; does not count as a try
the spool lost the object          a person must look
anything else                      a person must look; the text is not kept, for it may hold patient data
"""

from dataclasses import dataclass

from daemon.retries import TROUBLE_SECONDS
from storage.errors import DatabaseUnavailable, SpoolDamaged, SpoolUnavailable


class CannotWork(Exception):
    """A part cannot work with this configuration; the text says what is wrong and what to do."""


@dataclass(frozen=True)
class Wait:
    """Open the study again after this pause."""

    seconds: float
    reason: str


@dataclass(frozen=True)
class Quarantine:
    """Leave the study to a person. `kind` is that of the security event that it is, too; "": it is none."""

    reason: str
    kind: str = ""


Decision = Wait | Quarantine


def decide(error: Exception) -> Decision:
    """What to do with the study that `error` befell."""
    match error:
        case DatabaseUnavailable():
            return Wait(TROUBLE_SECONDS, "the database cannot be reached")
        case SpoolUnavailable():
            return Wait(TROUBLE_SECONDS, "the spool cannot be read or written")
        case SpoolDamaged():
            return Quarantine(str(error), "spool-damaged")
        case MemoryError():
            return Quarantine("memory ran out; raise model.memory_limit_bytes or look at the image")
        case OSError():
            return Wait(TROUBLE_SECONDS, f"the operating system refused: {error.strerror or type(error).__name__}")
        case _:
            return Quarantine(f"unforeseen {type(error).__name__} in {place(error)}; see docs/operations.md")


def place(error: Exception) -> str:
    """Module and line where the exception came up: enough to find the fault, and free of values."""
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_globals.get('__name__', '?')}:{trace.tb_lineno}" if trace else "?"
