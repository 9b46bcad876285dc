"""What stands before every page: only a host that is ours is answered, and nothing is kept or guessed at."""

import re
from collections.abc import Iterable
from ipaddress import IPv6Address, ip_address

from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
"""Headers of every answer: pages hold identifiers of patients, and a browser must not take JSON for HTML."""

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:]+)(:\d*)?")  # RFC 3986 3.2.2 and 3.2.3


class Guard:
    """Wraps a web application: requests whose Host is not ours get 421, and every answer gets `HEADERS`.

    A browser sends the name that it looked up. A page of a stranger whose name was made to lead to this machine (DNS
    rebinding) therefore never sees an answer. Ours are localhost, the loopback addresses and `hosts`.
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str]) -> None:
        self._app = app
        self._hosts = {"localhost", *map(_spelled, hosts)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = list(message.get("headers", ()))
                names = {name.lower() for name, _ in given}
                added = [(n.encode(), v.encode()) for n, v in HEADERS.items() if n.encode() not in names]
                message = {**message, "headers": [*given, *added]}
            await send(message)

        answer = self._refusal(scope) if scope["type"] == "http" else None
        await (answer or self._app)(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope) -> JSONResponse | None:
        """Return the refusal of a request, or None if it is to be answered. It says nothing of what was asked."""
        hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        if len(hosts) != 1:  # RFC 9112 3.2
            return JSONResponse({"error": "a request needs one Host header"}, status_code=400)
        if self._is_ours(hosts[0]):
            return None
        words = "this host name is not answered; http.allowed_hosts lists those that are"
        return JSONResponse({"error": words}, status_code=421)  # RFC 9110 15.5.20

    def _is_ours(self, header: str) -> bool:
        found = _HOST.fullmatch(header)
        if not found:
            return False
        host = _spelled(found[1].strip("[]"))
        try:
            address = ip_address(host)
        except ValueError:
            return host in self._hosts
        mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
        return (mapped or address).is_loopback or host in self._hosts


def _spelled(host: str) -> str:
    """Return a name or an address in the one spelling in which it is compared."""
    try:
        return str(ip_address(host))
    except ValueError:
        return host.rstrip(".").lower()
