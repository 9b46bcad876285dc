"""Which model an image is for, and which destinations get what the model says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from config.models import ModelSettings
from config.sections import DestinationSettings
from config.settings import Settings
from daemon import translate
from dicom_io.image.header import Header
from dicom_io.image.selection import SelectionRules, Verdict, select

OTHER_PEER = "the model is for images of other senders"


@dataclass(frozen=True)
class Route:
    """What a model of the configuration is for."""

    model: ModelSettings
    rules: SelectionRules
    destinations: tuple[DestinationSettings, ...]
    shadow: bool
    """Whether the model is on trial: what it says is compared, and never sent."""

    @property
    def name(self) -> str:
        return self.model.name

    def select(self, header: Header, calling_ae_title: str) -> Verdict:
        """Whether an image of this sender is one that the model is for, and why not. An unknown sender ("") is any."""
        verdict = select(header, self.rules)
        listed = {peer.upper() for peer in self.model.peers}
        if verdict.eligible and listed and calling_ae_title and calling_ae_title.upper() not in listed:
            return Verdict(False, OTHER_PEER, verdict.sign)
        return verdict


def routes(settings: Settings, promotions: Sequence[tuple[str, str]] = ()) -> tuple[Route, ...]:
    """Return a route for each model, in the order of the configuration.

    `promotions` says which model came into use in place of which other one, oldest first; what the configuration does
    not know, or has otherwise by now, is passed over. Raises CannotWork for a SOP class that there is not.
    """
    places = _places(settings, promotions)
    return tuple(_route(settings, model, places.get(model.name)) for model in settings.model)


def _places(settings: Settings, promotions: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Return of each model in use whose place it has by the configuration, which may be its own."""
    known = {model.name for model in settings.model}
    places = {model.name: model.name for model in settings.model if not model.shadow}
    for model, instead_of in promotions:
        if model in known and model not in places and instead_of in places:
            places[model] = places.pop(instead_of)
    return places


def _route(settings: Settings, model: ModelSettings, place: str | None) -> Route:
    """Return a model's route. Its results go where those of the model go whose place it has; None: it is on trial."""
    names = settings.model_named(place).destinations if place else ()
    told = [one for one in settings.destination if place and (not names or one.name in names)]
    rules = translate.selection_rules(settings.selection(model), model)
    return Route(model, rules, tuple(told), shadow=not place)
