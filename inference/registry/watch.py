"""Noticing that a registry's alias, such as champion, names another version, and bringing its bundle here.

<folder>/<name>-<version>/      the bundle, complete or absent

Nothing is put into use: who calls this decides what becomes of the bundle.
"""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from inference.bundle import load_bundle
from inference.errors import BundleNotFound, DigestMismatch, ImportRefused
from inference.training.tracking import REGISTERED, fetch_registered, open_mlflow


@dataclass(frozen=True)
class Champion:
    """The version that an alias names, and its bundle here."""

    address: str  # models:/NAME/VERSION
    directory: Path
    digest: str  # "sha256:...", as it was registered; the bundle's own is the same
    new: bool  # whether this call brought it here


def watch_once(alias: str, folder: Path, uri: str = "") -> Champion:
    """Bring the bundle of models:/NAME@ALIAS into `folder`, unless it is there already, and return where it is.

    The bundle is checked as any foreign one: it may name listed classes only, and its digest must be that of the
    version's tag "digest". `uri` names MLflow's store, as everywhere. Raises BundleNotFound (no such model or alias, or
    its bundle cannot be read), ImportRefused (the version has no digest), DigestMismatch (the store's bundle, or the
    one in `folder`, is another than was registered), BundleForbidden, EngineError (MLflow does not answer).
    """
    name, version, digest = _named(alias, uri)
    address, directory = f"models:/{name}/{version}", folder / f"{name}-{version}"
    if directory.is_dir():
        found = load_bundle(directory).digest
        if found != digest:
            raise DigestMismatch(f"{directory} has the digest {found}, but {address} was registered with {digest}: "
                                 "it was changed, or is of another registry; remove it to fetch it again")  # fmt: skip
        return Champion(address, directory, digest, new=False)
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder, prefix=".watch-") as copies:
        copied = fetch_registered(address, Path(copies), uri)
        load_bundle(copied)
        copied.replace(directory)
    return Champion(address, directory, digest, new=True)


def _named(alias: str, uri: str) -> tuple[str, str, str]:
    """Return name, version and registered digest of the version that the alias names."""
    match = REGISTERED.fullmatch(alias)
    if not match or not match[3] or Path(match[1]).name != match[1]:
        raise BundleNotFound(f"{alias} names no version that can change, expected models:/NAME@ALIAS")
    mlflow = open_mlflow(uri)
    try:
        found = mlflow.MlflowClient().get_model_version_by_alias(match[1], match[3])
    except mlflow.MlflowException as error:
        raise BundleNotFound(f"{alias} cannot be read from {mlflow.get_tracking_uri()}: {error}") from error
    digest = found.tags.get("digest", "")
    if not digest:
        raise ImportRefused(f"{alias} is version {found.version}, which was registered without a digest (tag digest): "
                            "`hilum train` registers one, so that what arrives can be compared with it")  # fmt: skip
    return match[1], str(found.version), str(digest)
