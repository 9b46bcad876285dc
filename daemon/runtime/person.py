"""Who is at the keyboard."""

import os
import pwd
import signal
from pathlib import Path

_UNSET = 2**32 - 1  # audit(7): no login session, as in a service


def login(loginuid: Path = Path("/proc/self/loginuid"), user: int | None = None) -> str:
    """Return the login name of the person who runs this process; su and sudo do not change it.

    Without a login session it is the name of the user that the process runs as, or the user's number if it has no name.
    For another process, give its `loginuid` and its user.
    """
    try:
        number = int(loginuid.read_text())
    except (OSError, ValueError):
        number = _UNSET
    if number == _UNSET:
        number = os.getuid() if user is None else user
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def sender(heard: signal.struct_siginfo) -> str:
    """Return the name of the person who sent this signal; of the sender's user, if the sender has ended meanwhile."""
    return login(Path(f"/proc/{heard.si_pid}/loginuid"), heard.si_uid)
