"""The daemon under bad and good reloads, and with parts that hang: reception goes on, and nothing is silent."""

import json
import os
import shutil
import signal
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from daemon.runtime.person import login
from dicom_io.services.store_scu import Destination, Sender
from inference.bundle import load_bundle
from tests.conftest import wait_for
from tests.support.harness import Daemon, sink
from tests.support.peers import free_port

REFUSED = "configuration refused, the old one stays"


@dataclass(frozen=True)
class Site:
    """A running daemon, the file that it is configured by, and its HTTP port."""

    daemon: Daemon
    file: Path
    http: int
    bundle: Path
    digest: str

    def write(self, more: str = "", **model: str) -> None:
        """Write the configuration: the one that works, with another model or with more sections."""
        lines = {"bundle": str(self.bundle), "digest": self.digest, **model}
        text = "[model]\n" + "".join(f"{key} = '{value}'\n" for key, value in lines.items())
        self.file.write_text(f"{text}{more}" if "[http]" in more else f"{text}[http]\nport = {self.http}\n{more}")

    def reload(self) -> None:
        assert self.daemon.process
        self.daemon.process.send_signal(signal.SIGHUP)

    def logged(self, event: str, part: str = "") -> list[dict[str, Any]]:
        return [e for e in list(self.daemon.events) if e.get("event") == event and part in ("", e["part"])]

    def rows(self, event: str) -> list[dict[str, Any]]:
        """The rows of the audit trail with this event."""
        with self.daemon.store() as store:
            return [row for row in store.queries.events(limit=10_000) if row["event"] == event]

    def health(self) -> tuple[int, dict[str, Any]]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http}/health", timeout=5) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)
        except OSError:
            return 0, {"status": "no answer"}

    def healthy(self) -> bool:
        return self.health()[0] == 200

    def unhealthy(self, names: tuple[str, ...]) -> bool:
        """Whether /health says 503 and names one of these parts."""
        status, said = self.health()
        return status == 503 and any(name in said["status"] for name in names)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, untrained: dict[str, str]) -> Iterator[Site]:
    directory, http, port = tmp_path_factory.mktemp("site"), free_port(), free_port()
    environ = {"HILUM_CONFIG": str(directory / "hilum.toml"), "HILUM__HTTP__ENABLED": "true",
               "HILUM__DICOM__PORT": str(port)}  # fmt: skip
    daemon = Daemon(directory / "hilum", [sink("pacs", free_port())], **environ)
    bundle, digest = (untrained[f"HILUM__MODEL__{key}"] for key in ("BUNDLE", "DIGEST"))
    found = Site(daemon, directory / "hilum.toml", http, Path(bundle), digest)
    found.write()
    with daemon:
        wait_for(found.healthy, 180, "every part to work")
        yield found


@contextmanager
def echoes(port: int) -> Iterator[list[float]]:
    """C-ECHO every 100 ms, each over an association of its own; the times at which one failed."""
    over, failed = threading.Event(), []

    def ask() -> None:
        while not over.wait(0.1):
            sender = Sender("MODALITY", Destination("HILUM", "127.0.0.1", port))
            began = time.monotonic()
            if sender.echo().outcome != "ACCEPTED":
                failed.append(began)
            sender.close()

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield failed
    finally:
        over.set()
        thread.join()


def wrong_golden(site: Site, directory: Path) -> dict[str, str]:
    """A bundle whose golden input does not give what it says, with its right digest."""
    shutil.copytree(site.bundle, directory)
    path = directory / "golden/expected.json"
    path.chmod(0o644)
    path.write_text(path.read_text().replace("0.", "0.9", 1))
    return {"bundle": str(directory), "digest": load_bundle(directory, None).digest}


