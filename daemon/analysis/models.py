"""The loaded models of an analysing process: each is loaded once, and the most used stay in memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from config.models import ModelSettings

if TYPE_CHECKING:
    from inference.serving.segmenter import Model


class Models:
    """Classifiers by the names of their models. At most `limit` are in memory; the one used longest ago gives way."""

    def __init__(self, settings: Sequence[ModelSettings], load: Callable[[ModelSettings], Model], limit: int) -> None:
        self._settings = {model.name: model for model in settings}
        self._load, self._limit = load, limit
        self._loaded: OrderedDict[str, Model] = OrderedDict()

    def load_all(self) -> list[Model]:
        """Load every model, so that a bundle that cannot work is known before the first study comes.

        Raises what `load` raises.
        """
        return [self.classifier(name) for name in self._settings]

    def classifier(self, name: str) -> Model:
        """Return the classifier of a model, loaded again where it had to give way. Raises what `load` raises."""
        if name not in self._loaded:
            while len(self._loaded) >= self._limit:
                self._loaded.popitem(last=False)
            self._loaded[name] = self._load(self._settings[name])
        self._loaded.move_to_end(name)
        return self._loaded[name]
