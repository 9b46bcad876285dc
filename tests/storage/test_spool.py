"""The spool: durable or not there, under names nobody outside chose."""

import hashlib
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pydicom
import pytest

from config.settings import Settings
from daemon.parts.receive import Reception
from daemon.runtime.shared import Shared
from dicom_io.network.errors import OutOfResources
from dicom_io.services.store_scp import Arrived
from storage.database import open_database
from storage.errors import DatabaseUnavailable, SpoolDamaged, SpoolUnavailable, UnsafeName
from storage.journal import Journal
from storage.spool import FAULT_POINTS, Spool
from tests.support.peers import dx_file

CONTENT = bytes(range(256)) * 1000


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool")


def arrive(spool: Spool, content: bytes = CONTENT) -> Path:
    file = spool.incoming / "tmpabc"
    file.write_bytes(content)
    return file


def files(spool: Spool) -> list[Path]:
    return [p for p in spool.directory.rglob("*") if p.is_file()]


def test_adopted_object_has_the_bytes_that_arrived(spool: Spool) -> None:
    """What is adopted is there under the given name, byte for byte, and nothing else is."""
    spooled = spool.adopt(arrive(spool))
    assert spool.path(spooled.name).read_bytes() == CONTENT
    assert (spooled.size, spooled.sha256) == (len(CONTENT), hashlib.sha256(CONTENT).hexdigest())
    assert spool.verified(spooled.name, spooled.sha256) == spool.path(spooled.name)
    assert files(spool) == [spool.path(spooled.name)]


def test_durable_in_the_right_order(tmp_path: Path) -> None:
    """The bytes are on the disk before the name is, and the name before `adopt` returns: seen by the system calls."""
    script = (
        "import sys; from pathlib import Path; from storage.spool import Spool\n"
        "spool = Spool(Path(sys.argv[1])); file = spool.incoming / 'x'; file.write_bytes(b'abc')\n"
        "calls = []\n"
        "def hook(event, arguments):\n"
        "    if event in ('os.link', 'os.rename'): calls.append(event)\n"
        "sys.addaudithook(hook)\n"
        "import os; real = os.fsync\n"
        "def fsync(descriptor):\n"
        "    calls.append('directory' if os.path.isdir(f'/proc/self/fd/{descriptor}') else 'file'); real(descriptor)\n"
        "os.fsync = fsync\n"
        "spool.adopt(file); print(*calls)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, tmp_path], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["os.link", "file", "os.rename", "directory"]


@pytest.mark.parametrize("point", FAULT_POINTS)
def test_an_error_leaves_nothing_half_written(tmp_path: Path, point: str) -> None:
    """An error at any point: no part, no object; the incoming file is still the caller's."""

    def fault(here: str) -> None:
        if here == point:
            raise OSError(28, "no space")

    spool = Spool(tmp_path, fault)
    file = arrive(spool)
    with pytest.raises(SpoolUnavailable, match="full"):
        spool.adopt(file)
    assert files(spool) == [file]


@pytest.mark.parametrize("point", FAULT_POINTS)
def test_kill_leaves_the_old_state_or_the_new(tmp_path: Path, point: str) -> None:
    """SIGKILL at any point: after the sweep there is the whole object, or none, and nothing else."""
    script = (
        "import os, signal, sys; from pathlib import Path; from storage.spool import Spool\n"
        "fault = lambda here: here == sys.argv[2] and os.kill(os.getpid(), signal.SIGKILL)\n"
        "spool = Spool(Path(sys.argv[1]), fault); file = spool.incoming / 'x'; file.write_bytes(b'abc' * 1000)\n"
        "spool.adopt(file)\n"
    )
    killed = subprocess.run([sys.executable, "-c", script, tmp_path, point], check=False)
    assert killed.returncode == -signal.SIGKILL
    spool = Spool(tmp_path)
    assert spool.sweep(known=lambda name: True) == []
    renamed = FAULT_POINTS.index(point) > FAULT_POINTS.index("spool.adopt:before-rename")
    assert [p.read_bytes() for p in files(spool)] == ([b"abc" * 1000] if renamed else [])


def test_sweep_removes_what_the_journal_does_not_know(spool: Spool) -> None:
    """At start only acknowledged objects stay: incoming files, parts and unknown objects go."""
    kept, unknown = spool.adopt(arrive(spool, b"kept")), spool.adopt(arrive(spool, b"unknown"))
    arrive(spool)
    spool.path(kept.name).with_name("0" * 32 + ".part").write_bytes(b"half")
    assert spool.sweep(lambda name: name == kept.name) == [unknown.name]
    assert files(spool) == [spool.path(kept.name)]


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "objects/aa/../../x.dcm", "incoming/x", "", "\0"])
def test_no_name_leaves_the_spool(spool: Spool, name: str) -> None:
    """Only names that the spool gave out become paths."""
    for use in (spool.path, spool.remove, lambda n: spool.verified(n, "")):
        with pytest.raises(UnsafeName):
            use(name)


