"""The types of destination: one row of `TYPES` each.

To add one: a module beside this one with its settings, its channel and a `DestinationType` (see
`daemon.channel`), and its row. Its keys go into config/example.toml and docs/configuration.md.
"""

from daemon.channel import DestinationType
from daemon.delivery import dicom

# by the value of `type` in a [[destination]] table
TYPES: dict[str, DestinationType] = {
    "dicom": dicom.TYPE,
}
