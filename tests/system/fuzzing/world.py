"""The daemons that are fuzzed, and the peers that they need."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dicom_io.network.tls import TlsFiles
from tests.support.authority import Authority
from tests.support.harness import Daemon, sink
from tests.support.mutations import conversation
from tests.support.peers import Recorder, dx_file, free_port, running_scp, storescp
from tests.system.fuzzing.commitment import ADDRESS, TITLE


@dataclass(frozen=True)
class World:
    """A daemon without TLS, whose HTTP port is `http`; one with TLS, which knows `client`; a proper conversation."""

    plain: Daemon
    http: int
    tls: Daemon
    client: TlsFiles
    pdus: list[bytes]


@contextlib.contextmanager
def world(directory: Path, bundle: dict[str, str]) -> Iterator[World]:
    """Both daemons, the PACS of both, and the peer that takes the commitment reports."""
    http, file = free_port(), dx_file(directory / "a.dcm", 16, 16).read_bytes()
    incoming = directory / "committer"
    incoming.mkdir()
    authority = Authority(directory / "authority")
    server, client = authority.issue("server"), authority.issue("client")
    secured = {f"HILUM__TLS__{key.upper()}": str(getattr(server, key)) for key in ("certificate", "key", "ca")}
    with (
        storescp(directory / "sink", "--ignore", "+xa") as pacs,
        running_scp(Recorder(), incoming, ae_title=TITLE, host=ADDRESS) as committer,
    ):
        to = [sink("pacs", pacs.port, outputs=["sr", "sc"], report_ignored=True)]
        peer = {"ae_title": TITLE, "host": ADDRESS, "port": committer.port}
        common = {"HILUM__STUDY__SETTLE_SECONDS": "0.5", "HILUM__DICOM__IDLE_TIMEOUT_SECONDS": "30", **bundle}
        web = {"HILUM__HTTP__ENABLED": "true", "HILUM__HTTP__PORT": str(http)}
        with (
            Daemon(directory / "hilum", to, HILUM__PEER=json.dumps([peer]), **web, **common) as plain,
            Daemon(directory / "secured", [], **secured, **common) as tls,
        ):
            yield World(plain, http, tls, client, conversation(plain.port, file))
