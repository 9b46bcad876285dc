"""The OHIF viewer as npm has it, served beside the DICOMweb of an Orthanc, and what a person does in it."""

import base64
import hashlib
import json
import os
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from mimetypes import guess_type
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx

from tests.conftest import wait_for
from tests.support.browser import Browser

VERSION = "3.13.2"
PACKAGE = f"https://registry.npmjs.org/@ohif/app/-/app-{VERSION}.tgz"
INTEGRITY = "WZdxmpmG7rqFgW9ZJLcbgr3XCtLi1KDNPoMaeY5PPe6j4G4fjEjjkycZM6C6Zk2F87BKxFfpq+jd5xXZB9E8EA=="  # SHA-512
SOURCE = {
    "namespace": "@ohif/extension-default.dataSourcesModule.dicomweb",
    "sourceName": "pacs",
    "configuration": {
        "friendlyName": "PACS", "name": "pacs", "wadoUriRoot": "/wado", "qidoRoot": "/dicom-web",
        "wadoRoot": "/dicom-web", "qidoSupportsIncludeField": True, "imageRendering": "wadors",
        "thumbnailRendering": "wadors", "enableStudyLazyLoad": True, "supportsWildcard": True,
        "omitQuotationForMultipartRequest": True, "bulkDataURI": {"enabled": True, "relativeResolution": "studies"},
    },
}  # fmt: skip
CONFIGURATION = {
    "routerBasename": None, "extensions": [], "modes": [], "customizationService": {}, "showStudyList": True,
    "maxNumberOfWebWorkers": 2, "showCPUFallbackMessage": False, "showWarningMessageForCrossOrigin": False,
    "investigationalUseDialog": {"option": "never"}, "defaultDataSourceName": "pacs", "dataSources": [SOURCE],
}  # fmt: skip
CLICK_AGAIN_SECONDS = 15.0
NO_TOUR = "localStorage.setItem('shownTours', JSON.stringify(['basicViewerTour', 'basicTour']));"
DISPLAY_SETS = """
return (window.services?.displaySetService?.getActiveDisplaySets() ?? []).map(d => ({
  uid: d.displaySetInstanceUID, modality: d.Modality, description: d.SeriesDescription ?? '', number: d.SeriesNumber,
  unsupported: !!d.unsupported}))
"""
# how many pixels of the window one pixel of the image takes; 0 until the image is drawn
SCALE = """
const viewport = [...(window.services.cornerstoneViewportService.getRenderingEngine()?.getViewports() ?? [])][0];
const data = viewport?.getImageData?.();
if (!data?.imageData || !data.dimensions) return [0, 0];
const columns = data.dimensions[0];
const [left, right] = [0, columns].map(x => viewport.worldToCanvas(data.imageData.indexToWorld([x, 0, 0])));
return [columns, Math.hypot(right[0] - left[0], right[1] - left[1]) / columns];
"""


def site() -> Path:
    """The prebuilt site, taken from npm once and kept in the user's cache; nothing of the package is run."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hilum-tests"
    kept = cache / f"ohif-{VERSION}"
    if not kept.is_dir():
        package = httpx.get(PACKAGE, timeout=120, follow_redirects=True).raise_for_status().content
        assert base64.b64encode(hashlib.sha512(package).digest()).decode() == INTEGRITY, "another package than pinned"
        unpacked = cache / f"{kept.name}.{os.getpid()}"
        with tarfile.open(fileobj=BytesIO(package)) as archive:
            archive.extractall(unpacked, filter="data")
        with suppress(OSError):  # another process was faster
            unpacked.rename(kept)
    return kept / "package" / "dist"


class _Handler(BaseHTTPRequestHandler):
    """The site, our configuration of it, and, at the same origin, the DICOMweb of `pacs`."""

    root: Path
    pacs: httpx.Client

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        if path.startswith(("/dicom-web", "/wado")):
            headers = {"Accept": self.headers.get("Accept", "*/*"), "Host": self.headers["Host"]}
            answer = self.pacs.get(self.path, headers=headers)
            return self._answer(answer.status_code, answer.headers.get("Content-Type", ""), answer.content)
        if path == "/app-config.js":
            return self._answer(200, "text/javascript", f"window.config = {json.dumps(CONFIGURATION)}".encode())
        file = (self.root / path.lstrip("/")).resolve()
        if not file.is_file() or self.root not in file.parents:
            file = self.root / "index.html"  # a route of the application
        kind = {".js": "text/javascript", ".wasm": "application/wasm"}.get(file.suffix) or guess_type(file.name)[0]
        return self._answer(200, kind or "application/octet-stream", file.read_bytes())

    def _answer(self, status: int, kind: str, content: bytes) -> None:
        with suppress(ConnectionError):
            self.send_response(status)
            for name, value in (
                ("Content-Type", kind), ("Content-Length", str(len(content))),
                ("Cross-Origin-Opener-Policy", "same-origin"), ("Cross-Origin-Embedder-Policy", "require-corp"),
            ):  # fmt: skip
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def ohif(pacs_http: int) -> Iterator[str]:
    """OHIF over the DICOMweb of the Orthanc at this port: its URL."""
    with httpx.Client(base_url=f"http://127.0.0.1:{pacs_http}", timeout=60, trust_env=False) as client:
        handler = type("Handler", (_Handler,), {"root": site().resolve(), "pacs": client})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            server.server_close()


@dataclass(frozen=True)
class Reader:
    """Somebody who reads studies in OHIF."""

    browser: Browser
    url: str

    def arrive(self) -> None:
        """Come for the first time, and skip the tour."""
        self.browser.open(f"{self.url}/app-config.js")
        self.browser.run(NO_TOUR)

    def open_study(self, study_instance_uid: str, series: int) -> list[dict[str, Any]]:
        """Open a study and wait until its `series` are listed; the list."""
        self.browser.open(f"{self.url}/viewer?StudyInstanceUIDs={study_instance_uid}")
        wait_for(lambda: len(self.tiles()) >= series, 120, f"{series} series in OHIF, there are {self.tiles()}")
        return self.tiles()

    def tiles(self) -> list[dict[str, Any]]:
        """The series that OHIF lists."""
        return list(self.browser.run(DISPLAY_SETS))

    def show(self, tile: dict[str, Any], shown: Callable[[], bool]) -> None:
        """Open a series as a person does: by a double click on its tile, and another where it is not `shown` after a
        while, since OHIF lays out a study that it still loads once more."""
        selector = f"[id='thumbnail-{tile['uid']}']"
        clicked = -CLICK_AGAIN_SECONDS

        def tried() -> bool:
            nonlocal clicked
            if shown():
                return True
            there = self.browser.run("return !!document.querySelector(arguments[0])", selector)
            if there and time.monotonic() > clicked + CLICK_AGAIN_SECONDS:
                self.browser.double_click(selector)
                clicked = time.monotonic()
            time.sleep(0.2)
            return False

        wait_for(tried, 120, f"{tile['modality']} in OHIF")

    def lines(self) -> list[str]:
        """The lines of text in the viewport."""
        text = self.browser.run("return document.querySelector('[data-cy=\"viewport-pane\"]')?.innerText ?? ''")
        return [line for line in text.splitlines() if line.strip()]

    def image(self) -> tuple[int, float]:
        """Columns of the image that is shown, and how many pixels of the window one of its pixels takes."""
        columns, scale = self.browser.run(SCALE)
        return columns, scale
