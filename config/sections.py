"""One class for each table of the configuration file: its keys, their types, and their defaults."""

import re
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationInfo, field_validator, model_validator

from config.presets import PRESETS, Preset

# PS3.5 6.2: AE is 16 characters at most of the default repertoire, without backslash and control characters
AeTitle = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=16, pattern=r"^[ -\[\]-~]+$")
]
Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(ge=0)]


_HOST_NAME = re.compile(r"[A-Za-z0-9_.-]+")


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DicomSettings(Section):
    """Our application entity and what it lets in."""

    ae_title: AeTitle = "HILUM"
    host: str = "0.0.0.0"
    port: Port = 11112
    accept_any_peer: bool = False
    max_associations: int = Field(50, ge=1)
    max_associations_per_peer: int = Field(25, ge=1)
    max_pdu_bytes: int = Field(1_048_576, ge=4096)
    max_object_bytes: int = Field(500_000_000, ge=1)
    max_pixels: int = Field(120_000_000, ge=1)
    memory_limit_bytes: int = Field(2_000_000_000, ge=0)
    association_timeout_seconds: Seconds = 30.0
    dimse_timeout_seconds: Seconds = 30.0
    idle_timeout_seconds: Seconds = 120.0
    message_timeout_seconds: Annotated[float, Field(gt=0)] = 600.0


class Certified(Section):
    """The files by which we and a peer know each other in TLS."""

    certificate: str = ""
    key: str = ""
    ca: str = ""

    @model_validator(mode="after")
    def complete(self) -> Self:
        given = [bool(self.certificate), bool(self.key), bool(self.ca)]
        if any(given) and not all(given):
            raise ValueError("certificate, key and ca are needed together, or none of them")
        return self


class TlsSettings(Certified):
    """Files for DICOM over TLS (PS3.15 B.12); empty: TLS is off on our side."""

    crl: str = ""

    @model_validator(mode="after")
    def revoked_under_tls(self) -> Self:
        if self.crl and not self.certificate:
            raise ValueError("crl needs certificate, key and ca")
        return self

    @property
    def enabled(self) -> bool:
        return bool(self.certificate)


class AuditSettings(Certified):
    """Where the audit trail is sent, as DICOM audit messages over syslog (PS3.15 A.5 to A.7); empty: nowhere."""

    syslog: str = ""
    port: Port = 6514
    transport: Literal["tls", "tcp", "udp"] = "tls"
    source_id: str = Field("hilum", max_length=48, pattern=r"^[!-~]+$")
    enterprise_site_id: str = ""


class PeerSettings(Section):
    """Who may send to us."""

    ae_title: AeTitle
    host: str
    port: Port = 0
    certificate: str = ""
    priority: int = Field(1, ge=0, le=2)


class DestinationSettings(Section):
    """Where results go: the keys that every type of destination has. Each type adds its own in a subclass."""

    type: str
    name: str = Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.-]+$")
    preset: Preset = "generic"
    outputs: tuple[str, ...] = ("sr", "sc")
    sr_class: Literal["comprehensive-3d", "comprehensive", "enhanced"] = "comprehensive-3d"
    sr_title: Literal["imaging-measurement-report", "ai-chest-radiograph-result"] = "ai-chest-radiograph-result"
    language: str = "en-US"
    series_caption: Literal["result", "neutral"] = "result"
    sc_encoding: Literal["jpeg", "lossless"] = "jpeg"
    report_ignored: Literal["chest", "all", "none"] = "chest"

    @model_validator(mode="before")
    @classmethod
    def filled_from_preset(cls, keys: Any) -> Any:
        """Take the values of the preset for the keys that the destination does not give itself."""
        preset = PRESETS.get(str(keys.get("preset")), {}) if isinstance(keys, dict) else {}
        return {**preset, **keys} if preset else keys

    @field_validator("report_ignored", mode="before")
    @classmethod
    def spelt_as_a_switch(cls, value: object) -> object:
        """Files and environment variables written for an earlier version say true or false."""
        return {"true": "all", "false": "none"}.get(str(value).lower(), value)

    @property
    def title(self) -> str:
        """What the destination is called on the network."""
        return self.name

    @property
    def address(self) -> str:
        """The host that it is at; "" where it is at none."""
        return ""

    @property
    def commits(self) -> bool:
        """Whether this destination is asked for storage commitment."""
        return False

    @property
    def needs_tls_files(self) -> bool:
        """Whether the files of [tls] are used on the way to it."""
        return False


class StorageSettings(Section):
    """Spool and journal."""

    directory: Path = Path("/var/lib/hilum")
    database: str = ""
    database_file: str = ""
    min_free_bytes: int = Field(2_000_000_000, ge=0)
    keep_days: float = Field(30.0, ge=0)

    def database_url(self) -> str:
        """The SQLAlchemy URL, from `database_file` where that is given; "" means SQLite in `directory`."""
        return Path(self.database_file).read_text(encoding="utf-8").strip() if self.database_file else self.database


class StudySettings(Section):
    settle_seconds: Seconds = 3.0


class SelectSettings(Section):
    """Which images are analysed; a missing tag never rejects one by itself. An empty list means the default."""

    modalities: tuple[str, ...] = ("CR", "DX")
    body_parts: tuple[str, ...] = ("CHEST",)
    excluded_views: tuple[str, ...] = ("LATERAL", "OBLIQUE", "DECUBITUS")
    for_processing: bool = False
    secondary_capture: bool = True
    minimum_age_years: float = Field(18.0, ge=0)

    @field_validator("modalities", "body_parts", "excluded_views")
    @classmethod
    def default_where_empty(cls, values: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        return values or cls.model_fields[str(info.field_name)].default


class ModelSettings(Section):
    """The bundle and what it runs on."""

    bundle: str = ""
    digest: str = ""
    site_calibration: str = ""
    site_digest: str = ""
    findings: str = ""
    engine: Literal["auto", "openvino", "torch"] = "auto"
    device: str = "auto"
    threads: int = Field(1, ge=0)
    batch: int = Field(8, ge=1)
    workers: int = Field(1, ge=1)
    time_limit_seconds: Seconds = 60.0
    memory_limit_bytes: int = Field(6_000_000_000, ge=0)


class DeliverySettings(Section):
    """How results are sent, and sent again."""

    first_retry_seconds: Seconds = 5.0
    longest_retry_seconds: Seconds = 600.0
    give_up_after_seconds: Seconds = 0.0
    failures_until_refused: int = Field(8, ge=1)
    failing_seconds: Seconds = 3600.0
    timeout_seconds: Seconds = 30.0
    idle_release_seconds: Seconds = 60.0
    commitment_timeout_seconds: Seconds = 3600.0


class HttpSettings(Section):
    """HTTP, and the host names under which it is asked for."""

    enabled: bool = True
    host: str = "127.0.0.1"
    port: Port = 8080
    allowed_hosts: tuple[str, ...] = ()
    timeout_seconds: Annotated[float, Field(gt=0)] = 30.0
    feedback: bool = False

    @field_validator("allowed_hosts")
    @classmethod
    def hosts_alone(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        """Refuse what no Host header can be equal to: a pattern, a URL, a name with a port."""
        for host in hosts:
            if not _HOST_NAME.fullmatch(host) and not _is_address(host):
                raise ValueError(f"{host!r} is neither a host name nor an address; write it without scheme and port")
        return hosts


class LogSettings(Section):
    level: Literal["debug", "info", "warning", "error"] = "info"
