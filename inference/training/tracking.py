"""Recording training runs in MLflow, or nowhere, and finding the bundles of recorded runs again.

The extra `train` installs MLflow. Its store is the file `mlruns.db` in the working directory, with artifacts in
`mlruns`, unless MLFLOW_TRACKING_URI names another store.
"""

import importlib.util
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from inference.bundle import Bundle, digest
from inference.errors import BundleNotFound, DigestMismatch, EngineError

CONNECT_SECONDS = 5.0
DESCRIPTION = (
    "Bundles that `hilum train` wrote. Each version's artifact `bundle` is the folder, docs/README.md its card."
)
REGISTERED = re.compile(r"models:/([^/@]+)(?:/(\d+)|@([^/]+))")


class Tracker(Protocol):
    """Records one training run. It is a context manager, entered before the run and left after it."""

    def __enter__(self) -> "Tracker": ...
    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None: ...  # fmt: skip
    def parameters(self, values: dict[str, Any]) -> None: ...
    def epoch(self, number: int, values: dict[str, float]) -> None: ...
    def bundle(self, bundle: Bundle) -> None: ...


class _Nowhere:
    """Records nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...
    def parameters(self, values: dict[str, Any]) -> None: ...
    def epoch(self, number: int, values: dict[str, float]) -> None: ...
    def bundle(self, bundle: Bundle) -> None: ...


def no_tracker() -> Tracker:
    """Return a tracker that records nothing."""
    return _Nowhere()


def _ensure_reachable(uri: str) -> None:
    """Raise EngineError if `uri` is that of a server which accepts no connection.

    MLflow itself would try again for minutes. During a run that is right, but not before it.
    """
    parts = urlsplit(uri)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return
    if getproxies().get(parts.scheme) and not proxy_bypass(parts.hostname):
        return  # the server is reached by way of the proxy alone
    try:
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
        socket.create_connection((parts.hostname, port), CONNECT_SECONDS).close()
    except (OSError, ValueError) as error:
        raise EngineError(f"MLflow's server {uri} cannot be reached: {error}; start it, name another store with "
                          "--tracking-uri or MLFLOW_TRACKING_URI, or train with --no-track") from error  # fmt: skip


@contextmanager
def _answering(mlflow: Any) -> Iterator[None]:
    """Turn an error that MLflow raises about its store into an EngineError."""
    try:
        yield
    except mlflow.MlflowException as error:
        raise EngineError(f"MLflow's store {mlflow.get_tracking_uri()} cannot be used: {error}") from error


def open_mlflow(uri: str = "") -> Any:
    """Return the module mlflow with its store set.

    Raises EngineError if MLflow is not installed, or if its server accepts no connection.
    """
    if importlib.util.find_spec("mlflow") is None:
        raise EngineError("MLflow is not installed: pip install 'hilum[train]'; to train without it: --no-track")
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # so that a folder can be the store
    _ensure_reachable(uri or os.environ.get("MLFLOW_TRACKING_URI", ""))
    import mlflow

    mlflow.set_tracking_uri(uri or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{Path.cwd() / 'mlruns.db'}")
    return mlflow


class MlflowTracker:
    """Records the parameters, the metrics of each epoch, and the bundle as an artifact and a registered model version.

    "seconds" is how long the run took, from its first start to its end. `name` is the run's name. `note` is a file that
    holds the run's ID until the run is finished, so that a training that is resumed after a kill continues the same
    run. Raises EngineError if MLflow is not installed or its store cannot be used.
    """

    def __init__(
        self,
        experiment: str = "hilum",
        uri: str = "",
        model: str = "hilum",
        note: Path | None = None,
        name: str = "",
    ) -> None:
        self.mlflow, self.model, self.note, self.name = open_mlflow(uri), model, note, name
        with _answering(self.mlflow):
            self.mlflow.set_experiment(experiment)

    def __enter__(self) -> Self:
        with _answering(self.mlflow):
            self.run = self.mlflow.start_run(run_id=self._begun(), run_name=self.name or None)
            self.mlflow.set_tag("hilum", version("hilum"))
        if self.note:
            self.note.parent.mkdir(parents=True, exist_ok=True)
            self.note.write_text(self.run.info.run_id)
        return self

    def _begun(self) -> str | None:
        """Return the ID of the run that the note names, if this store has it; else None."""
        with suppress(OSError, self.mlflow.MlflowException):
            if self.note:
                return str(self.mlflow.MlflowClient().get_run(self.note.read_text().strip()).info.run_id)
        return None

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.mlflow.end_run("FAILED" if kind else "FINISHED")
        if not kind:
            client = self.mlflow.MlflowClient()
            ended = client.get_run(self.run.info.run_id).info
            client.log_metric(ended.run_id, "seconds", (ended.end_time - ended.start_time) / 1000)
        if self.note and not kind:
            self.note.unlink(missing_ok=True)

    def parameters(self, values: dict[str, Any]) -> None:
        with _answering(self.mlflow):
            known = self.mlflow.MlflowClient().get_run(self.run.info.run_id).data.params
            self.mlflow.log_params({name: str(v)[:500] for name, v in values.items() if name not in known})

    def epoch(self, number: int, values: dict[str, float]) -> None:
        with _answering(self.mlflow):
            self.mlflow.log_metrics({name: v for name, v in values.items() if v == v}, step=number)

    def bundle(self, bundle: Bundle) -> None:
        with _answering(self.mlflow):
            self.mlflow.log_artifacts(str(bundle.directory), "bundle")
            self.mlflow.set_tag("digest", bundle.digest)
            self._register(bundle)

    def _register(self, bundle: Bundle) -> None:
        client = self.mlflow.MlflowClient()
        if self.model not in {m.name for m in client.search_registered_models(f"name='{self.model}'")}:
            client.create_registered_model(self.model, description=DESCRIPTION)
        client.create_model_version(self.model, f"{self.run.info.artifact_uri}/bundle", self.run.info.run_id,
                                    tags={"digest": bundle.digest})  # fmt: skip


def is_registered(name: str) -> bool:
    """Whether this is an address in MLflow's registry, such as models:/NAME/VERSION or models:/NAME@ALIAS."""
    return name.startswith("models:/")


