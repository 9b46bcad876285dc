"""Opens what the parts and commands work with: each function makes one object from the settings.

`dicom_io` and `inference` are imported inside the functions, because the audit commands need neither.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from config.models import DEFAULT_NAME, ModelSettings
from config.sections import DestinationSettings, PeerSettings
from config.settings import Offer, Settings, load
from daemon import outputs
from daemon.analysis.triage import check_findings_of_alerts
from daemon.channel import Channel, Hooks
from daemon.decisions import CannotWork
from daemon.delivery.destinations import TYPES
from daemon.runtime.certificates import client_tls, server_tls
from daemon.runtime.shared import FaultHook
from storage import store
from storage.errors import DatabaseError, DatabaseUnavailable, SpoolError
from storage.private import make_directory
from storage.spool import Spool, no_fault

if TYPE_CHECKING:
    from daemon.analysis.models import Models
    from dicom_io.network.admission import Peer
    from dicom_io.services.store_scp import Callbacks, StoreScp
    from dicom_io.services.store_scu import Sender
    from inference.bundle import Bundle
    from inference.serving.segmenter import Model
    from inference.serving.site_calibration import SiteCalibration


def read_settings(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """Read the TOML file at `path` (None: the defaults alone), and the variables of `environ` that override it.

    Raises ConfigurationError with a line for each fault.
    """
    types = {name: kind.settings for name, kind in TYPES.items()}
    return load(path, environ, Offer(tuple(outputs.MODULES), outputs.languages(), types))


def open_spool(settings: Settings, fault: FaultHook = no_fault) -> Spool:
    """Open the spool in `storage.directory`. Raises CannotWork if it cannot be made or written."""
    try:
        return Spool(settings.storage.directory / "spool", fault)
    except (OSError, SpoolError) as error:
        raise CannotWork(f"storage.directory {settings.storage.directory}: {error}") from error


def open_store(settings: Settings, fault: FaultHook = no_fault) -> store.Store:
    """Open the database and migrate it to the schema of this version.

    Raises CannotWork if its URL cannot be used, DatabaseUnavailable if it cannot be reached now.
    """
    try:
        make_directory(settings.storage.directory)
        return store.open_store(settings.storage.database_url(), settings.storage.directory, fault)
    except OSError as error:
        raise CannotWork(f"storage.directory {settings.storage.directory}: {error}") from error
    except DatabaseUnavailable:
        raise
    except DatabaseError as error:
        raise CannotWork(f"storage.database: {error}") from error


def open_scp(settings: Settings, callbacks: Callbacks, incoming: Path) -> StoreScp:
    """Our SCP, which writes what it receives to `incoming`. Raises CannotWork where the address cannot be used."""
    from dicom_io.image.compression.codecs import readable_transfer_syntaxes
    from dicom_io.network.admission import Admission, Limits
    from dicom_io.radiographs import RADIOGRAPH_SOP_CLASSES
    from dicom_io.services.store_scp import start_scp

    dicom = settings.dicom
    limits = Limits(
        max_associations=dicom.max_associations,
        max_associations_per_peer=dicom.max_associations_per_peer,
        max_pdu=dicom.max_pdu_bytes,
        max_object_bytes=dicom.max_object_bytes,
        association_seconds=dicom.association_timeout_seconds,
        dimse_seconds=dicom.dimse_timeout_seconds,
        idle_seconds=dicom.idle_timeout_seconds,
        message_seconds=dicom.message_timeout_seconds,
    )
    admission = Admission(dicom.ae_title, listed_peers(settings), limits, dicom.accept_any_peer)
    try:
        return start_scp(
            dicom.ae_title, dicom.host, dicom.port, admission, limits, readable_transfer_syntaxes(), callbacks,
            RADIOGRAPH_SOP_CLASSES, incoming, tls=server_tls(settings), digest=True,
        )  # fmt: skip
    except OSError as error:
        raise CannotWork(f"cannot listen on {dicom.host}:{dicom.port}: {error.strerror}") from error


def listed_peers(settings: Settings) -> list[Peer]:
    """Return the peers that may send to us."""
    from dicom_io.network.admission import Peer

    return [Peer(peer.ae_title, peer.host, peer.certificate) for peer in settings.peer]


def open_channel(settings: Settings, destination: DestinationSettings, hooks: Hooks | None = None) -> Channel:
    """Return the channel to a destination; it connects on first use. Raises CannotWork if its files cannot be used."""
    return TYPES[destination.type].open(settings, destination, hooks or Hooks())


def open_peer(settings: Settings, peer: PeerSettings, address: str) -> Sender:
    """Return a sender to a peer that asked for storage commitment. It uses TLS if peers connect to us over TLS.

    The peer's certificate must then name its host, or its address if it is not listed by host name.
    """
    from dicom_io.network.admission import is_network
    from dicom_io.services.store_scu import Destination, Sender

    tls = client_tls(settings) if settings.tls.enabled else None
    to = Destination(peer.ae_title, address, peer.port, tls, tls_name="" if is_network(peer.host) else peer.host)
    return Sender(settings.dicom.ae_title, to, settings.delivery.timeout_seconds)


def cache_directory(settings: Settings) -> Path:
    """Return the folder for compiled networks, whether it exists or not."""
    return settings.storage.directory / "cache"


def _cache(settings: Settings) -> Path | None:
    """Return the folder for the compiled network, or None if this user cannot write to it."""
    if not os.access(settings.storage.directory, os.W_OK):
        return None
    directory = cache_directory(settings)
    make_directory(directory)
    return directory


def open_models(settings: Settings) -> Models:
    """Load every model and check it against its golden input.

    Raises CannotWork as `open_classifier` does, and for an alert on a finding on which no model makes a call.
    """
    from daemon.analysis.models import Models

    models = Models(settings.model, partial(open_classifier, settings), settings.analysis.models_in_memory)
    check_findings_of_alerts(settings.alert, models.load_all())
    return models


def open_classifier(settings: Settings, model: ModelSettings | None = None) -> Model:
    """Load a model, by default the first one in use, and check it against its golden input.

    Raises CannotWork if the bundle or the site's calibration is missing, has another digest than the pinned one, or
    does not load, and if the bundle does not give the golden results.
    """
    from dicom_io.composite.codes import UnknownFinding, add_findings, check_findings
    from dicom_io.composite.structures import check_structures
    from inference.errors import InferenceError
    from inference.serving.segmenter import open_model

    model = model or settings.model_in_use()
    bundle = open_bundle(model)
    site = _site_calibration(model, bundle)
    try:
        classifier = open_model(bundle, model.engine, model.device, model.threads, cache=_cache(settings), site=site)
        classifier.self_check()
        if model.findings:
            add_findings(Path(model.findings))
        if bundle.task == "segmentation":
            check_structures(bundle.labels)
        else:
            check_findings(bundle.labels)
    except (InferenceError, UnknownFinding) as error:
        raise CannotWork(f"{_key(model)}.bundle: {error}") from error
    return classifier


def open_bundle(model: ModelSettings) -> Bundle:
    """Read a model's bundle, without its weights. Raises CannotWork as `open_classifier` does."""
    from inference.bundle import DEFAULT, load_bundle
    from inference.errors import InferenceError

    try:
        bundle = load_bundle(Path(model.bundle) if model.bundle else DEFAULT, model.digest or None)
    except InferenceError as error:
        raise CannotWork(f"{_key(model)}.bundle: {error}") from error
    if not bundle.pinned:
        raise CannotWork(f"{_key(model)}.digest is empty; to let {bundle.directory} run, set it to {bundle.digest}")
    return bundle


def _key(model: ModelSettings) -> str:
    """Return how a fault names a model's table: [model], or with the name that it has among several."""
    return "model" if model.name == DEFAULT_NAME else f"model {model.name}"


def _site_calibration(model: ModelSettings, bundle: Bundle) -> SiteCalibration | None:
    """Read the site's own calibration, if there is one. Raises CannotWork if it cannot be used with this bundle."""
    from inference.errors import InferenceError
    from inference.serving.site_calibration import load_site_calibration

    if not model.site_calibration:
        return None
    try:
        return load_site_calibration(Path(model.site_calibration), model.site_digest, bundle)
    except InferenceError as error:
        raise CannotWork(f"{_key(model)}.site_calibration: {error}") from error
