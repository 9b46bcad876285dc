"""Who is at the keyboard."""

import os
import pwd
from pathlib import Path

_UNSET = 2**32 - 1  # audit(7): nobody logged in for this process, as in a service


def login(loginuid: Path = Path("/proc/self/loginuid")) -> str:
    """The name that the session of this process was logged in with, which su and sudo do not change.

    Without a login, the name of the user that it runs as; the number of one that has no name.
    """
    try:
        number = int(loginuid.read_text())
    except (OSError, ValueError):
        number = _UNSET
    number = os.getuid() if number == _UNSET else number
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)
