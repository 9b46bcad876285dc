"""The types of destination: one row of `TYPES` each.

To add one: a module beside this one with its settings, its channel and a `DestinationType` (see
`daemon.delivery.channel`), and its row. Its keys go into config/example.toml and docs/configuration.md.
"""

from daemon.delivery import dicom
from daemon.delivery.channel import DestinationType

# by the value of `type` in a [[destination]] table
TYPES: dict[str, DestinationType] = {
    "dicom": dicom.TYPE,
}
