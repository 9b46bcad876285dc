"""Who may import whom, how large a module may be, and what `hilum audit` must not load."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ALLOWED = {
    "config": set(),
    "storage": {"config"},
    "dicom_io": {"config"},
    "inference": {"config"},
    "daemon": {"config", "storage", "dicom_io", "inference"},
}
FOREIGN = {
    "config": {"sqlalchemy", "pydicom", "pynetdicom", "torch", "monai", "openvino", "structlog"},
    "storage": {"pydicom", "pynetdicom", "torch", "monai", "openvino", "numpy", "structlog", "logging"},
    "dicom_io": {"sqlalchemy", "torch", "monai", "openvino", "structlog", "logging"},
    "inference": {"pydicom", "pynetdicom", "sqlalchemy", "structlog", "logging"},
    "daemon": {"torch", "monai", "openvino", "pydicom", "pynetdicom"},
}
MODULES = sorted(p for room in ALLOWED for p in (ROOT / room).rglob("*.py") if "versions" not in p.parts)


def imported(path: Path) -> set[str]:
    """The top-level names that a module imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_room_imports_only_what_it_may(path: Path) -> None:
    """Leaves never import each other nor the daemon, and no room reaches for another's libraries."""
    room = path.relative_to(ROOT).parts[0]
    names = imported(path)
    assert names & set(ALLOWED) <= ALLOWED[room] | {room}
    assert not names & FOREIGN[room]


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_room_is_small(path: Path) -> None:
    """Modules stay within about 250 lines and functions within about 40."""
    text = path.read_text()
    assert len(text.splitlines()) <= 270
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < 50, f"{node.name} is too long"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_only_the_daemon_asks_the_time(path: Path) -> None:
    """`now` is passed in: no leaf calls a wall clock."""
    if path.relative_to(ROOT).parts[0] == "daemon":
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and node.attr in ("now", "utcnow", "today"):
            assert not (isinstance(node.value, ast.Name) and node.value.id in ("datetime", "date")), node.lineno


def test_the_audit_command_loads_no_torch() -> None:
    """An administrator's query answers at once."""
    heavy = "{'torch', 'monai', 'pydicom', 'openvino'}"
    code = f"import sys, daemon.cli.main, daemon.cli.audit; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
