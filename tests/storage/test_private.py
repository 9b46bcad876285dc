"""What is stored is open to its owner alone, whatever the umask and wherever the database lies."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from daemon import wiring
from daemon.cli.check import check
from daemon.cli.main import app
from storage.private import open_to_others, with_contents
from tests.support.harness import Daemon
from tests.support.studies import at, image

UMASKS = (0o000, 0o022)


@pytest.fixture(params=UMASKS, ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    """The umask of the process for one test."""
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.mark.parametrize("url", ["", "sqlite:///{}/elsewhere.db"])
def test_what_is_made_is_closed(umask: int, url: str, tmp_path: Path, untrained: dict[str, str]) -> None:
    """Directory, spool, the database with its -wal and -shm, the cache: 0700 and 0600."""
    place = {"HILUM__STORAGE__DIRECTORY": str(tmp_path / "a/hilum"), "HILUM__STORAGE__DATABASE": url.format(tmp_path)}
    environ = {**untrained, **place}
    settings = wiring.read_settings(None, environ)
    spool, store = wiring.open_spool(settings), wiring.open_store(settings)
    store.journal.received(image(), at(0))
    wiring.open_classifier(settings)
    (spool.incoming / "x").touch(0o600)
    spool.adopt(spool.incoming / "x")
    files = [*with_contents(settings.storage.directory), *tmp_path.glob("elsewhere.db*")]
    assert {file.suffix for file in files} >= {".db", ".db-wal", ".db-shm", ".dcm", ".bin", ".xml"}
    assert {(file.is_dir(), file.stat().st_mode & 0o777) for file in files} == {(True, 0o700), (False, 0o600)}
    assert dict(check(settings))["permissions"] == ""


@pytest.mark.parametrize("place", [".", "spool", "spool/objects/00", "hilum.db", "hilum.db-wal", "cache", "spool/'x'"])
def test_what_is_open_is_a_fault_that_names_its_command(place: str, tmp_path: Path) -> None:
    """`hilum check` says what other users may open; the command that it prints mends it."""
    environ = {"HILUM__STORAGE__DIRECTORY": str(tmp_path / "da ta"), "HILUM__MODEL__BUNDLE": str(tmp_path)}
    settings = wiring.read_settings(None, environ)
    store = wiring.open_store(settings)
    store.journal.received(image(), at(0))
    wiring.open_spool(settings)
    opened = settings.storage.directory / place
    if not opened.exists():
        opened.mkdir()
    opened.chmod(0o750)
    done = CliRunner().invoke(app, ["check"], env=environ)
    assert done.exit_code == 1
    (line,) = [line for line in done.stdout.splitlines() if line[7:].startswith("permissions")]
    fault, _, command = line.partition("; run ")
    assert fault == f"FAULT  permissions: {opened} is open to other users"
    os.system(command)
    assert dict(check(settings))["permissions"] == ""


def test_a_database_elsewhere_is_named_by_itself(tmp_path: Path) -> None:
    """The command leaves the data directory alone where only the database is open; a link says nothing."""
    environ = {"HILUM__STORAGE__DIRECTORY": str(tmp_path / "data"), "HILUM__MODEL__BUNDLE": str(tmp_path),
               "HILUM__STORAGE__DATABASE": f"sqlite:///{tmp_path}/elsewhere.db"}  # fmt: skip
    settings = wiring.read_settings(None, environ)
    wiring.open_store(settings)
    (settings.storage.directory / "cache").symlink_to("/etc")
    (tmp_path / "elsewhere.db").chmod(0o604)
    assert dict(check(settings))["permissions"].endswith(f"; run chmod -R go= {tmp_path}/elsewhere.db")
    assert open_to_others([tmp_path / "absent"]) == []


@pytest.mark.timeout(300)
def test_the_daemon_closes_what_it_makes_and_dumps_no_core(tmp_path: Path, untrained: dict[str, str]) -> None:
    """Started with umask 0: the umask of each process is 077, and neither file nor pipe gets its memory."""
    before = os.umask(0)
    try:
        with Daemon(tmp_path / "hilum", [], **untrained) as daemon:
            for part, pid in daemon.parts().items():
                status, limits = (Path(f"/proc/{pid}/{name}").read_text() for name in ("status", "limits"))
                assert "\nUmask:\t0077\n" in status, part
                (core,) = [line for line in limits.splitlines() if line.startswith("Max core file size")]
                assert core.split()[4:6] == ["0", "0"], part
                assert int(Path(f"/proc/{pid}/coredump_filter").read_text(), 16) == 0, part
            assert open_to_others(with_contents(daemon.directory)) == []
    finally:
        os.umask(before)
