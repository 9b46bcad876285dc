"""Webhooks: an HTTP POST of a CloudEvents 1.0 JSON object, signed as Standard Webhooks 1.0 says.

Redirects are not followed, proxies and passwords of the environment are not used, and one attempt takes no longer than
`timeout_seconds` in all, however slowly the receiver answers.
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
from datetime import datetime
from urllib.parse import urlsplit

import httpx

from config.alerting import WebhookSettings
from daemon.alerting.notifier import Announcement, Notifier, refused_for_now, secret_text, unreachable
from daemon.alerting.tls import fault_of, verified
from daemon.decisions import CannotWork
from daemon.runtime.visible import json_text
from storage.records import Sending, Sent

PREFIX = "whsec_"
LEAST_BYTES, MOST_BYTES = 24, 64  # of a secret, as Standard Webhooks has it
GONE = 410  # "the receiver does not want any more messages"
FAULTS = (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError)  # of the way there and of what comes back
CONTENT_TYPE = "application/cloudevents+json"  # CloudEvents, HTTP protocol binding 3.2: structured mode


class Webhook(Notifier):
    """A program behind a URL. Raises CannotWork if its secret or its `ca` cannot be used."""

    def __init__(self, settings: WebhookSettings):
        self._settings, parts = settings, urlsplit(settings.url)
        self._host, self._port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        self._secrets()
        verified(settings.ca)

    def send(self, message: Announcement, now: datetime) -> Sent:
        """POST the event. Any 2xx is success; 410 means that nothing is wanted there any more."""
        body = json_text(message.event, ascii_only=True).encode()
        try:
            headers = {"Content-Type": CONTENT_TYPE, **signature(self._secrets(), message.id, now, body)}
            status = self._ask("POST", headers, body)
        except CannotWork as fault:
            return unreachable(str(fault))
        except FAULTS as error:
            return unreachable(fault_of(error, self._host, self._port))
        return _outcome(status)

    def test(self) -> str:
        """Ask for the headers of the URL; whatever the answer is, the receiver is there."""
        try:
            self._ask("HEAD", {}, b"")
        except CannotWork as fault:
            return str(fault)
        except FAULTS as error:
            return fault_of(error, self._host, self._port)
        return ""

    def _ask(self, method: str, headers: dict[str, str], body: bytes) -> int:
        """Make a request and return the status; what else the receiver says is not read."""
        settings = self._settings

        async def ask() -> int:
            async with (
                asyncio.timeout(settings.timeout_seconds),
                httpx.AsyncClient(
                    verify=verified(settings.ca),
                    timeout=settings.timeout_seconds,
                    proxy=settings.proxy or None,
                    trust_env=False,
                    follow_redirects=False,
                    headers={"User-Agent": "hilum"},
                ) as client,
                client.stream(method, settings.url, headers=headers, content=body) as answer,
            ):
                return answer.status_code

        return asyncio.run(ask())

    def _secrets(self) -> list[bytes]:
        settings = self._settings
        text = secret_text(settings.secret_file, "secret_file") if settings.secret_file else settings.secret
        return [_secret(word) for word in text.split()]


def signature(secrets: list[bytes], message_id: str, now: datetime, body: bytes) -> dict[str, str]:
    """Return the three headers by which a receiver knows who sends, and when; one signature for each secret."""
    timestamp = str(int(now.timestamp()))
    signed = f"{message_id}.{timestamp}.".encode() + body
    digests = (base64.b64encode(hmac.digest(secret, signed, hashlib.sha256)).decode() for secret in secrets)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(f"v1,{digest}" for digest in digests),
    }


def _secret(written: str) -> bytes:
    """Return the bytes of a secret. Raises CannotWork, without the secret, for one that is not as it should be."""
    try:
        secret = base64.b64decode(written.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        secret = b""
    if not written.startswith(PREFIX) or not LEAST_BYTES <= len(secret) <= MOST_BYTES:
        raise CannotWork(
            f"secret: expected {PREFIX} and {LEAST_BYTES} to {MOST_BYTES} random bytes in base64;"
            " echo whsec_$(openssl rand -base64 32) makes one"
        )
    return secret


def _outcome(status: int) -> Sent:
    if httpx.codes.is_success(status):
        return Sent(Sending.ACCEPTED, None, f"HTTP {status}")
    said = f"HTTP {status} {httpx.codes.get_reason_phrase(status)}".rstrip()
    if status == GONE:
        return Sent(Sending.REFUSED, None, f"{said}: the receiver wants no more notifications")
    if httpx.codes.is_redirect(status):
        return refused_for_now(f"{said}: redirects are not followed; give the final address in url")
    return refused_for_now(said)
