"""What the packages promise: an image without root, a health check, volumes; a rule that sends radiographs to us."""

import configparser
import contextlib
import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from config.sections import HttpSettings, StorageSettings
from daemon.parts.serve import STOP_SECONDS
from daemon.wiring import read_settings
from tests.conftest import ROOT, require, wait_for
from tests.support.peers import Orthanc, dx_file, free_port, run, running_orthanc, storescp

ORTHANC = ROOT / "packaging" / "orthanc"


@contextlib.contextmanager
def forwarding_orthanc(directory: Path, hilum_port: int) -> Iterator[Orthanc]:
    """Orthanc with the configuration and the rule that we ship; only places and ports are this machine's."""
    require("Orthanc", "dcmsend", "storescp")
    directory.mkdir()
    peer = Orthanc(free_port(), free_port())
    shipped = json.loads((ORTHANC / "orthanc.json").read_text())
    shipped["DicomModalities"]["hilum"].update(Host="127.0.0.1", Port=hilum_port)
    shipped |= {"DicomPort": peer.port, "HttpPort": peer.http, "LuaScripts": [str(ORTHANC / "route.lua")]}
    shipped |= {"StorageDirectory": str(directory), "IndexDirectory": str(directory), "Plugins": []}
    with running_orthanc(directory, peer, shipped):
        yield peer


def send(orthanc: Orthanc, file: Path) -> None:
    done = run("dcmsend", "-aec", "ORTHANC", "127.0.0.1", str(orthanc.port), file)
    assert done.returncode == 0, done.stdout


def states(orthanc: Orthanc) -> list[str]:
    return sorted(orthanc.get(f"/jobs/{job}")["State"] for job in orthanc.get("/jobs"))


def test_orthanc_forwards_each_radiograph_and_nothing_else(tmp_path: Path) -> None:
    """The rule sends a DX to hilum, and neither a result of hilum nor another modality."""
    require("storescp")
    with storescp(tmp_path / "hilum") as hilum, forwarding_orthanc(tmp_path / "orthanc", hilum.port) as orthanc:
        send(orthanc, dx_file(tmp_path / "ours.dcm", Manufacturer="hilum"))
        send(orthanc, dx_file(tmp_path / "other.dcm", Modality="OT"))
        send(orthanc, dx_file(tmp_path / "radiograph.dcm", Manufacturer="maker"))
        wait_for(lambda: states(orthanc) == ["Success"], 30, "one job, done")
        assert len(hilum.files()) == 1


def test_orthanc_sends_again_what_hilum_missed(tmp_path: Path) -> None:
    """A radiograph that came while hilum was away reaches it once hilum is back."""
    port = free_port()
    with forwarding_orthanc(tmp_path / "orthanc", port) as orthanc:
        send(orthanc, dx_file(tmp_path / "missed.dcm"))
        wait_for(lambda: states(orthanc) == ["Failure"], 30, "the job to fail")
        with storescp(tmp_path / "hilum", port=port) as hilum:
            send(orthanc, dx_file(tmp_path / "next.dcm"))
            wait_for(lambda: len(hilum.files()) == 2, 60, "both")


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions with their arguments, continued lines joined, comments gone."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n", " ", text).splitlines()
    return [(word.upper(), rest.strip()) for word, _, rest in (line.partition(" ") for line in lines) if word]


def last_stage() -> list[tuple[str, str]]:
    words = instructions()
    return words[max(i for i, (word, _) in enumerate(words) if word == "FROM") :]


def test_the_image_runs_without_root() -> None:
    """USER names somebody else than root, after the last instruction that needs root."""
    words = last_stage()
    users = [argument for word, argument in words if word == "USER"]
    assert users[-1:] == ["hilum"]
    assert "RUN" not in [word for word, _ in words[[word for word, _ in words].index("USER") :]]


