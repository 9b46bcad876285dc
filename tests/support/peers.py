"""Real peers for the network tests: our SCP with a recording daemon, dcmtk's storescp and tools, Orthanc."""

import contextlib
import json
import os
import random
import shutil
import socket
import subprocess
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    RLELossless,
    generate_uid,
)

from daemon import outputs
from dicom_io.image.part10 import read_part10
from dicom_io.network.admission import Admission, Limits, Peer
from dicom_io.network.statuses import Status
from dicom_io.radiographs import RADIOGRAPH_SOP_CLASSES
from dicom_io.services.store_scp import Answer, Arrived, Callbacks, StoreScp, start_scp
from dicom_io.services.store_scu import Destination, Sender
from tests.conftest import PEER_PATH, wait_for

SYNTAXES = (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    JPEGBaseline8Bit,
    JPEG2000Lossless,
    RLELossless,
)
# Everything that hilum may send to a PACS
RESULT_SOP_CLASSES = outputs.sop_classes(outputs.MODULES)
# Without our own virtual environment: pynetdicom puts a storescp of its own there, with other options than dcmtk's.
ENVIRONMENT = {**os.environ, "PATH": PEER_PATH}


def free_port() -> int:
    """A port that nobody has, below those that the system gives to outgoing connections meanwhile."""
    while True:
        port = random.SystemRandom().randrange(20_000, 32_000)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port


@dataclass
class Recorder:
    """A daemon that keeps in memory what arrived, and answers as `answer` says."""

    answer: Callable[[Arrived], Answer] = lambda arrived: Answer(Status.SUCCESS)
    arrived: list[Arrived] = field(default_factory=list)
    contents: list[bytes] = field(default_factory=list)
    events: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    requests: list[Any] = field(default_factory=list)
    reports: list[Any] = field(default_factory=list)
    closed: Answer | None = None

    def on_store(self, arrived: Arrived) -> Answer:
        self.arrived.append(arrived)
        self.contents.append(arrived.path.read_bytes())
        return self.answer(arrived)

    @property
    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.events]

    def callbacks(self) -> Callbacks:
        return Callbacks(
            self.on_store,
            lambda: self.closed,
            self.requests.append,
            self.reports.append,
            lambda kind, detail: self.events.append((kind, detail)),
        )


@contextlib.contextmanager
def running_scp(
    recorder: Recorder,
    incoming: Path,
    peers: Sequence[Peer] = (),
    limits: Limits | None = None,
    tls: Any = None,
    syntaxes: Sequence[str] = SYNTAXES,
    accept_any_peer: bool = False,
    ae_title: str = "HILUM",
    host: str = "127.0.0.1",
) -> Iterator[StoreScp]:
    """Our SCP on a free port of `host`; no peers: anybody may send."""
    limits = limits or Limits()
    admission = Admission(ae_title, peers, limits, accept_any_peer=accept_any_peer or not peers)
    scp = start_scp(
        ae_title, host, 0, admission, limits, syntaxes, recorder.callbacks(), RADIOGRAPH_SOP_CLASSES, incoming,
        tls=tls, digest=True,
    )  # fmt: skip
    try:
        yield scp
    finally:
        scp.shutdown(1.0)


def sender_to(scp: StoreScp, **options: Any) -> Sender:
    """Our SCU, as a modality that sends DX images to our SCP."""
    to = Destination("HILUM", "127.0.0.1", scp.port, sop_classes=(DigitalXRayImageStorageForPresentation,), **options)
    return Sender("SENDER", to, timeout_seconds=10.0)


def dx_file(
    path: Path, rows: int = 256, columns: int = 256, syntax: str = ExplicitVRLittleEndian, **elements: Any
) -> Path:
    """A DX image of noise; `elements` replace the header's."""
    dataset = Dataset()
    dataset.SOPClassUID = DigitalXRayImageStorageForPresentation
    dataset.SOPInstanceUID, dataset.StudyInstanceUID, dataset.SeriesInstanceUID = (generate_uid() for _ in range(3))
    dataset.PatientName, dataset.PatientID, dataset.Modality = "Marked^Patient", "P-4711", "DX"
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = rows, columns, 1
    dataset.PhotometricInterpretation, dataset.PixelRepresentation = "MONOCHROME2", 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelData = np.random.default_rng(1).integers(0, 4096, (rows, columns), dtype=np.uint16).tobytes()
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(path, enforce_file_format=True)
    return path


