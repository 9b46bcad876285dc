"""MONAI's ConfigParser, made safe for a process in which other threads import modules, as MLflow's do."""

import sys
from typing import Any

from monai.bundle import ConfigParser
from monai.bundle.config_item import ComponentLocator


class Locator(ComponentLocator):  # type: ignore[misc]
    """Searches a copy of the list of modules. MONAI's own locator fails if the list grows during the search."""

    def _find_module_names(self) -> list[str]:
        return [name for name in list(sys.modules) if name.startswith(self.MOD_START)]


def instantiated(config: dict[str, Any], key: str) -> Any:
    """Return the object that the MONAI configuration `config` describes under `key`.

    Raises what its constructor raises.
    """
    parser = ConfigParser(config)
    parser.locator = Locator()
    return parser.get_parsed_content(key)
