"""Pulling an open model: download over HTTPS, confirmation, import and record; every fault is explained."""

import io
import json
import os
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from daemon.cli.main import app
from dicom_io.composite.codes import check_findings
from dicom_io.network.tls import TlsFiles
from inference.bundle import load_bundle
from inference.errors import DigestMismatch, ImportRefused, PullFailed, Unreachable
from inference.importing.catalogue import CatalogueEntry, find_entry, read_catalogue
from inference.importing.download import _receive, download
from inference.importing.importer import XRAYVISION
from inference.importing.pull import Confirm, pull, remembered
from tests.conftest import require
from tests.inference.test_importer import SMALL, can_isolate, random_network
from tests.support.authority import Authority
from tests.support.peers import free_port
from tests.support.publisher import Publisher, published

NOBODY: Confirm = lambda file, digest: pytest.fail("nobody should be asked")  # noqa: E731


@pytest.fixture(scope="module")
def weights() -> bytes:
    stream = io.BytesIO()
    torch.save(random_network(1, 18, **SMALL).state_dict(), stream)
    return stream.getvalue()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    require("openssl")
    return Authority(tmp_path_factory.mktemp("pull") / "ca").issue("server")


@pytest.fixture
def server(weights: bytes, certificate: TlsFiles, monkeypatch: pytest.MonkeyPatch) -> Iterator[Publisher]:
    """A publisher whose authority is trusted by SSL_CERT_FILE, as an administrator would set it."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.ca))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with published(weights, certificate) as publisher:
        yield publisher


def entry(*urls: str, pickle: bool = False) -> CatalogueEntry:
    thresholds = dict.fromkeys(XRAYVISION, 0.25)
    source = ("CC0-1.0", "https://example.org", "Nobody 2026")
    return CatalogueEntry("mine", "A small net", urls, *source, pickle, "xrayvision", XRAYVISION, thresholds)


def hexdigest(content: bytes) -> str:
    return sha256(content).hexdigest()


# ---- the download


def test_a_whole_file(server: Publisher, tmp_path: Path) -> None:
    """The published bytes arrive, progress is reported, and no other file is left."""
    told: list[tuple[int, int | None]] = []
    download(server.url, tmp_path / "f", lambda done, total: told.append((done, total)))
    assert (tmp_path / "f").read_bytes() == server.content
    assert told[-1] == (len(server.content), len(server.content))
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


@pytest.mark.parametrize("says_length", [True, False])
def test_a_broken_download_goes_on(server: Publisher, tmp_path: Path, says_length: bool) -> None:
    """After an interruption, the next attempt requests the rest of the same version, and the file is complete."""
    server.cut_after = 10_000
    with pytest.raises(PullFailed, match="interrupted after 10000 of"):
        download(server.url, tmp_path / "f")
    server.cut_after, server.says_length = 0, says_length
    download(server.url, tmp_path / "f")
    assert server.asked[-1]["range"] == "bytes=10000-"
    assert server.asked[-1]["if-range"] == '"v1"'
    assert (tmp_path / "f").read_bytes() == server.content


@pytest.mark.parametrize("change", [{"etag": '"v2"'}, {"ranges": False}, {"content": b"short"}])
def test_another_version_starts_over(server: Publisher, tmp_path: Path, change: dict[str, object]) -> None:
    """Parts of two files are never joined, if the file changed meanwhile or the server does not know ranges."""
    server.cut_after = 10_000
    with pytest.raises(PullFailed):
        download(server.url, tmp_path / "f")
    server.cut_after, server.content = 0, server.content[::-1]
    for name, value in change.items():
        setattr(server, name, value)
    download(server.url, tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == server.content


@pytest.mark.parametrize("etag", ["", 'W/"v1"'])
def test_what_cannot_be_told_apart_starts_over(server: Publisher, tmp_path: Path, etag: str) -> None:
    """Without a strong validator the download starts over, because the rest may belong to another version."""
    server.etag, server.cut_after = etag, 10_000
    with pytest.raises(PullFailed):
        download(server.url, tmp_path / "f")
    server.cut_after = 0
    download(server.url, tmp_path / "f")
    assert "range" not in server.asked[-1]
    assert (tmp_path / "f").read_bytes() == server.content


@pytest.mark.parametrize("says_length", [True, False])
def test_a_file_that_is_too_large(server: Publisher, tmp_path: Path, says_length: bool) -> None:
    """No more than the limit is written, whether or not the server states the length."""
    server.says_length = says_length
    with pytest.raises(PullFailed, match="larger than 5000 bytes"):
        download(server.url, tmp_path / "f", limit=5000)
    assert sum(p.stat().st_size for p in tmp_path.glob("*.part")) <= 5000


def test_nothing_but_https(server: Publisher, tmp_path: Path) -> None:
    """Neither the address nor a redirection may lead to http, a file or anything else."""
    for url in ("http://127.0.0.1/x", "file:///etc/passwd"):
        with pytest.raises(PullFailed, match="only https"):
            download(url, tmp_path / "f")
        server.redirect = url
        with pytest.raises(PullFailed, match=r"only https|not allowed"):
            download(server.url, tmp_path / "f")
    assert not list(tmp_path.iterdir())


def test_no_way_there(server: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused connection, a missing file, a web page and an untrusted certificate are each explained."""
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:\d+ cannot be reached: Connection refused"):
        download(f"https://127.0.0.1:{free_port()}/f", tmp_path / "f")
    server.status = 404
    with pytest.raises(Unreachable, match="answered 404"):
        download(server.url, tmp_path / "f")
    server.status, server.content_type = 200, "text/html; charset=utf-8"
    with pytest.raises(Unreachable, match="web page"):
        download(server.url, tmp_path / "f")
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(Unreachable, match="unable to get local issuer certificate"):
        download(server.url, tmp_path / "f")