def data_set_bytes(part10: bytes) -> bytes:
    """What follows preamble and file meta."""
    return read_part10(part10).data


def run(*command: str | Path, seconds: float = 60.0) -> subprocess.CompletedProcess[str]:
    """A tool of dcmtk, to its end; its text is stdout and stderr together."""
    return subprocess.run(
        [str(word) for word in command],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=seconds, env=ENVIRONMENT, check=False,
    )  # fmt: skip


def dcmsend(scp: StoreScp, *files: Path, aec: str = "HILUM") -> subprocess.CompletedProcess[str]:
    return run("dcmsend", "-v", "-aec", aec, "127.0.0.1", str(scp.port), *files)


@dataclass(frozen=True)
class StoreScpPeer:
    """A running dcmtk storescp."""

    port: int
    directory: Path
    process: subprocess.Popen[bytes]

    def files(self) -> list[Path]:
        return sorted(p for p in self.directory.iterdir() if p.is_file())


@contextlib.contextmanager
def storescp(
    directory: Path, *options: str, port: int | None = None, under: Sequence[str] = ()
) -> Iterator[StoreScpPeer]:
    """dcmtk's storescp as PACS on a free port, writing to `directory`; `under` is a command that starts it."""
    port = port or free_port()
    directory.mkdir(exist_ok=True)
    process = subprocess.Popen(
        [*under, "storescp", "-aet", "PACS", "-od", str(directory), *options, str(port)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=ENVIRONMENT,
    )  # fmt: skip
    try:
        wait_for(lambda: answers(port), what="storescp")
        yield StoreScpPeer(port, directory, process)
    finally:
        process.terminate()
        process.wait(10)


def answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


@dataclass(frozen=True)
class Orthanc:
    """A running Orthanc with its REST interface."""

    port: int
    http: int

    def get(self, path: str, body: object = None, data: bytes | None = None) -> Any:
        payload = data if data is not None else None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.http}{path}", data=payload)
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.loads(response.read() or b"null")


@contextlib.contextmanager
def orthanc(directory: Path, hilum_port: int, ports: tuple[int, int] | None = None, **more: Any) -> Iterator[Orthanc]:
    """Orthanc as ORTHANC on free ports, knowing us as HILUM at `hilum_port`; `more` goes into its configuration.

    `ports` are those of DICOM and HTTP, where they must be known before.
    """
    directory.mkdir(exist_ok=True)
    peer = Orthanc(*(ports or (free_port(), free_port())))
    configuration = {
        "StorageDirectory": str(directory), "IndexDirectory": str(directory), "Plugins": [],
        "HttpPort": peer.http, "RemoteAccessAllowed": False, "AuthenticationEnabled": False,
        "DicomAet": "ORTHANC", "DicomPort": peer.port, "DicomCheckCalledAet": True, "UnknownSopClassAccepted": True,
        "DicomModalities": {
            "hilum": {"AET": "HILUM", "Host": "127.0.0.1", "Port": hilum_port, "AllowStorageCommitment": True}
        },
        **more,
    }  # fmt: skip
    with running_orthanc(directory, peer, configuration):
        yield peer


@contextlib.contextmanager
def running_orthanc(directory: Path, peer: Orthanc, configuration: dict[str, Any]) -> Iterator[Orthanc]:
    """Orthanc with this configuration, which names the ports of `peer`; it logs to `directory`."""
    file = directory / "orthanc.json"
    file.write_text(json.dumps(configuration))
    program = shutil.which("Orthanc", path=ENVIRONMENT["PATH"]) or "Orthanc"
    with (directory / "log").open("w") as log:
        process = subprocess.Popen([program, str(file)], stdout=log, stderr=log)
    try:
        wait_for(lambda: answers(peer.http) and answers(peer.port), 60, "Orthanc")
        yield peer
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:  # it waits for its associations to end, and for a patient to be recycled
            process.kill()
            process.wait(20)


def small_limits(**values: Any) -> Limits:
    """Limits that a test can wait for."""
    return replace(Limits(association_seconds=1.0, idle_seconds=2.0, message_seconds=3.0), **values)
