"""`hilum model pull`: downloading a model of the catalogue, having its digest confirmed, and making a bundle of it.

<folder>/<name>/             the bundle
<folder>/pulled.json         {name: {"url", "bytes", "sha256": of the file, "bundle": the bundle's digest}}
<folder>/<file>.refused      a file that did not have the expected digest
"""

import json
import re
from collections.abc import Callable
from hashlib import file_digest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from inference.bundle import Bundle
from inference.errors import DigestMismatch, ImportRefused, PullFailed, Unreachable
from inference.files.vetting import UnsafeFile, blocks
from inference.importing.catalogue import CatalogueEntry
from inference.importing.download import Progress, download
from inference.importing.importer import Wanted, import_model

RECORD = "pulled.json"
Confirm = Callable[[Path, str], bool]  # called with the file and its SHA-256: is this the right file?


def pull(
    entry: CatalogueEntry, folder: Path, confirm: Confirm, *, sha256: str = "", trust_pickle: bool = False,
    file: Path | None = None, report: Progress = lambda done, total: None,
) -> Bundle:  # fmt: skip
    """Download `entry`, or use `file`, which was downloaded elsewhere, and write its bundle to `folder`/`entry.name`.

    The file must have the SHA-256 `sha256` or, without that, the one recorded at an earlier pull; if there is neither,
    `confirm` must return True for it. A download that was not confirmed is kept for the next call.
    Raises ImportRefused, DigestMismatch, Unreachable, PullFailed.
    """
    if entry.pickle and not trust_pickle:
        raise ImportRefused(
            f"{entry.name} is published as a pickled module, which can run any code when it is loaded. With "
            "--trust-pickle its tensors are taken out of it in a process without network, and nothing in it is run"
        )
    if (folder / entry.name).exists():
        raise ImportRefused(f"{folder / entry.name} exists already: remove it, or name another folder with --into")
    folder.mkdir(parents=True, exist_ok=True)
    expected = _plain(sha256) or remembered(folder).get(entry.name, {}).get("sha256", "")
    with TemporaryDirectory(dir=folder, prefix=".pull-") as private:
        arrived = _copied(file, Path(private)) if file else folder / entry.file_name
        url = "" if file else _fetch(entry, arrived, report)
        found = sha256_of(arrived)
        if expected and expected != found:
            why = "is expected" if sha256 else "was recorded at an earlier pull (--sha256 overrides that)"
            kept = "" if file else f", and the file was renamed to {_set_aside(arrived)}"
            raise DigestMismatch(
                f"{arrived.name} has the SHA-256 {found}, but {expected} {why}: nothing was imported{kept}"
            )
        if not expected and not confirm(file or arrived, found):
            raise ImportRefused(f"{file or arrived}, SHA-256 {found}, was not confirmed: once you know that it is the "
                                f"right file, give --sha256 {found}")  # fmt: skip
        row = {"url": url, "bytes": arrived.stat().st_size, "sha256": found}
        bundle = _import(entry, arrived, folder, trust_pickle)
        _remember(folder, entry.name, row | {"bundle": bundle.digest})
        arrived.unlink()
    return bundle


def remembered(folder: Path) -> dict[str, Any]:
    """Return the record of what was pulled into `folder`, by name; {} if nothing was.

    Raises ImportRefused for a damaged record.
    """
    try:
        record: dict[str, Any] = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise ImportRefused(f"{folder / RECORD} is not valid JSON: {error}") from error
    return record


def check_remembered(bundle: Bundle) -> None:
    """Raise DigestMismatch if the bundle was pulled and has changed since.

    Raises ImportRefused for a damaged record.
    """
    row = remembered(bundle.directory.absolute().parent).get(bundle.directory.absolute().name)
    if row and row["bundle"] != bundle.digest:
        raise DigestMismatch(f"{bundle.directory} has the digest {bundle.digest}, but {row['bundle']} was pulled: it "
                             "was changed since")  # fmt: skip


def sha256_of(file: Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    with file.open("rb") as content:
        return file_digest(content, "sha256").hexdigest()


def _copied(file: Path, folder: Path) -> Path:
    """Copy a file that others may be able to write, so that what is hashed is what is imported.

    Raises ImportRefused if it is no plain file.
    """
    copy = folder / file.name
    try:
        with copy.open("wb") as out:
            out.writelines(blocks(file.resolve()))
    except (OSError, UnsafeFile) as error:
        raise ImportRefused(f"{file} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    return copy


def _fetch(entry: CatalogueEntry, file: Path, report: Progress) -> str:
    """Download into `file` from the first address that can be reached, and return that address.

    A file that is there already is complete, and is not downloaded again.
    """
    if file.is_file():
        return entry.urls[0]
    faults: list[str] = []
    for url in entry.urls:
        try:
            download(url, file, report)
            return url
        except Unreachable as fault:
            faults.append(str(fault))
    trust = " --trust-pickle" if entry.pickle else ""
    raise Unreachable(
        "; ".join(faults) + ".\nIf this machine has no access to the internet (https_proxy names a proxy), download\n"
        f"  {entry.urls[0]}\non another machine, copy the file here, and run\n"
        f"  hilum model pull {entry.name} --file FILE{trust}"
    )


def _import(entry: CatalogueEntry, file: Path, folder: Path, trust_pickle: bool) -> Bundle:
    wanted = Wanted(
        name=entry.name, labels=entry.labels, preprocessing=entry.preprocessing, thresholds=entry.thresholds,
        trust_pickle=trust_pickle, licence=f"{entry.licence}\nPublished at {entry.home}\n",
        origin=f"{entry.what}.\nPublished at {entry.home}. Licence: {entry.licence}. {entry.cite}".strip(),
    )  # fmt: skip
    return import_model(file, folder / entry.name, wanted)


def _plain(digest: str) -> str:
    plain = digest.strip().lower().removeprefix("sha256:")
    if plain and not re.fullmatch("[0-9a-f]{64}", plain):
        raise PullFailed(f"--sha256 is {digest!r}, expected 64 hexadecimal digits")
    return plain


def _set_aside(arrived: Path) -> Path:
    """Rename a download with the wrong digest to *.refused, so that it is not imported by mistake."""
    return arrived.replace(arrived.with_name(f"{arrived.name}.refused"))


def _remember(folder: Path, name: str, row: dict[str, Any]) -> None:
    record = remembered(folder) | {name: row}
    part = folder / f"{RECORD}.part"
    part.write_text(json.dumps(record, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    part.replace(folder / RECORD)