# ---- from the catalogue to a bundle


def test_pulled_agreed_to_imported_remembered(server: Publisher, tmp_path: Path) -> None:
    """The user sees the digest of the file; the bundle has labels, thresholds and licence, and is recorded."""
    shown = []
    made = pull(entry(server.url), tmp_path, lambda file, digest: not shown.append(digest))
    assert shown == [hexdigest(server.content)]
    assert (made.name, made.labels) == ("mine", XRAYVISION)
    assert made.calibration["findings"]["Fracture"]["threshold"] == 0.25
    assert (made.directory / "LICENSE").read_text().startswith("CC0-1.0")
    assert "Nobody 2026" in (made.directory / "docs/README.md").read_text()
    row = remembered(tmp_path)["mine"]
    assert row == {"url": server.url, "bytes": len(server.content), "sha256": shown[0], "bundle": made.digest}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mine", "pulled.json"]
    with pytest.raises(ImportRefused, match="exists already"):
        pull(entry(server.url), tmp_path, NOBODY)


def test_what_came_once_has_to_come_again(server: Publisher, tmp_path: Path) -> None:
    """A second pull accepts the same file without asking, and refuses another one."""
    made = pull(entry(server.url), tmp_path, NOBODY, sha256=f"sha256:{hexdigest(server.content).upper()}")
    made.directory.rename(tmp_path / "old")
    assert pull(entry(server.url), tmp_path, NOBODY).digest == made.digest
    (tmp_path / "mine").rename(tmp_path / "older")
    server.content = server.content[:-1] + b"x"
    with pytest.raises(DigestMismatch, match="earlier pull"):
        pull(entry(server.url), tmp_path, NOBODY)
    assert not (tmp_path / "mine").exists()


def test_a_wrong_digest(server: Publisher, tmp_path: Path) -> None:
    """After one altered byte nothing is imported, the file is renamed, and the next pull downloads it again."""
    right = hexdigest(server.content)
    good, server.content = server.content, bytes([server.content[0] ^ 1]) + server.content[1:]
    with pytest.raises(DigestMismatch, match=rf"but {right} is expected.*renamed to .*mine\.pt\.refused"):
        pull(entry(server.url), tmp_path, NOBODY, sha256=right)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.pt.refused"]
    server.content = good
    assert pull(entry(server.url), tmp_path, NOBODY, sha256=right).labels == XRAYVISION


def test_nobody_agrees(server: Publisher, tmp_path: Path) -> None:
    """A file that was not confirmed is kept, and not downloaded again once its digest is given."""
    with pytest.raises(ImportRefused, match=f"--sha256 {hexdigest(server.content)}"):
        pull(entry(server.url), tmp_path, lambda file, digest: False)
    pull(entry(server.url), tmp_path, NOBODY, sha256=hexdigest(server.content))
    assert len(server.asked) == 1


def test_a_mirror_is_tried(server: Publisher, tmp_path: Path) -> None:
    """If the first address cannot be reached the next one is tried; if none can, the error says what to do."""
    nowhere = f"https://127.0.0.1:{free_port()}/model.pt"
    assert pull(entry(nowhere, server.url), tmp_path, lambda *_: True).name == "mine"
    with pytest.raises(Unreachable, match=rf"(?s)refused.*download\n +{nowhere}.*hilum model pull mine --file FILE"):
        pull(entry(nowhere), tmp_path / "other", NOBODY)


def test_a_file_fetched_elsewhere(weights: bytes, tmp_path: Path) -> None:
    """A file given by --file is checked alike and gives the same bundle, and it is left in place, right or wrong."""
    file = tmp_path / "brought.pt"
    file.write_bytes(weights)
    with pytest.raises(DigestMismatch, match="nothing was imported"):
        pull(entry("https://x"), tmp_path / "models", NOBODY, sha256="0" * 64, file=file)
    made = pull(entry("https://x"), tmp_path / "models", NOBODY, sha256=hexdigest(weights), file=file)
    assert made.labels == XRAYVISION
    assert file.read_bytes() == weights


