"""MONAI's ConfigParser, fit for a process in which other threads import modules meanwhile (MLflow's do)."""

import sys
from typing import Any

from monai.bundle import ConfigParser
from monai.bundle.config_item import ComponentLocator


class Locator(ComponentLocator):  # type: ignore[misc]
    """Goes through a copy of the list of modules: MONAI's own fails when the list grows under it."""

    def _find_module_names(self) -> list[str]:
        return [name for name in list(sys.modules) if name.startswith(self.MOD_START)]


def instantiated(config: dict[str, Any], key: str) -> Any:
    """The object that `config` describes under `key`."""
    parser = ConfigParser(config)
    parser.locator = Locator()
    return parser.get_parsed_content(key)
