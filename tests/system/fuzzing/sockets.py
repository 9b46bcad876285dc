"""What all kinds of input do with a socket."""

import errno
import socket


def half_close(connection: socket.socket) -> None:
    """Say no more, and go on to read. A connection that the daemon has reset raises ConnectionError."""
    try:
        connection.shutdown(socket.SHUT_WR)
    except OSError as error:
        if error.errno == errno.ENOTCONN:
            raise ConnectionError(error.strerror) from error
        raise
