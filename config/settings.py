"""Settings: one TOML file, each key overridable by the environment, read once and handed over as an argument.

`load(path, environ)` is the only reader. A key that is unknown or has a wrong value is refused with its name. Every
key stands with its default and unit in `config/example.toml`; a test keeps the two together.
"""

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError, model_validator

from config.sections import (
    AuditSettings,
    DeliverySettings,
    DestinationSettings,
    DicomSettings,
    HttpSettings,
    LogSettings,
    ModelSettings,
    PeerSettings,
    Section,
    SelectSettings,
    StorageSettings,
    StudySettings,
    TlsSettings,
)

PREFIX = "HILUM__"


class ConfigurationError(Exception):
    """The configuration cannot be used; the text has one line for each fault, with the key's name."""


class Settings(Section):
    """Everything that can be configured."""

    dicom: DicomSettings = DicomSettings()
    tls: TlsSettings = TlsSettings()
    peer: tuple[PeerSettings, ...] = ()
    destination: tuple[DestinationSettings, ...] = ()
    storage: StorageSettings = StorageSettings()
    study: StudySettings = StudySettings()
    select: SelectSettings = SelectSettings()
    model: ModelSettings = ModelSettings()
    delivery: DeliverySettings = DeliverySettings()
    audit: AuditSettings = AuditSettings()
    http: HttpSettings = HttpSettings()
    log: LogSettings = LogSettings()

    @model_validator(mode="after")
    def distinct_destinations(self) -> "Settings":
        names = [d.name for d in self.destination]
        if len(set(names)) != len(names):
            raise ValueError(f"destination.name must be unique, found {names}")
        if any(d.tls for d in self.destination) and not self.tls.enabled:
            raise ValueError("a destination has tls = true, which needs [tls] certificate, key and ca")
        return self

    @model_validator(mode="after")
    def audit_over_tls(self) -> "Settings":
        audit = self.audit
        if audit.syslog and audit.transport == "tls" and not (audit.certificate or self.tls.enabled):
            raise ValueError("audit.transport is tls, which needs certificate, key and ca in [audit] or [tls]")
        return self


def load(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """The settings of the TOML file at `path` (None: defaults), overridden by `HILUM__SECTION__KEY` in `environ`.

    A value from the environment is read as JSON where it is JSON (numbers, true, lists), else as a string.
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
        return Settings.model_validate(data)
    except ValidationError as error:
        raise ConfigurationError("\n".join(_sentence(path, fault) for fault in error.errors())) from error


def _override(data: dict[str, Any], keys: list[str], text: str) -> None:
    for key in keys[:-1]:
        data = data.setdefault(key, {})
    try:
        data[keys[-1]] = json.loads(text)
    except json.JSONDecodeError:
        data[keys[-1]] = text


def _sentence(path: Path | None, fault: Any) -> str:
    key = ".".join(str(part) for part in fault["loc"]) or "the file"
    if fault["type"] == "extra_forbidden":
        return f"{path or 'environment'}: {key}: no such key; config/example.toml lists them all"
    found = f", found {fault['input']!r}" if isinstance(fault["input"], str | int | float | bool) else ""
    return f"{path or 'environment'}: {key}: {fault['msg']}{found}"
