"""Our application entity: the names that we give a peer when an association is negotiated, and the timeouts."""

from importlib import metadata

from pynetdicom.ae import ApplicationEntity

# PS3.7 D.3.3.2: a UID under 2.25, made once for hilum and the same in all its versions
IMPLEMENTATION_CLASS_UID = "2.25.305820968663475908636457793125983372891"
LONGEST_VERSION_NAME = 16  # PS3.7 D.3.3.2.3


def implementation_version_name() -> str:
    """Return HILUM_ and the major and minor version of the installed package, for example HILUM_0_1.

    At most 16 characters; HILUM alone where the package is not installed.
    """
    try:
        major_minor = metadata.version("hilum").split(".")[:2]
    except metadata.PackageNotFoundError:
        major_minor = []
    return "_".join(["HILUM", *major_minor])[:LONGEST_VERSION_NAME]


IMPLEMENTATION_VERSION_NAME = implementation_version_name()


def application_entity(
    ae_title: str, association_seconds: float, dimse_seconds: float, idle_seconds: float | None
) -> ApplicationEntity:
    """An application entity with hilum's names and these timeouts in seconds; None: never."""
    ae = ApplicationEntity(ae_title)
    ae.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    ae.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    ae.acse_timeout = ae.connection_timeout = association_seconds
    ae.dimse_timeout = dimse_seconds
    ae.network_timeout = idle_seconds
    ae.maximum_associations = 1_000_000  # more than there can be: `Admission` does the counting
    return ae