def test_no_bad_reload_ends_reception(tmp_path: Path, site: Site) -> None:
    """Whatever is wrong: C-ECHO never fails, no process is replaced, and there are one log line and one audit row."""
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("no certificate")
    taken = socket.create_server(("127.0.0.1", 0))
    tls = "".join(f"{key} = '{garbage}'\n" for key in ("certificate", "key", "ca"))
    cases: list[tuple[str, str, dict[str, str], list[str]]] = [
        ("digest", "", {"digest": "sha256:" + "0" * 64}, ["model.digest"]),
        ("is not a bundle", "", {"bundle": str(tmp_path / "nowhere")}, ["model.bundle"]),
        ("golden", "", wrong_golden(site, tmp_path / "golden"), ["model.bundle", "model.digest"]),
        ("cannot listen", f"[http]\nport = {taken.getsockname()[1]}\n", {}, ["http.port"]),
        ("tls", f"[tls]\n{tls}", {}, ["tls.ca", "tls.certificate", "tls.key"]),
        ("No such file", f"[storage]\ndatabase_file = '{tmp_path}/none'\n", {}, ["storage.database_file"]),
        ("no TOML", "[", {}, []),
        ("unexpected RecursionError", f"deep = {'[' * 5000}\n", {}, []),
        ("keep_days", "[storage]\nkeep_days = -1\n", {}, ["storage.keep_days"]),
    ]
    parts = site.daemon.parts()
    with echoes(site.daemon.port) as failed:
        for number, (said, more, model, keys) in enumerate(cases, 1):
            site.write(more, **model)
            site.reload()
            wait_for(lambda n=number: len(site.rows("RELOAD_REFUSED")) == n, 180, f"the refusal of {said}")
            assert len(site.logged(REFUSED)) == number
            assert said in site.logged(REFUSED)[-1]["fault"]
            (row, *_) = sorted(site.rows("RELOAD_REFUSED"), key=lambda row: -row["id"])
            assert row["detail"] == {"keys": keys}
            assert row["actor"] == f"operator {login()}"
            assert site.healthy()
    assert not failed
    assert site.daemon.parts() == parts
    assert not site.logged("part ended")
    taken.close()
    site.write()


def test_a_new_peer_restarts_nobody(site: Site) -> None:
    """[[peer]] is taken over by the receiver, and by those who report to peers, while they run."""
    parts = site.daemon.parts()
    site.write("[[peer]]\nae_title = 'CT1'\nhost = '10.0.0.1'\nport = 104\n")
    with echoes(site.daemon.port) as failed:
        site.reload()
        for part in ("parent", "receive", "deliver"):
            wait_for(lambda p=part: site.logged("configuration reloaded", p), 90, f"the reload of {part}")
    assert not failed
    assert site.logged("configuration reloaded", "parent")[-1]["restarted"] == []
    assert site.daemon.parts() == parts
    assert [row["detail"] for row in site.rows("RELOADED")] == [{"keys": ["peer.CT1"]}]


def test_parts_that_hang_are_named_and_started_again(site: Site) -> None:
    """SIGSTOP: within 30 s /health names the part with 503, and another process has taken its place."""
    before = site.daemon.parts()
    for names in (("receive", "deliver", "analyse-0"), ("house",)):
        for name in names:
            os.kill(before[name], signal.SIGSTOP)
        if "house" not in names:
            wait_for(lambda n=names: site.unhealthy(n), 30, "503 that names a part")
        for name in names:
            wait_for(lambda n=name: any(e["of"] == n for e in site.logged("part hangs")), 30, f"notice of {name}")
        wait_for(lambda n=names: not {*site.daemon.parts().items()} & {(p, before[p]) for p in n}, 60, "successors")
        wait_for(site.healthy, 180, "every part to work again")
    assert site.daemon.parts()["parent"] == before["parent"]


def test_the_port_goes_from_one_receiver_to_the_next(site: Site) -> None:
    """A change of [dicom] is in force after a gap that no sender's connection timeout notices."""
    old = site.daemon.parts()["receive"]
    site.write("[dicom]\nmax_associations = 7\n")
    with echoes(site.daemon.port) as failed:
        site.reload()
        wait_for(lambda: site.daemon.parts()["receive"] != old, 180, "the new receiver")
        wait_for(site.healthy, 180, "every part to work again")
    assert not failed or failed[-1] - failed[0] < 3
    assert site.daemon.stop() == 0