def test_the_image_says_how_it_is() -> None:
    """A health check that asks /health on the port that is the default, the volume, the ports, the command."""
    words = dict(last_stage())
    assert f"http://127.0.0.1:{HttpSettings().port}/health" in words["HEALTHCHECK"]
    assert json.loads(words["VOLUME"]) == [str(StorageSettings().directory)]
    assert words["EXPOSE"].split() == ["11112", "8080"]
    assert (json.loads(words["ENTRYPOINT"]), json.loads(words["CMD"])) == (["hilum"], ["serve"])


def test_the_image_is_slim_and_built_from_what_is_let_in() -> None:
    """Two stages from a slim Python; each folder that is copied exists and .dockerignore lets it through."""
    stages = [argument for word, argument in instructions() if word == "FROM"]
    assert len(stages) == 2
    assert all(re.match(r"python:3\.1[1-9]-slim", stage) for stage in stages)
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {
        source
        for word, argument in instructions()
        if word == "COPY" and "--from" not in argument
        for source in argument.split()[:-1]
    }
    assert copied == let_in
    assert all((ROOT / source).exists() for source in copied)


CPU, GPU, TEST = (ROOT / "packaging" / f"requirements-{name}.lock" for name in ("cpu", "gpu", "test"))
#: What each lock is written for besides pyproject's own dependencies.
LOCKS = {CPU: (), GPU: (), TEST: ("test", "train")}


def locked(lock: Path) -> dict[str, tuple[str, int]]:
    """Version and number of hashes of each package of a lock, by canonical name."""
    entry = r"^([A-Za-z0-9._-]+)==(\S+) \\\n((?: +--hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)"
    found = re.findall(entry, lock.read_text(), re.MULTILINE)
    return {canonicalize_name(name): (version, hashes.count("--hash")) for name, version, hashes in found}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_the_lock_covers_what_we_depend_on(lock: Path) -> None:
    """Each dependency is locked to a version that pyproject.toml allows; each line of the lock has its hashes."""
    versions = locked(lock)
    lines = [line for line in lock.read_text().splitlines() if line and line[0] not in " #"]
    assert len(versions) == len(lines) > 40
    assert not [line for line in lines if "==" not in line]
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = [*pyproject["project"]["dependencies"], *pyproject["dependency-groups"]["image"]]
    wanted += [text for extra in LOCKS[lock] for text in pyproject["project"]["optional-dependencies"][extra]]
    for requirement in map(Requirement, [*wanted, *pyproject["build-system"]["requires"]]):
        assert requirement.specifier.contains(versions[canonicalize_name(requirement.name)][0]), requirement


def test_what_is_tested_is_what_ships() -> None:
    """The tests' lock has each package of the image in the image's version, and it is what make installs."""
    shipped, tested = locked(CPU), locked(TEST)
    assert {name: tested.get(name) for name in shipped} == shipped
    install = (ROOT / "packaging" / "install.sh").read_text()
    assert f"lock=packaging/{TEST.name}\n" in install
    assert '--require-hashes "${torch[@]}" --requirement "$lock"' in install


