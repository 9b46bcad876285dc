"""TLS towards notifiers: their certificates are always verified, and a fault is said in plain words."""

import socket
import ssl

from daemon.decisions import CannotWork


def verified(ca: str) -> ssl.SSLContext:
    """Return a context that trusts the authorities in the file `ca`; "": those of the system.

    Raises CannotWork if the file cannot be used.
    """
    try:
        context = ssl.create_default_context(cafile=ca or None)
    except OSError as error:  # ssl.SSLError is one
        raise CannotWork(f"ca {ca}: {error.strerror or 'is no PEM file of certificates'}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def fault_of(error: BaseException, host: str, port: int) -> str:
    """Return a sentence for what went wrong on the way to a host; of what caused what, the first cause counts."""
    causes = [error]
    while (cause := causes[-1].__cause__ or causes[-1].__context__) and cause not in causes:
        causes.append(cause)
    for cause in reversed(causes):
        match cause:
            case ssl.SSLCertVerificationError():
                return _certificate_fault(cause, host)
            case ssl.SSLError():
                return (
                    f"TLS with {host}:{port} failed: {cause.reason or type(cause).__name__}; does it speak TLS there?"
                )
            case socket.gaierror():
                return f"host name {host} not resolved; check DNS and the spelling of the name"
            case ConnectionRefusedError():
                return f"connection to {host}:{port} refused; is the receiver running, and is the port right?"
            case TimeoutError():
                return f"no answer from {host}:{port} in time"
            case OSError() if cause.strerror:
                return f"connection to {host}:{port} failed: {cause.strerror}"
    return f"{host}:{port} broke off the connection ({type(error).__name__})"


def _certificate_fault(error: ssl.SSLCertVerificationError, host: str) -> str:
    """OpenSSL's own words and what to do."""
    said = error.verify_message.rstrip(".")
    if "mismatch" in said or "not valid for" in said:
        return f"the certificate is not one of {host}: {said}"
    if "expired" in said or "not yet valid" in said:
        return f"the certificate of {host} cannot be used now: {said}; check it, and this machine's clock"
    return f"the certificate of {host} is not trusted: {said}; give the certificate of its authority in ca"
