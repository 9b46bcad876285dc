"""The tables of the models: [[model]] says what a bundle is for, [analysis] what all of them run under."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from config.sections import Seconds, Section, SelectSettings

DEFAULT_NAME = "model"
Name = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.-]+$")]


class ModelSettings(Section):
    """A bundle, what it runs on, and which images it is for. What is empty restricts nothing."""

    name: Name = DEFAULT_NAME
    bundle: str = ""
    digest: str = ""
    site_calibration: str = ""
    site_digest: str = ""
    findings: str = ""
    engine: Literal["auto", "openvino", "torch"] = "auto"
    device: str = "auto"
    threads: int = Field(1, ge=0)
    shadow: bool = False
    destinations: tuple[str, ...] = ()
    peers: tuple[str, ...] = ()
    sop_classes: tuple[str, ...] = ()
    views: tuple[Literal["PA", "AP"], ...] = ()
    maximum_age_years: float = Field(0.0, ge=0)
    select: SelectSettings = SelectSettings()

    @model_validator(mode="after")
    def sends_nothing_on_trial(self) -> Self:
        """Refuse destinations of a model on trial: nothing of what it says leaves hilum."""
        if self.shadow and self.destinations:
            raise ValueError(f"model {self.name}: shadow = true sends nothing, so that destinations must be empty")
        return self


class AnalysisSettings(Section):
    """What an analysing process may take, whichever models it runs."""

    batch: int = Field(8, ge=1)
    workers: int = Field(1, ge=1)
    models_in_memory: int = Field(8, ge=1)
    time_limit_seconds: Seconds = 60.0
    memory_limit_bytes: int = Field(6_000_000_000, ge=0)


def several_models(data: Any) -> Any:
    """Return the configuration with [model], where that is one table, as the only one of [[model]].

    Its keys `batch`, `workers`, `time_limit_seconds` and `memory_limit_bytes`, which are of [analysis] today, were of
    [model] when there was one model only.
    """
    if not isinstance(data, dict) or not isinstance(data.get("model"), dict):
        return data
    own = {key: value for key, value in data["model"].items() if key not in AnalysisSettings.model_fields}
    moved = {key: value for key, value in data["model"].items() if key in AnalysisSettings.model_fields}
    return {**data, "model": [own], "analysis": {**moved, **data.get("analysis", {})}}
