"""Which SOP classes are radiographs: our SCP accepts these, and only their objects can be selected for analysis."""

from pydicom.uid import (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
    SecondaryCaptureImageStorage,
)

RADIOGRAPH_SOP_CLASSES = (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
    SecondaryCaptureImageStorage,
)


def radiograph_class(name: str) -> str:
    """Return the UID of a class of radiographs by its UID or by its keyword (PS3.6 Table A-1).

    Raises ValueError for another name.
    """
    known = {uid.keyword: str(uid) for uid in RADIOGRAPH_SOP_CLASSES}
    if name not in known and name not in known.values():
        raise ValueError(f"names {name!r}, expected some of {', '.join(known)}")
    return known.get(name, name)
