"""The one table from exception to decision: what happens to a study whose analysis raised an exception.

database, spool or system call failed   wait, then try again; does not count as an attempt
the spool lost or altered an object     quarantine: a person must look
the images are of several patients      quarantine: a person says which belong to the study
memory ran out                          quarantine
any other exception                     quarantine; its text is not kept, because it may hold patient data
"""

from dataclasses import dataclass

from daemon.retries import TROUBLE_SECONDS
from storage.errors import DatabaseUnavailable, SpoolDamaged, SpoolUnavailable


class CannotWork(Exception):
    """A part cannot work with this configuration. The text says what is wrong and what to do."""


class SeveralPatients(Exception):
    """The images of one study are of several patients; `number` says how many."""

    def __init__(self, number: int) -> None:
        super().__init__(f"{number} patients in one study")
        self.number = number


@dataclass(frozen=True)
class Wait:
    """Make the study due again after `seconds`."""

    seconds: float
    reason: str


@dataclass(frozen=True)
class Quarantine:
    """Leave the study to a person."""

    reason: str
    """A sentence for that person, without patient data."""
    kind: str = ""
    """The kind of the security event to record as well, or "" for none."""


Decision = Wait | Quarantine


def decide(error: Exception) -> Decision:
    """Return what to do with the study whose analysis raised `error`."""
    match error:
        case DatabaseUnavailable():
            return Wait(TROUBLE_SECONDS, "the database cannot be reached")
        case SpoolUnavailable():
            return Wait(TROUBLE_SECONDS, "the spool cannot be read or written")
        case SpoolDamaged():
            return Quarantine(str(error), "spool-damaged")
        case SeveralPatients(number=number):
            return Quarantine(
                f"the images are of {number} patients under one Study Instance UID; hilum quarantine images shows"
                " them, hilum quarantine release with --patient or --keep says which belong"
            )
        case MemoryError():
            return Quarantine("memory ran out; raise analysis.memory_limit_bytes or examine the image")
        case OSError():
            return Wait(TROUBLE_SECONDS, f"a system call failed: {error.strerror or type(error).__name__}")
        case _:
            return Quarantine(f"unexpected {type(error).__name__} in {place(error)}; see docs/operations.md")


def place(error: Exception) -> str:
    """Return module and line where the exception was raised: enough to find the fault, and free of patient data."""
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_globals.get('__name__', '?')}:{trace.tb_lineno}" if trace else "?"
