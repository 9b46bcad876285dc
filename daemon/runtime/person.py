"""Who is at the keyboard."""

import os
import pwd
from pathlib import Path

_UNSET = 2**32 - 1  # audit(7): no login session, as in a service


def login(loginuid: Path = Path("/proc/self/loginuid")) -> str:
    """Return the login name of the person who runs this process; su and sudo do not change it.

    Without a login session it is the name of the user that the process runs as, or the user's number if it has no name.
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
