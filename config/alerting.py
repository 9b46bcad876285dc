"""The tables of triage: [[alert]] says what is urgent, [[notifier]] who is told of it and how."""

import re
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field, model_validator

from config.hours import Hours
from config.sections import Port, Section

Name = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.-]+$")]
PLACEHOLDER = "{study_instance_uid}"
HERE = ("localhost", "127.0.0.1", "::1")


class AlertSettings(Section):
    """Which studies go before others, and who is told. What is empty applies to all.

    An alert with a finding is raised by the analysis. One without is raised at reception, by peer and hour alone: it
    puts the study first and tells nobody.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    name: Name
    finding: str = ""
    from_call: Literal["above", "near"] = Field("above", alias="from")
    score: int = Field(0, ge=0, le=100)
    peers: tuple[str, ...] = ()
    hours: tuple[str, ...] = ()
    notify: tuple[str, ...] = ()

    @model_validator(mode="after")
    def says_something(self) -> Self:
        """Refuse hours that cannot be read, and what an alert without a finding cannot do."""
        for written in self.hours:
            Hours.parse(written)
        if not self.finding and (self.notify or self.score or self.from_call != "above"):
            raise ValueError("from, score and notify need a finding: without one the alert is raised at reception")
        if not self.finding and not self.peers and not self.hours:
            raise ValueError(
                "an alert needs a finding, peers or hours; without any of them every study would be urgent"
            )
        return self


class NotifierSettings(Section):
    """Who is told: the keys that every type of notifier has. Each type adds its own in a subclass."""

    type: str
    name: Name
    identifiers: Literal["none", "study", "patient"] = "study"
    link: str = ""
    timeout_seconds: float = Field(30.0, gt=0, le=120)
    give_up_after_seconds: float = Field(86_400.0, gt=0)

    @model_validator(mode="after")
    def keeps_to_its_identifiers(self) -> Self:
        """Refuse a link that would tell more than `identifiers` lets out, and one that no viewer could open."""
        names = re.findall(r"\{[^}]*\}", self.link)
        if self.link and (urlsplit(self.link).scheme not in ("http", "https") or names != [PLACEHOLDER]):
            raise ValueError(f"link: expected an http or https URL with {PLACEHOLDER} in it once")
        if self.link and self.identifiers == "none":
            raise ValueError('link holds the Study Instance UID, which identifiers = "none" keeps back')
        return self


class WebhookSettings(NotifierSettings):
    """A program that is told by an HTTP POST, signed as Standard Webhooks says."""

    type: Literal["webhook"]
    url: str = Field(repr=False)
    secret: str = Field("", repr=False)
    secret_file: str = ""
    ca: str = ""
    proxy: str = ""

    @model_validator(mode="after")
    def signed_and_safe(self) -> Self:
        """Refuse a webhook without exactly one secret, and patient data on a way that others can read."""
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("url: expected https://HOST/PATH, or http:// inside of a trusted network")
        if parts.username or parts.password:
            raise ValueError("url: expected no user and password in it; the signature says who sends")
        if self.proxy and not (urlsplit(self.proxy).scheme in ("http", "https") and urlsplit(self.proxy).hostname):
            raise ValueError("proxy: expected http://HOST:PORT")
        if bool(self.secret) == bool(self.secret_file):
            raise ValueError("secret: expected secret or secret_file, one of the two")
        if self.identifiers == "patient" and parts.scheme == "http" and parts.hostname not in HERE:
            raise ValueError('identifiers = "patient" needs an https URL: over http anybody on the way reads them')
        return self


class EmailSettings(NotifierSettings):
    """People who are told by e-mail."""

    type: Literal["email"]
    host: str = Field(min_length=1)
    port: Port = 587
    tls: Literal["starttls", "tls", "none"] = "starttls"
    ca: str = ""
    user: str = ""
    password_file: str = ""
    sender: str = Field(pattern=r"^[^@\s]+@[^@\s]+$")
    recipients: tuple[Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+$")], ...] = Field(min_length=1)

    @model_validator(mode="after")
    def safe(self) -> Self:
        """Refuse a password, or patient data, on a way that others can read."""
        if bool(self.user) != bool(self.password_file):
            raise ValueError("user and password_file are needed together, or none of them")
        if self.tls == "none" and self.user:
            raise ValueError('tls = "none" would send the password in clear; expected starttls or tls')
        if self.tls == "none" and self.identifiers == "patient" and self.host not in HERE:
            raise ValueError('identifiers = "patient" needs tls = "starttls" or "tls"')
        return self


class AppriseSettings(NotifierSettings):
    """People who are told by a service that Apprise knows, such as a chat or a pager. Needs hilum[apprise]."""

    type: Literal["apprise"]
    identifiers: Literal["none", "study"] = "study"
    urls_file: str = Field(min_length=1)


Notifier = Annotated[WebhookSettings | EmailSettings | AppriseSettings, Field(discriminator="type")]
NOTIFIER_TYPES: dict[str, type[NotifierSettings]] = {
    "webhook": WebhookSettings,
    "email": EmailSettings,
    "apprise": AppriseSettings,
}
