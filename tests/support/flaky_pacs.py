"""A PACS as it is on its bad days: does with each object what its script says, and remembers what it answered for."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE, evt

from tests.support.peers import RESULT_SOP_CLASSES, free_port

STATUSES = {"accept": 0x0000, "slow": 0x0000, "warn": 0xB000, "busy": 0xA700, "refuse": 0xC000}
BEHAVIOURS = (*STATUSES, "drop", "abort", "nonsense")
"""Answers by status; `slow` after a while; `drop` cuts the connection in mid-object, `abort` after the object,
`nonsense` answers with bytes that are no PDU."""


@dataclass(frozen=True)
class Taken:
    """An object that was answered with Success or a warning."""

    sop_instance_uid: str
    sha256: str
    at: float


class FlakyPacs:
    """An SCP on one port that can be started and stopped; `script` names the behaviour for the object of that number,
    counted from 0 over all starts."""

    def __init__(self, script: Callable[[int], str] = lambda number: "accept", slow_seconds: float = 1.0):
        logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)
        self.script, self.slow_seconds = script, slow_seconds
        self.port = free_port()
        self.taken: list[Taken] = []
        self.tried: list[str] = []  # the behaviour that each object met
        self._lock = threading.Lock()
        self._data_pdus = 0
        self._server: Any = None

    def start(self) -> "FlakyPacs":
        """Listen."""
        ae = AE("PACS")
        ae.maximum_pdu_size = 4096  # so that a report comes in several PDUs and can be cut between them
        for sop_class in RESULT_SOP_CLASSES:
            ae.add_supported_context(sop_class, ExplicitVRLittleEndian)
        ae.add_supported_context("1.2.840.10008.1.1")
        handlers = [(evt.EVT_C_STORE, self._on_c_store), (evt.EVT_DATA_RECV, self._on_data),
                    (evt.EVT_REQUESTED, self._on_requested)]  # fmt: skip
        self._server = ae.start_server(("127.0.0.1", self.port), block=False, evt_handlers=handlers)
        return self

    def stop(self) -> None:
        """Go away; open associations are aborted."""
        if self._server is not None:
            for association in self._server.active_associations:
                association.abort()
            self._server.shutdown()
            self._server = None

    def __enter__(self) -> "FlakyPacs":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def reports(self) -> dict[str, set[str]]:
        """SOP Instance UIDs that were taken, with the digests of the bytes under each."""
        found: dict[str, set[str]] = {}
        for taken in list(self.taken):
            found.setdefault(taken.sop_instance_uid, set()).add(taken.sha256)
        return found

    def _behaviour(self) -> str:
        return self.script(len(self.tried))

    def _on_requested(self, event: evt.Event) -> None:
        self._data_pdus = 0

    def _on_data(self, event: evt.Event) -> None:
        """The second P-DATA-TF of an object is the first of its data set."""
        self._data_pdus += event.data[:1] == b"\x04"
        if self._data_pdus == 2 and self._behaviour() == "drop":
            self.tried.append("drop")
            event.assoc.dul.socket.close()

    def _on_c_store(self, event: evt.Event) -> int:
        self._data_pdus = 0
        with self._lock:
            behaviour = self._behaviour()
            self.tried.append(behaviour)
        if behaviour in ("abort", "drop"):
            event.assoc.abort()
            return 0x0110
        if behaviour == "nonsense":
            event.assoc.dul.socket.send(b"\x2a\0HTTP/1.1 500 nonsense" * 4)
            return 0x0110
        if behaviour == "slow":
            time.sleep(self.slow_seconds)
        status = STATUSES[behaviour]
        if status in (0x0000, 0xB000):
            digest = sha256(event.encoded_dataset(include_meta=False)).hexdigest()
            self.taken.append(Taken(event.request.AffectedSOPInstanceUID, digest, time.monotonic()))
        return status
