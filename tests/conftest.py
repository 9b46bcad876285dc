"""What every test may ask for: real peers, the shared data, free ports, and a wait on a condition."""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

ROOT = Path(__file__).resolve().parent.parent
T = TypeVar("T")
#: Where real peers are looked for: in no virtual environment, where pynetdicom puts its own storescp.
PEER_PATH = os.pathsep.join(
    folder for folder in [*os.environ.get("PATH", "").split(os.pathsep), "/usr/sbin", "/usr/local/sbin"]
    if not (Path(folder).parent / "pyvenv.cfg").is_file()
)  # fmt: skip


def shared_path() -> Path | None:
    """The folder with real radiographs and validators, or None where it is absent."""
    path = Path(os.environ.get("HILUM_SHARED") or ROOT.parent / "shared")
    return path if path.is_dir() else None


@pytest.fixture(scope="session")
def shared() -> Path:
    path = shared_path()
    if path is None:
        pytest.skip("the folder with real radiographs is absent (HILUM_SHARED, or ../shared)")
    return path


def require(*programs: str) -> None:
    """Skip where a real peer's program is absent; under CI=true that is a failure."""
    absent = [p for p in programs if not shutil.which(p, path=PEER_PATH)]
    if absent:
        stop = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        stop(f"not installed: {', '.join(absent)}")


def wait_for(condition: Callable[[], T], seconds: float = 30.0, what: str = "the condition") -> T:
    """The first truthy value of `condition`, or a failure that names what was awaited."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    pytest.fail(f"waited {seconds:g} s for {what}")


@pytest.fixture(scope="session")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A small bundle with random weights, as the settings that let the daemon run it."""
    from tests.support.bundles import as_settings
    from tests.support.untrained import write_untrained

    return as_settings(write_untrained(tmp_path_factory.mktemp("bundle") / "untrained", size=64))
