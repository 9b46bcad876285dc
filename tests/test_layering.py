"""Who may import whom, how large modules and functions may be, and what `hilum audit` must not load."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from statistics import median

import pytest

from tests.conftest import ROOT

#: Which rooms a room may import.
ROOMS = {
    "config": set(),
    "storage": {"config"},
    "dicom_io": {"config"},
    "inference": {"config"},
    "daemon": {"config", "storage", "dicom_io", "inference"},
}
#: Which libraries a room must not import.
FOREIGN = {
    "config": {"sqlalchemy", "alembic", "pydicom", "pynetdicom", "torch", "monai", "openvino", "structlog"},
    "storage": {"pydicom", "pynetdicom", "torch", "monai", "openvino", "numpy", "structlog", "logging"},
    "dicom_io": {"sqlalchemy", "alembic", "torch", "monai", "openvino", "structlog", "logging"},
    "inference": {"pydicom", "pynetdicom", "sqlalchemy", "alembic", "structlog", "logging"},
    "daemon": {"torch", "monai", "openvino", "pydicom", "pynetdicom", "sqlalchemy", "alembic"},
}
#: Inside a room: which places a place may import. A place is a folder, or a module beside the folders by its own name;
#: "." stands for all modules beside the folders that are not named.
PLACES = {
    "dicom_io": {
        ".": set(),
        "network": {"."},
        "services": {"network", "."},
        "image": {"."},
        "composite": {"."},
        "results": {"composite", "."},
        "audit": set(),
        "phantom": {"."},
    },
    "inference": {
        "files": set(),
        ".": {"files"},
        "serving": {"files", "."},
        "workflow": {"."},
        "bundle_writer": {"serving", "workflow", "files", "."},
        "importing": {"bundle_writer", "files", "."},
        "evaluation": {"serving", "files", "."},
        "training": {"importing", "evaluation", "serving", "bundle_writer", "files", "."},
        "registry": {"training", "."},
    },
    "storage": {
        ".": set(),
        "queries": {"."},
        "feedback": {"queries", "."},
        "journal": {"feedback", "."},
        "store": {"journal", "queries", "feedback", "."},
        "migrations": {"."},
    },
}
#: In the daemon a place may import those that stand after it: that is the order in which it calls.
DAEMON = (
    "__main__", "cli", "parts", "web", "syslog", "wiring", "alerting", "delivery", "pipeline", "comparison", "analysis",
    "outputs", "translate", "channel", "runtime", "decisions", "retries",
)  # fmt: skip
PLACES["daemon"] = {place: set(DAEMON[number + 1 :]) for number, place in enumerate(DAEMON)}

MODULES = sorted(p for room in ROOMS for p in (ROOT / room).rglob("*.py") if "versions" not in p.parts)
MOST_FILES, LONGEST_MODULE, LONGEST_FUNCTION, LONGEST_MEDIAN = 16, 270, 45, 10


def label(path: Path) -> str:
    return str(path.relative_to(ROOT))


def name_of(path: Path) -> str:
    """The name under which a module is imported."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imported(path: Path) -> set[str]:
    """The full names of what a module imports, anywhere in it: "a.b" and "a.b.c" for `from a.b import c`."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


KNOWN = {name_of(path): path for path in MODULES}


def place_of(path: Path) -> str:
    """The folder inside the room that a module is in; its own name, or ".", where it is in none."""
    room, *rest = path.relative_to(ROOT).parts
    if len(rest) > 1:
        return rest[0]
    return Path(rest[0]).stem if Path(rest[0]).stem in PLACES.get(room, {}) else "."


@pytest.mark.parametrize("path", MODULES, ids=label)
def test_a_room_imports_only_what_it_may(path: Path) -> None:
    """Leaves never import each other nor the daemon, and no room imports another room's libraries."""
    room = path.relative_to(ROOT).parts[0]
    tops = {name.split(".")[0] for name in imported(path)}
    assert tops & set(ROOMS) <= ROOMS[room] | {room}
    assert not tops & FOREIGN[room]