def test_what_was_confirmed_is_imported(weights: bytes, tmp_path: Path) -> None:
    """A file that somebody exchanges while its digest is looked at does not get in; a pipe is not waited for."""
    file = tmp_path / "brought.pt"
    file.write_bytes(weights)

    def exchanging(shown: Path, digest: str) -> bool:
        shown.write_bytes(b"something else")
        return digest == hexdigest(weights)

    made = pull(entry("https://x"), tmp_path / "models", exchanging, file=file)
    assert made.labels == XRAYVISION
    assert remembered(tmp_path / "models")["mine"]["sha256"] == hexdigest(weights)
    assert {path.name for path in (tmp_path / "models").iterdir()} == {"mine", "pulled.json"}
    os.mkfifo(tmp_path / "pipe.pt")
    with pytest.raises(ImportRefused, match="no plain file"):
        pull(entry("https://x"), tmp_path / "other", NOBODY, file=tmp_path / "pipe.pt")


def test_a_length_that_is_no_number(tmp_path: Path) -> None:
    """Content-Length may hold what Python calls a digit and cannot read; it counts as unknown."""

    class Answer(io.BytesIO):
        status, headers = 200, {"Content-Length": "\u00b2"}

    _receive(Answer(b"abc"), tmp_path / "file", 0, "https://x", 100, lambda *_: None)  # type: ignore[arg-type]
    assert (tmp_path / "file.part").read_bytes() == b"abc"


def test_a_pickled_module_needs_trust(server: Publisher, tmp_path: Path) -> None:
    """Without --trust-pickle, a model that is published as a pickle is not even downloaded."""
    with pytest.raises(ImportRefused, match="--trust-pickle"):
        pull(entry(server.url, pickle=True), tmp_path, NOBODY)
    assert not server.asked
    network = random_network(1, 18, **SMALL)
    network.pathologies = ["", "another", "list"]  # type: ignore[assignment]
    stream = io.BytesIO()
    torch.save(network, stream)
    server.content = stream.getvalue()
    if can_isolate():
        made = pull(entry(server.url, pickle=True), tmp_path, lambda *_: True, trust_pickle=True)
        assert made.labels == XRAYVISION


def test_the_command(server: Publisher, tmp_path: Path) -> None:
    """`hilum model pull` shows the list, accepts no and yes at the prompt, and prints the lines for [model]."""
    listed = CliRunner().invoke(app, ["model", "pull", "--json"])
    assert {e["name"]: e for e in json.loads(listed.stdout)}["torchxrayvision-all"]["pickle"]
    mine = tmp_path / "own.toml"
    mine.write_text(f'[mine]\nwhat = "x"\nurls = ["{server.url}"]\nlicence = "x"\nhome = "x"\npickle = false\n'
                    f"outputs = {json.dumps([[label, 0.5] for label in XRAYVISION])}\n")  # fmt: skip
    words = ["model", "pull", "mine", "--catalogue", str(mine), "--into", str(tmp_path / "models")]
    said_no = CliRunner().invoke(app, words, input="n\n")
    assert said_no.exit_code == 1
    assert hexdigest(server.content) in said_no.stdout
    assert CliRunner().invoke(app, words, input="").exit_code == 1
    said_yes = CliRunner().invoke(app, words, input="y\n")
    assert said_yes.exit_code == 0, said_yes.output
    bundle = load_bundle(tmp_path / "models/mine")
    assert f'bundle = "{bundle.directory}"\ndigest = "{bundle.digest}"' in said_yes.stdout
    assert CliRunner().invoke(app, [*words[:2], "other"]).exit_code == 1
    assert CliRunner().invoke(app, ["model", "verify", str(bundle.directory)]).exit_code == 0
    with (bundle.directory / "configs/metadata.json").open("a") as file:
        file.write(" ")
    changed = CliRunner().invoke(app, ["model", "verify", str(bundle.directory)])
    assert (changed.exit_code, "changed since" in changed.stderr) == (1, True)


def test_the_catalogue() -> None:
    """Each entry has addresses, a licence, 18 outputs; each trained one has a threshold and a coded concept."""
    for known in read_catalogue().values():
        assert all(url.startswith("https://") for url in known.urls)
        assert known.licence
        assert len(known.labels) == 18
        assert set(known.thresholds) == set(known.labels) - {""}
        assert known.preprocessing == "xrayvision"
        check_findings(known.thresholds)
    assert find_entry("torchxrayvision-all").labels == XRAYVISION


@pytest.mark.parametrize("text", ["x", "[a]\nwhat = 1", '[a]\nurls = ["http://x"]', '["../a"]\nurls = ["https://x"]'])
def test_no_catalogue(tmp_path: Path, text: str) -> None:
    """A file that is not a catalogue is refused; so are an address without TLS and a name that is a path."""
    (tmp_path / "c.toml").write_text(text)
    with pytest.raises(ImportRefused, match=r"c\.toml is not a catalogue"):
        read_catalogue(tmp_path / "c.toml")
