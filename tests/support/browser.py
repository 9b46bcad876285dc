"""Headless Chromium, driven by W3C WebDriver: chromedriver is its server, and httpx speaks to it."""

import base64
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from tests.conftest import wait_for
from tests.support.peers import answers, free_port

WIDTH, HEIGHT = 1600, 1000  # of the page, in pixels
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # W3C WebDriver 12.1
OPTIONS = [
    "--headless=new", "--no-sandbox", "--no-first-run", "--disable-background-networking", "--disable-sync",
    "--disable-component-update", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--hide-scrollbars",
    f"--window-size={WIDTH},{HEIGHT}", "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
]  # fmt: skip


@dataclass(frozen=True)
class Browser:
    """One window. It reaches nothing but this machine."""

    session: httpx.Client

    def open(self, url: str) -> None:
        self._post("url", url=url)

    def run(self, script: str, *arguments: Any) -> Any:
        """What a script returns: the body of a function, with `arguments` by their place."""
        return self._post("execute/sync", script=script, args=list(arguments))

    def double_click(self, selector: str) -> None:
        """Two clicks into the middle of the element that a CSS selector finds."""
        found = self._post("element", using="css selector", value=selector)
        click = [{"type": "pointerDown", "button": 0}, {"type": "pointerUp", "button": 0}]
        move = {"type": "pointerMove", "duration": 0, "origin": {ELEMENT: found[ELEMENT]}, "x": 0, "y": 0}
        mouse = {"type": "pointer", "id": "mouse", "actions": [move, *click * 2]}
        self.run("arguments[0].scrollIntoView({block: 'center'})", {ELEMENT: found[ELEMENT]})
        self._post("actions", actions=[mouse])

    def picture(self) -> bytes:
        """What the window shows, as PNG."""
        return base64.b64decode(self.session.get("screenshot").raise_for_status().json()["value"])

    def command(self, name: str, **values: Any) -> None:
        """A command of the Chrome DevTools Protocol."""
        self._post("goog/cdp/execute", cmd=name, params=values)

    def _post(self, command: str, **values: Any) -> Any:
        answer = self.session.post(command, json=values)
        assert answer.status_code == 200, answer.text[:500]
        return answer.json()["value"]


@contextmanager
def browser() -> Iterator[Browser]:
    """A browser with a profile of its own, which ends with it."""
    port = free_port()
    driver = subprocess.Popen(
        ["chromedriver", f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        wait_for(lambda: answers(port), 30, "chromedriver")
        wanted = {"alwaysMatch": {"goog:chromeOptions": {"binary": "/usr/bin/chromium", "args": OPTIONS}}}
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as client:
            begun = client.post("/session", json={"capabilities": wanted})
            assert begun.status_code == 200, begun.text[:500]
            path = f"http://127.0.0.1:{port}/session/{begun.json()['value']['sessionId']}/"
            with httpx.Client(base_url=path, timeout=60, trust_env=False) as session:
                chrome = Browser(session)
                metrics = {"width": WIDTH, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": False}
                chrome.command("Emulation.setDeviceMetricsOverride", **metrics)
                try:
                    yield chrome
                finally:
                    client.delete(path.removesuffix("/"))
    finally:
        os.killpg(driver.pid, signal.SIGKILL)  # and whatever it started
        driver.wait(20)