@pytest.mark.parametrize("path", MODULES, ids=label)
def test_imports_name_the_whole_path(path: Path) -> None:
    """A relative import would pass by the tables."""
    nodes = ast.walk(ast.parse(path.read_text()))
    assert [node.lineno for node in nodes if isinstance(node, ast.ImportFrom) and node.level] == []


@pytest.mark.parametrize("path", [p for p in MODULES if p.relative_to(ROOT).parts[0] in PLACES], ids=label)
def test_a_folder_imports_only_what_it_may(path: Path) -> None:
    """Inside a room imports run one way, as the table says."""
    room, place = path.relative_to(ROOT).parts[0], place_of(path)
    if path.name == "__init__.py" and place == ".":
        return
    own = {KNOWN[name] for name in imported(path) if name in KNOWN and name.startswith(f"{room}.")}
    places = {place_of(other) for other in own} - {place}
    assert places <= PLACES[room][place], f"{label(path)} is in {place!r} and imports {places}"


def test_every_folder_has_its_place_in_the_table() -> None:
    """A new folder is not forgotten here, and none that is gone stays."""
    for room, places in PLACES.items():
        folders = {p.name for p in (ROOT / room).iterdir() if (p / "__init__.py").is_file()}
        named = {place for place in places if (ROOT / room / place).is_dir() and place != "."}
        assert folders | ({"migrations"} if room == "storage" else set()) == named, room


def test_no_modules_import_each_other_in_a_circle() -> None:
    """The imports of all modules, those inside functions included, can be put in one order."""
    graph = {name: {n for n in imported(path) if n in KNOWN and n != name} for name, path in KNOWN.items()}
    for name in graph:  # importing a package runs its __init__, which the journal's is made of
        graph[name] -= {".".join(name.split(".")[:-1])}
    assert list(TopologicalSorter(graph).static_order())


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Name and number of lines of each function of a module."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno:
            yield node.name, node.end_lineno - node.lineno + 1


@pytest.mark.parametrize("path", MODULES, ids=label)
def test_a_module_is_small(path: Path) -> None:
    """A module and its functions can be read at one sitting."""
    assert len(path.read_text().splitlines()) <= LONGEST_MODULE
    assert [name for name, lines in functions(path) if lines > LONGEST_FUNCTION] == []


def test_most_functions_are_short() -> None:
    """The median function has fewer than ten lines."""
    assert median(lines for path in MODULES for _, lines in functions(path)) < LONGEST_MEDIAN


def test_no_folder_is_crowded() -> None:
    """At most sixteen files stand beside each other, so that the tree answers where a thing is."""
    for folder in {path.parent for path in MODULES}:
        assert len([file for file in folder.iterdir() if file.is_file()]) <= MOST_FILES, folder


@pytest.mark.parametrize("path", MODULES, ids=label)
def test_only_the_daemon_asks_the_time(path: Path) -> None:
    """`now` is passed in: no leaf calls a wall clock."""
    if path.relative_to(ROOT).parts[0] == "daemon":
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and node.attr in ("now", "utcnow", "today"):
            assert not (isinstance(node.value, ast.Name) and node.value.id in ("datetime", "date")), node.lineno


def test_classes_have_names_of_their_own() -> None:
    """No two classes share a name, so that a name in a traceback or a search means one thing."""
    seen: dict[str, str] = {}
    for path in MODULES:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef):
                assert node.name not in seen, f"{node.name}: {label(path)} and {seen[node.name]}"
                seen[node.name] = label(path)


def test_the_audit_command_loads_no_torch() -> None:
    """An administrator's query answers at once."""
    heavy = "{'torch', 'monai', 'pydicom', 'openvino'}"
    code = f"import sys, daemon.cli.main, daemon.cli.audit; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
