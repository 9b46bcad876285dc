"""What a destination gets for the viewer that is read with there: the values of its keys that it does not give itself.

docs/viewers.md says what each viewer shows of each kind of object, and how that is known.
"""

from collections.abc import Mapping
from typing import Any, Literal

Preset = Literal["generic", "ohif", "orthanc", "weasis", "horos"]

# "generic" is what the keys are by default: the picture, which every viewer shows, and the report
PRESETS: Mapping[str, Mapping[str, Any]] = {
    "generic": {},
    "ohif": {"outputs": ("sr", "sc"), "sr_title": "ai-chest-radiograph-result"},
    "orthanc": {"outputs": ("sc", "pdf")},
    "weasis": {"outputs": ("sr", "sc", "gsps", "kos"), "sr_title": "ai-chest-radiograph-result"},
    "horos": {"outputs": ("sc", "pdf"), "sr_class": "comprehensive"},
}