def test_missing_and_altered_objects_are_noticed(spool: Spool) -> None:
    """An object that is gone or was changed is never given out as what was received."""
    spooled = spool.adopt(arrive(spool))
    path = spool.path(spooled.name)
    path.write_bytes(b"x" + CONTENT[1:])
    with pytest.raises(SpoolDamaged, match="altered"):
        spool.verified(spooled.name, spooled.sha256)
    path.unlink()
    with pytest.raises(SpoolDamaged, match="missing"):
        spool.verified(spooled.name, spooled.sha256)
    spool.remove(spooled.name)


def test_full_disk_is_trouble_that_passes(tmp_path: Path) -> None:
    """A disk that is really full refuses with `SpoolUnavailable`, leaves nothing, and works again with room."""
    small = tmp_path / "small"
    small.mkdir()
    options = ["mount", "-t", "tmpfs", "-o", "size=4m,nr_inodes=300", "tmpfs", str(small)]
    if os.geteuid() != 0 or subprocess.run(options, check=False, capture_output=True).returncode:
        pytest.skip("needs the right to mount a small file system")
    try:
        spool = Spool(small)
        file = arrive(spool)
        for number in range(300):
            with suppress(OSError):
                (small / f"filler{number}").touch()
        with pytest.raises(SpoolUnavailable, match="full"):
            spool.adopt(file)
        for filler in small.glob("filler*"):
            filler.unlink()
        assert files(spool) == [file]
        spooled = spool.adopt(file)
        assert spool.verified(spooled.name, spooled.sha256)
        assert 0 < spool.free_bytes() < 4 << 20
    finally:
        subprocess.run(["umount", small], check=True)


def test_a_doubted_object_goes_when_no_row_knows_it(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """An object whose commit was not answered stays for a while, then goes unless the journal knows it."""
    kept, orphan = (spool.adopt(arrive(spool, content)).name for content in (b"kept", b"orphan"))
    spool.doubt(kept)
    spool.doubt(orphan)
    spool.settle(lambda name: name == kept)
    assert len(files(spool)) == 2, "removed while its commit may still take effect"

    def gone(_name: str) -> bool:
        raise DatabaseUnavailable("gone")

    monkeypatch.setattr("storage.spool.DOUBT_SECONDS", 0.0)
    with pytest.raises(DatabaseUnavailable):
        spool.settle(gone)
    spool.settle(lambda name: name == kept)
    assert files(spool) == [spool.path(kept)]
    spool.settle(gone)  # nothing is doubted any more: the journal is not asked


def test_an_object_whose_commit_failed_is_cleared_up_by_a_later_arrival(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The receiving line doubts what the journal could not take, and removes it once another object comes."""
    away = True

    def fault(point: str) -> None:
        if away and point == "journal.received:before-commit":
            raise DatabaseUnavailable("full")

    spool, journal = Spool(tmp_path / "spool"), Journal(open_database("", tmp_path), fault)
    settings = Settings()
    reception = Reception(settings, journal, spool, Shared.of(settings, lambda: settings))

    def receive() -> None:
        file = dx_file(spool.incoming / "arrived", 16, 16)
        header = pydicom.dcmread(file)
        arrived = Arrived(file, header.SOPClassUID, header.SOPInstanceUID, header.file_meta.TransferSyntaxUID,
                          "MODALITY", "127.0.0.1", 1)  # fmt: skip
        reception.store(arrived)

    with pytest.raises(OutOfResources):
        receive()
    (spool.incoming / "arrived").unlink(missing_ok=True)
    assert len(files(spool)) == 1
    away = False
    monkeypatch.setattr("storage.spool.DOUBT_SECONDS", 0.0)
    receive()
    assert [journal.knows(file.relative_to(spool.directory).as_posix()) for file in files(spool)] == [True]
