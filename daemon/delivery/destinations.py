"""The types of destination: one row of `TYPES` each.

To add a type, write a module beside this one with its settings, its channel and a `DestinationType` (see
`daemon.channel`), and add its row here. Its keys go into config/example.toml and docs/configuration.md.
"""

from daemon.channel import DestinationType
from daemon.delivery import dicom

# The key is the value of `type` in a [[destination]] table.
TYPES: dict[str, DestinationType] = {
    "dicom": dicom.TYPE,
}