def test_make_says_what_it_can_make() -> None:
    """`make help` has a line for each target that is no file."""
    require("make")
    phony = re.search(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony
    named = re.findall(r"^make (\S+) +\S", run("make", "-C", str(ROOT), "help").stdout, re.MULTILINE)
    assert sorted(named) == sorted(phony[1].split())


def test_a_commit_is_checked_by_the_ruff_of_the_lock() -> None:
    """pre-commit's hooks and `make lint` judge alike."""
    hooks = (ROOT / ".pre-commit-config.yaml").read_text()
    assert set(re.findall(r"\bruff==([\d.]+)", hooks)) == {locked(TEST)["ruff"][0]}


def test_the_locks_differ_in_torch_alone() -> None:
    """The image for a GPU has torch's other build and what that needs; all else is the same."""
    cpu, gpu = ({name: version for name, (version, _) in locked(lock).items()} for lock in (CPU, GPU))
    assert (cpu["torch"], gpu["torch"]) == (f"{gpu['torch']}+cpu", cpu["torch"].removesuffix("+cpu"))
    differing = {name for name in cpu.keys() | gpu.keys() if cpu.get(name) != gpu.get(name)}
    assert all(name in ("torch", "triton") or name.startswith(("nvidia-", "cuda-")) for name in differing)


def test_the_image_installs_nothing_that_is_not_locked() -> None:
    """Every pip of the Dockerfile demands hashes, or installs our own source without reaching for more."""
    installs = [argument for word, argument in instructions() if word == "RUN" and "pip install" in argument]
    assert len(installs) == 2
    assert "--require-hashes" in installs[0]
    assert '--requirement "$LOCK"' in installs[0]
    assert installs[1].endswith("pip install --no-deps --no-build-isolation .")
    interpreter = re.search(r"--python-version (\S+)", (ROOT / "Makefile").read_text())
    assert interpreter
    stages = [argument for word, argument in instructions() if word == "FROM"]
    assert all(stage.startswith(f"python:{interpreter[1]}-slim") for stage in stages)


def compose_values(service: str, key: str) -> list[str]:
    """The scalars under `services.<service>.<key>`, by the indentation that compose.yaml keeps throughout."""
    text = (ROOT / "compose.yaml").read_text().split("\nservices:\n")[1]
    block = re.search(rf"^  {service}:\n((?:    .*\n|\n)+)", text, re.MULTILINE)
    assert block, service
    found = re.search(rf"^    {key}:(.*)\n((?:      .*\n)*)", block[1], re.MULTILINE)
    assert found, f"{service}.{key}"
    lines = [found[1], *found[2].splitlines()]
    return [line.strip().removeprefix("- ").strip("\"'") for line in lines if line.strip()]


def test_the_composition_fits_our_settings() -> None:
    """The environment that compose.yaml sets is a valid configuration, with Orthanc as peer and as destination."""
    environ = {}
    for line in compose_values("hilum", "environment"):
        name, _, value = line.partition(": ")
        environ[name] = value.strip("\"'")
    settings = read_settings(None, environ)
    shipped = json.loads((ORTHANC / "orthanc.json").read_text())
    assert settings.peer[0].ae_title == settings.destination[0].ae_title == shipped["DicomAet"]
    assert settings.destination[0].port == shipped["DicomPort"]
    assert shipped["DicomModalities"]["hilum"]["AET"] == settings.dicom.ae_title
    assert shipped["DicomModalities"]["hilum"]["Port"] == settings.dicom.port
    assert settings.storage.database.startswith("postgresql://")


def test_the_composition_opens_nothing_unprotected() -> None:
    """What has no login is bound to this machine; no password stands in the file."""
    for service in ("hilum", "orthanc"):
        for mapping in compose_values(service, "ports"):
            assert mapping.startswith("127.0.0.1:") or mapping == "4242:4242"
    secrets = [line for line in compose_values("postgres", "environment") if "PASSWORD" in line]
    assert secrets
    assert all("${HILUM_DB_PASSWORD:?" in line for line in secrets)


def test_the_files_that_the_composition_mounts_exist() -> None:
    """Each bind mount is a file of this repository."""
    mounts = [value.split(":")[0] for value in compose_values("orthanc", "volumes") if value.startswith("./")]
    assert mounts
    assert all((ROOT / mount).is_file() for mount in mounts)


def test_the_unit_runs_the_daemon_without_rights() -> None:
    """The unit starts `hilum serve` as a user, keeps to its own folder, and leaves time to finish."""
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read(ROOT / "packaging" / "hilum.service")
    service = unit["Service"]
    assert service["ExecStart"].endswith("/hilum serve --config /etc/hilum/hilum.toml")
    assert service["User"] == "hilum"
    assert (service["NoNewPrivileges"], service["ProtectSystem"]) == ("yes", "strict")
    assert (service["LimitCORE"], service["UMask"], service["StateDirectoryMode"]) == ("0", "0077", "0700")
    assert float(service["TimeoutStopSec"].removesuffix("s")) > STOP_SECONDS
