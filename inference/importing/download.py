"""Downloading one file over HTTPS. An interrupted download is resumed (RFC 9110 14: Range, If-Range).

    <file>.part         the bytes received so far
    <file>.part.json    {"url": ..., "validator": its ETag or Last-Modified, "total": bytes or null}
    <file>              the complete file

The trusted certificates are the system's, or those in the file that SSL_CERT_FILE names. https_proxy names a proxy.
"""

import json
import ssl
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, HTTPSHandler, Request, build_opener

from inference.errors import PullFailed, Unreachable

TIMEOUT_SECONDS = 30.0  # without a byte from the server
LIMIT_BYTES = 2 << 30  # the largest file that is accepted; those of the catalogue have 30 MB
_BLOCK = 1 << 18  # bytes
Progress = Callable[[int, int | None], None]  # called with the bytes so far and the total, None if it is unknown


@dataclass(frozen=True)
class _Note:
    """What is known about an interrupted download."""

    url: str
    validator: str
    total: int | None


def download(url: str, file: Path, report: Progress = lambda done, total: None, limit: int = LIMIT_BYTES) -> None:
    """Download `url` into `file`. The bytes of an interrupted download are kept, and the next call resumes it.

    `limit` is in bytes. Raises Unreachable (the server or the file cannot be reached) and PullFailed (the download was
    interrupted, is larger than `limit`, or was redirected away from https).
    """
    part, note = _beside(file)
    have, known = part.stat().st_size if part.is_file() else 0, _read(note)
    if known.url != url or not known.validator:  # from another address, or nothing shows that the file is the same
        have = 0
    if not have or have != known.total:
        asked = {"Range": f"bytes={have}-", "If-Range": known.validator} if have else {}
        with closing(_open(Request(url, headers={"User-Agent": "hilum"} | asked))) as answer:
            _receive(answer, file, have, url, limit, report)
    part.replace(file)
    note.unlink()


def _receive(answer: HTTPResponse, file: Path, have: int, url: str, limit: int, report: Progress) -> None:
    """Append the answer's bytes to those that we have, or start over if the answer is the whole file."""
    part, note = _beside(file)
    start = have if answer.status == 206 else 0
    if answer.status == 206 and not answer.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
        _forget(file)
        raise PullFailed(f"{url} sent another range than was requested; the next attempt starts over")
    length = answer.headers.get("Content-Length", "")
    total = start + int(length) if length.isascii() and length.isdecimal() else None
    if not start:
        _forget(file)
        note.write_text(json.dumps(asdict(_Note(url, _validator(answer), total))), encoding="utf-8")
    done = start
    with part.open("ab") as out:
        for block in _blocks(answer):
            done += len(block)
            if max(done, total or 0) > limit:
                raise PullFailed(f"{url} is larger than {limit} bytes, the largest size that is accepted")
            out.write(block)
            report(done, total)
    if total is not None and done < total:
        raise PullFailed(f"the download was interrupted after {done} of {total} bytes; the next attempt resumes it")


def _blocks(answer: HTTPResponse) -> Iterator[bytes]:
    try:
        while block := answer.read(_BLOCK):
            yield block
    except (OSError, HTTPException) as error:
        raise PullFailed(f"the download was interrupted ({_reason(error)}); the next attempt resumes it") from error


def _open(request: Request) -> HTTPResponse:
    """Return the answer, with status 200 or 206.

    Raises Unreachable, and PullFailed for a redirection away from https.
    """
    url, host = request.full_url, urlsplit(request.full_url).netloc
    _ensure_https(url, url)
    opener = build_opener(_HttpsRedirects(), HTTPSHandler(context=ssl.create_default_context()))
    try:
        answer: HTTPResponse = opener.open(request, timeout=TIMEOUT_SECONDS)
    except HTTPError as error:
        error.close()
        if error.code == 416 and request.headers.pop("Range", ""):  # shorter than what we have, so it is another file
            return _open(Request(url, headers={"User-Agent": "hilum"}))
        raise Unreachable(f"{url} answered {error.code} {error.reason}") from error
    except URLError as error:
        raise Unreachable(f"{host} cannot be reached: {_reason(error.reason)}") from error
    except (OSError, HTTPException) as error:
        raise Unreachable(f"{host} cannot be reached: {_reason(error)}") from error
    if answer.headers.get_content_type() == "text/html":
        answer.close()
        raise Unreachable(
            f"{url} answered with a web page instead of a file: a proxy or a login page may be in between"
        )
    return answer


class _HttpsRedirects(HTTPRedirectHandler):
    """Follows redirections to https only."""

    def redirect_request(self, req: Request, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Request | None:
        _ensure_https(newurl, req.full_url)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _ensure_https(url: str, asked: str) -> None:
    if urlsplit(url).scheme != "https":
        raise PullFailed(f"{asked} leads to {url[:200]}, but only https is allowed")


def _reason(error: object) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"{error.verify_message} (SSL_CERT_FILE names the authorities that are trusted)"
    return str(getattr(error, "strerror", None) or error or type(error).__name__)


def _validator(answer: HTTPResponse) -> str:
    """Return what identifies this version of the file, or "". A weak ETag does not (RFC 9110 13.1.5)."""
    etag = answer.headers.get("ETag", "")
    return etag if etag.startswith('"') else answer.headers.get("Last-Modified", "")


def _read(note: Path) -> _Note:
    try:
        return _Note(**json.loads(note.read_text()))
    except (OSError, ValueError, TypeError):
        return _Note("", "", None)


def _forget(file: Path) -> None:
    for path in _beside(file):
        path.unlink(missing_ok=True)


def _beside(file: Path) -> tuple[Path, Path]:
    return file.with_name(f"{file.name}.part"), file.with_name(f"{file.name}.part.json")