def fetch_registered(name: str, directory: Path, uri: str = "") -> Path:
    """Copy the bundle of models:/NAME/VERSION or models:/NAME@ALIAS into `directory`, and return its folder there.

    Raises BundleNotFound (there is no such version, or its bundle cannot be read), EngineError (MLflow is not
    installed), DigestMismatch (the bundle is not the one that was registered).
    """
    mlflow = open_mlflow(uri)
    match = REGISTERED.fullmatch(name)
    if not match:
        raise BundleNotFound(f"{name} is not a model version, expected models:/NAME/VERSION or models:/NAME@ALIAS")
    client = mlflow.MlflowClient()
    try:
        found = client.get_model_version_by_alias(match[1], match[3]) if match[3] else \
            client.get_model_version(match[1], match[2])  # fmt: skip
        copied = Path(mlflow.artifacts.download_artifacts(artifact_uri=found.source, dst_path=str(directory)))
    except (mlflow.MlflowException, OSError) as error:
        raise BundleNotFound(f"{name} cannot be read from {mlflow.get_tracking_uri()}: {error}") from error
    registered = found.tags.get("digest")
    if registered and registered != digest(copied):
        raise DigestMismatch(f"{name} was registered with {registered}, but the store holds {digest(copied)}")
    return copied


def registered_models(uri: str = "") -> list[dict[str, Any]]:
    """Return address, aliases, digest and run of every model version that a `MlflowTracker` registered.

    Raises EngineError.
    """
    mlflow = open_mlflow(uri)
    with _answering(mlflow):
        client = mlflow.MlflowClient()
        versions = [v for v in client.search_model_versions() if "digest" in v.tags]
        aliases = {name: client.get_registered_model(name).aliases for name in {v.name for v in versions}}
    return [
        {
            "model": f"models:/{v.name}/{v.version}",
            "aliases": sorted(alias for alias, of in aliases[v.name].items() if str(of) == str(v.version)),
            "digest": v.tags["digest"],
            "run": v.run_id,
        }
        for v in versions
    ]
