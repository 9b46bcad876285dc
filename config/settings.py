"""Settings: one TOML file, each key overridable by the environment, read once and handed over as an argument.

`load(path, environ)` is the only reader. A key that is unknown or has a wrong value is refused with its name. Every
key stands with its default and unit in `config/example.toml`; a test keeps the two together.
"""

import json
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    SerializeAsAny,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

from config.alerting import AlertSettings, Notifier
from config.models import AnalysisSettings, ModelSettings, several_models
from config.sections import (
    AuditSettings,
    DeliverySettings,
    DestinationSettings,
    DicomSettings,
    HttpSettings,
    LogSettings,
    PeerSettings,
    Section,
    SelectSettings,
    StorageSettings,
    StudySettings,
    TlsSettings,
)

PREFIX = "HILUM__"


class ConfigurationError(Exception):
    """The configuration cannot be used; the text has one line for each fault, with the key's name.

    `keys` are the names alone, as the text may quote a value.
    """

    def __init__(self, text: str, keys: Collection[str] = ()):
        super().__init__(text)
        self.keys = tuple(keys)


@dataclass(frozen=True)
class Offer:
    """What the program can make and where it can send it. A configuration may name these and nothing else."""

    outputs: Collection[str] = ()
    languages: Collection[str] = ("en-US",)
    destination_types: Mapping[str, type[DestinationSettings]] = field(default_factory=dict)
    """The settings of each type of destination, by the value of `type`."""


DEFAULT_DESTINATION_TYPE = "dicom"


def _of_its_type(item: Any, handler: ValidatorFunctionWrapHandler, info: ValidationInfo) -> DestinationSettings:
    """A [[destination]] table as the settings of the type that it names. Raises ValueError for what is not offered."""
    offer: Offer = info.context or Offer()
    if not isinstance(item, dict):
        return handler(item)  # type: ignore[no-any-return]
    kind = item.get("type", DEFAULT_DESTINATION_TYPE)
    if kind not in offer.destination_types:
        raise ValueError(f"type is {kind!r}, expected {_listed(offer.destination_types)}")
    destination = offer.destination_types[kind].model_validate({**item, "type": kind})
    unknown = [name for name in destination.outputs if name not in offer.outputs]
    if unknown:
        raise ValueError(f"outputs names {unknown[0]!r}, expected some of {_listed(offer.outputs)}")
    if destination.language not in offer.languages:
        raise ValueError(f"language is {destination.language!r}, expected {_listed(offer.languages)}")
    return destination


def _listed(names: Collection[str]) -> str:
    return ", ".join(map(repr, names)) or "nothing: this program offers none"


