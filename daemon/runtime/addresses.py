"""Addresses that a part listens on."""

import socket

from daemon.decisions import CannotWork

BACKLOG = 128


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens on this address; port 0 takes a free port.

    Raises CannotWork if the address cannot be used.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(BACKLOG)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise CannotWork(f"cannot listen on {host}:{port}: {error.strerror}") from error
    return listener
