"""Where a training run is noted down: nowhere, or with MLflow.

MLflow comes with the extra `train`. Its store is the file `mlruns.db` in the working directory, unless
MLFLOW_TRACKING_URI names another.
"""

import importlib.util
import os
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from inference.bundle import Bundle
from inference.errors import EngineError


class Tracker(Protocol):
    """Entered before the run, left after it."""

    def __enter__(self) -> "Tracker": ...
    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None: ...  # fmt: skip
    def parameters(self, values: dict[str, Any]) -> None: ...
    def epoch(self, number: int, values: dict[str, float]) -> None: ...
    def bundle(self, bundle: Bundle) -> None: ...


class _Nowhere:
    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...
    def parameters(self, values: dict[str, Any]) -> None: ...
    def epoch(self, number: int, values: dict[str, float]) -> None: ...
    def bundle(self, bundle: Bundle) -> None: ...


def no_tracker() -> Tracker:
    """A run that leaves no trace but its bundle."""
    return _Nowhere()


class MlflowTracker:
    """Parameters, metrics of each epoch, and the bundle as an artifact and a registered model version.

    Raises EngineError where MLflow is not installed.
    """

    def __init__(self, experiment: str = "hilum", uri: str = "", model: str = "hilum") -> None:
        if importlib.util.find_spec("mlflow") is None:
            raise EngineError("MLflow is not installed: pip install 'hilum[train]', or train without tracking")
        import mlflow

        self.mlflow, self.model = mlflow, model
        uri = uri or os.environ.get("MLFLOW_TRACKING_URI", "")
        self.mlflow.set_tracking_uri(uri or f"sqlite:///{Path.cwd() / 'mlruns.db'}")
        self.mlflow.set_experiment(experiment)

    def __enter__(self) -> Self:
        self.run = self.mlflow.start_run()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.mlflow.end_run("FAILED" if kind else "FINISHED")

    def parameters(self, values: dict[str, Any]) -> None:
        self.mlflow.log_params({name: str(value)[:500] for name, value in values.items()})

    def epoch(self, number: int, values: dict[str, float]) -> None:
        self.mlflow.log_metrics({name: v for name, v in values.items() if v == v}, step=number)

    def bundle(self, bundle: Bundle) -> None:
        self.mlflow.log_artifacts(str(bundle.directory), "bundle")
        self.mlflow.set_tag("digest", bundle.digest)
        client = self.mlflow.MlflowClient()
        if self.model not in {m.name for m in client.search_registered_models()}:
            client.create_registered_model(self.model)
        client.create_model_version(self.model, f"{self.run.info.artifact_uri}/bundle", self.run.info.run_id,
                                    tags={"digest": bundle.digest})  # fmt: skip