class Settings(Section):
    """Everything that can be configured."""

    dicom: DicomSettings = DicomSettings()
    tls: TlsSettings = TlsSettings()
    peer: tuple[PeerSettings, ...] = ()
    destination: tuple[Annotated[SerializeAsAny[DestinationSettings], WrapValidator(_of_its_type)], ...] = ()
    alert: tuple[AlertSettings, ...] = ()
    notifier: tuple[Notifier, ...] = ()
    storage: StorageSettings = StorageSettings()
    study: StudySettings = StudySettings()
    select: SelectSettings = SelectSettings()
    model: tuple[ModelSettings, ...] = (ModelSettings(),)
    analysis: AnalysisSettings = AnalysisSettings()
    delivery: DeliverySettings = DeliverySettings()
    audit: AuditSettings = AuditSettings()
    http: HttpSettings = HttpSettings()
    log: LogSettings = LogSettings()

    @model_validator(mode="before")
    @classmethod
    def one_model_or_several(cls, data: Any) -> Any:
        """Let [model] be written as one table, as it was before there were several."""
        return several_models(data)

    def model_in_use(self) -> ModelSettings:
        """Return the first model that is not on trial by the configuration."""
        return next(model for model in self.model if not model.shadow)

    def model_named(self, name: str) -> ModelSettings:
        """Return the model of this name, which must be there."""
        return next(model for model in self.model if model.name == name)

    def selection(self, model: ModelSettings) -> SelectSettings:
        """What a model analyses: its own [model.select], and [select] for the keys that this does not give."""
        return self.select.model_copy(update={key: getattr(model.select, key) for key in model.select.model_fields_set})

    @model_validator(mode="after")
    def models_that_can_work(self) -> "Settings":
        """Refuse models of one name, none in use, and destinations and peers that there are not."""
        names = [model.name for model in self.model]
        if len(set(names)) != len(names):
            raise ValueError(f"model.name must be unique, found {names}")
        if all(model.shadow for model in self.model):
            raise ValueError("every model has shadow = true; expected one at least whose results are sent")
        destinations, peers = [d.name for d in self.destination], [p.ae_title for p in self.peer]
        for model in self.model:
            for name in set(model.destinations) - set(destinations):
                raise ValueError(
                    f"model {model.name}: destinations names {name!r}, expected some of {_listed(destinations)}"
                )
            unknown = {name.upper() for name in model.peers} - {peer.upper() for peer in peers}
            if unknown and not self.dicom.accept_any_peer:
                raise ValueError(f"model {model.name}: peers names {min(unknown)!r}, expected some of {_listed(peers)}")
        return self

    @model_validator(mode="after")
    def distinct_destinations(self) -> "Settings":
        names = [d.name for d in self.destination]
        if len(set(names)) != len(names):
            raise ValueError(f"destination.name must be unique, found {names}")
        if any(d.needs_tls_files for d in self.destination) and not self.tls.enabled:
            raise ValueError("a destination has tls = true, which needs [tls] certificate, key and ca")
        return self

    @model_validator(mode="after")
    def alerts_tell_notifiers(self) -> "Settings":
        """Refuse an alert that names a notifier or a peer that there is not."""
        for section, tables in (("alert", self.alert), ("notifier", self.notifier)):
            names = [table.name for table in tables]
            if len(set(names)) != len(names):
                raise ValueError(f"{section}.name must be unique, found {names}")
        notifiers, peers = [n.name for n in self.notifier], [p.ae_title for p in self.peer]
        for alert in self.alert:
            for name in set(alert.notify) - set(notifiers):
                raise ValueError(f"alert {alert.name}: notify names {name!r}, expected some of {_listed(notifiers)}")
            unknown = {name.upper() for name in alert.peers} - {peer.upper() for peer in peers}
            if unknown and not self.dicom.accept_any_peer:
                raise ValueError(f"alert {alert.name}: peers names {min(unknown)!r}, expected some of {_listed(peers)}")
        return self

    @model_validator(mode="after")
    def certificates_over_tls(self) -> "Settings":
        if any(peer.certificate for peer in self.peer) and not self.tls.enabled:
            raise ValueError("a peer has a certificate, which needs [tls] certificate, key and ca")
        return self

    @model_validator(mode="after")
    def audit_over_tls(self) -> "Settings":
        audit = self.audit
        if audit.syslog and audit.transport == "tls" and not (audit.certificate or self.tls.enabled):
            raise ValueError("audit.transport is tls, which needs certificate, key and ca in [audit] or [tls]")
        return self


def load(path: Path | None, environ: Mapping[str, str], offer: Offer = Offer()) -> Settings:
    """The settings of the TOML file at `path` (None: defaults), overridden by `HILUM__SECTION__KEY` in `environ`.

    A value from the environment is read as JSON where it is JSON (numbers, true, lists), else as a string. `offer` says
    which types of destination and which kinds of result object there are; `daemon.wiring.read_settings` hands them in.
    Raises ConfigurationError with a line for each fault.
    """
    try:
        data: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8")) if path else {}
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: is no TOML: {error}") from error
    for name, text in environ.items():
        if name.startswith(PREFIX):
            _override(data, name.removeprefix(PREFIX).lower().split("__"), text)
    try:
        return Settings.model_validate(data, context=offer)
    except ValidationError as error:
        faults = error.errors()
        text = "\n".join(_sentence(path, fault) for fault in faults)
        raise ConfigurationError(text, sorted({_key(fault) for fault in faults})) from error


def _override(data: dict[str, Any], keys: list[str], text: str) -> None:
    for key in keys[:-1]:
        data = data.setdefault(key, {})
    try:
        data[keys[-1]] = json.loads(text)
    except json.JSONDecodeError:
        data[keys[-1]] = text


def _key(fault: Any) -> str:
    return ".".join(str(part) for part in fault["loc"]) or "the file"


def _sentence(path: Path | None, fault: Any) -> str:
    key = _key(fault)
    if fault["type"] == "extra_forbidden":
        return f"{path or 'environment'}: {key}: no such key; config/example.toml lists them all"
    found = f", found {fault['input']!r}" if isinstance(fault["input"], str | int | float | bool) else ""
    return f"{path or 'environment'}: {key}: {fault['msg']}{found}"
