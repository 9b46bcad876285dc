"""`hilum model pull`: a catalogued model, fetched, its digest agreed to, made a bundle, and remembered.

<folder>/<name>/             the bundle
<folder>/pulled.json         {name: {"url", "bytes", "sha256": of the file, "bundle": the bundle's digest}}
<folder>/<file>.refused      a file whose digest was not the one expected
"""

import json
import re
from collections.abc import Callable
from hashlib import file_digest
from pathlib import Path
from typing import Any

from inference.bundle import Bundle
from inference.errors import DigestMismatch, ImportRefused, PullFailed, Unreachable
from inference.importing.catalogue import CatalogueEntry
from inference.importing.download import Progress, download
from inference.importing.importer import Wanted, import_model

RECORD = "pulled.json"
Confirm = Callable[[Path, str], bool]  # file, its SHA-256: is this the one?


def pull(
    entry: CatalogueEntry, folder: Path, confirm: Confirm, *, sha256: str = "", trust_pickle: bool = False,
    file: Path | None = None, report: Progress = lambda done, total: None,
) -> Bundle:  # fmt: skip
    """Fetch `entry` (or take `file`, fetched elsewhere) and write its bundle to `folder`/`entry.name`.

    What arrived has to have the SHA-256 `sha256`, or else the one remembered from an earlier pull, or else `confirm`
    has to agree to it. Raises ImportRefused, DigestMismatch, Unreachable, PullFailed; a download that is not agreed to
    yet is kept for the next call.
    """
    if entry.pickle and not trust_pickle:
        raise ImportRefused(
            f"{entry.name} is published as a pickled module, which can run any code when it is loaded. With "
            "--trust-pickle its tensors are taken out of it in a process without network, and nothing in it is run"
        )
    if (folder / entry.name).exists():
        raise ImportRefused(f"{folder / entry.name} is there already: remove it, or name another folder with --into")
    folder.mkdir(parents=True, exist_ok=True)
    expected = _plain(sha256) or remembered(folder).get(entry.name, {}).get("sha256", "")
    arrived = file or folder / entry.file_name
    url = "" if file else _fetch(entry, arrived, report)
    found = sha256_of(arrived)
    if expected and expected != found:
        why = "is expected" if sha256 else "came at an earlier pull (--sha256 changes that)"
        raise DigestMismatch(f"{arrived.name} has the SHA-256 {found}, but {expected} {why}: {_aside(arrived, file)}")
    if not expected and not confirm(arrived, found):
        raise ImportRefused(f"nobody agreed to {arrived}, SHA-256 {found}: once you know that it is the file, give "
                            f"--sha256 {found}")  # fmt: skip
    row = {"url": url, "bytes": arrived.stat().st_size, "sha256": found}
    bundle = _import(entry, arrived, folder, trust_pickle)
    _remember(folder, entry.name, row | {"bundle": bundle.digest})
    if not file:
        arrived.unlink()
    return bundle


def remembered(folder: Path) -> dict[str, Any]:
    """What was pulled into `folder`, by name; nothing where nothing was."""
    try:
        record: dict[str, Any] = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise ImportRefused(f"{folder / RECORD} is no JSON: {error}") from error
    return record


def check_remembered(bundle: Bundle) -> None:
    """Raises DigestMismatch where the bundle was pulled and is not what it was then."""
    row = remembered(bundle.directory.absolute().parent).get(bundle.directory.absolute().name)
    if row and row["bundle"] != bundle.digest:
        raise DigestMismatch(f"{bundle.directory} has the digest {bundle.digest}, but {row['bundle']} was pulled: it "
                             "was changed since")  # fmt: skip


def sha256_of(file: Path) -> str:
    """64 hexadecimal digits."""
    with file.open("rb") as content:
        return file_digest(content, "sha256").hexdigest()


def _fetch(entry: CatalogueEntry, file: Path, report: Progress) -> str:
    """The address that it came from; the entry's addresses are tried in order. A complete file is not fetched again."""
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
        "; ".join(faults) + ".\nWithout a way to the internet from here (https_proxy names a proxy): download\n"
        f"  {entry.urls[0]}\non another machine, bring the file over, and run\n"
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
        raise PullFailed(f"--sha256 is {digest!r}: 64 hexadecimal digits are expected")
    return plain


def _aside(arrived: Path, given: Path | None) -> str:
    """A download that is not the file expected is kept under another name, where nothing takes it for the file."""
    if given:
        return "nothing was imported"
    kept = arrived.replace(arrived.with_name(f"{arrived.name}.refused"))
    return f"nothing was imported, the file is kept as {kept}"


def _remember(folder: Path, name: str, row: dict[str, Any]) -> None:
    record = remembered(folder) | {name: row}
    part = folder / f"{RECORD}.part"
    part.write_text(json.dumps(record, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    part.replace(folder / RECORD)
