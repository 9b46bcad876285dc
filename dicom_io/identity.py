"""Who we are in DICOM: our name as manufacturer and the UIDs that we make (PS3.5 B.2: 2.25 and a UUID's integer)."""

from uuid import UUID, uuid5

# Manufacturer (0008,0070) of every object that we make; images that carry it are never analysed
MANUFACTURER = "hilum"
# the name space of everything that hilum derives; changing it changes every UID
NAMESPACE = UUID("6f1a1d2e-6c1b-5d0e-9b52-7a3c0f6f4b11")


def derived_uid(*parts: str) -> str:
    """A UID of at most 44 characters that depends on `parts` alone: equal parts in equal order give the same UID."""
    # the length before each part keeps ("ab", "c") apart from ("a", "bc")
    return f"2.25.{uuid5(NAMESPACE, ''.join(f'{len(part)}:{part}' for part in parts)).int}"
