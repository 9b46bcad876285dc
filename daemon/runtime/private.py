"""Keeps what a process holds from the other users of the machine."""

import os
import resource
from contextlib import suppress
from pathlib import Path


def close_to_others() -> None:
    """Let the files that this process and its children make be open to their user alone, and let none dump core."""
    os.umask(0o077)
    dump_no_core()


def dump_no_core() -> None:
    """Let this process and its children leave no core dump: their memory holds images and identifiers of patients.

    The limit does not hold where the system pipes core dumps into a program (core(5)); that program then gets no memory
    of ours.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError):  # there is no such file where the kernel was built without it
        Path("/proc/self/coredump_filter").write_text("0")
