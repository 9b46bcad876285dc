"""hilum's identity in DICOM: its name as manufacturer, and the UIDs that it makes (PS3.5 B.2: 2.25 and a UUID)."""

from uuid import UUID, uuid5

# Manufacturer (0008,0070) of every object that we make; an image with this manufacturer is never analysed
MANUFACTURER = "hilum"
# the name space for all UIDs that hilum derives; changing it would change every one of them
NAMESPACE = UUID("6f1a1d2e-6c1b-5d0e-9b52-7a3c0f6f4b11")


def derived_uid(*parts: str) -> str:
    """Return a UID of at most 44 characters that depends on `parts` and their order alone."""
    # the length before each part keeps ("ab", "c") apart from ("a", "bc")
    return f"2.25.{uuid5(NAMESPACE, ''.join(f'{len(part)}:{part}' for part in parts)).int}"
