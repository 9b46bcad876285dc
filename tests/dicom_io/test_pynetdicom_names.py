"""The private names of pynetdicom and pydicom that we use exist, and the table of them is complete."""

import ast
import importlib
import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pynetdicom import AE, fsm
from pynetdicom.association import Association
from pynetdicom.transport import AddressInformation, AssociationSocket

from dicom_io.network.pynetdicom_names import EVENTS, PRIVATE_NAMES, STATES, PrivateName
from tests.conftest import ROOT

ROOMS = ("config", "storage", "dicom_io", "inference", "daemon")
TABLE = Path("dicom_io/network/pynetdicom_names.py")
# where an object may be one of pynetdicom's: there, no other object's private attributes are touched
NETWORK = sorted([*(ROOT / "dicom_io/network").glob("*.py"), *(ROOT / "dicom_io/services").glob("*.py")])


# --- what pynetdicom has -----------------------------------------------------------------------------------------


@pytest.fixture
def instances() -> Iterator[dict[str, object]]:
    """Return an instance of each class that the table names: many attributes are set by the constructor."""
    association = Association(AE("TEST"), "requestor")
    connection = AssociationSocket(association, address=AddressInformation("127.0.0.1", 0))
    yield {type(each).__name__: each for each in (association, association.dul, connection)}
    connection.socket.close()


@pytest.mark.parametrize("row", PRIVATE_NAMES, ids=lambda row: f"{row.owner}.{row.name}")
def test_the_installed_library_has_the_name(row: PrivateName, instances: dict[str, object]) -> None:
    """Each name of the table exists in the installed version, on the module or the instance that the table names."""
    module, _, class_name = row.owner.partition(":")
    owner: object = importlib.import_module(module)
    if class_name:
        assert isinstance(instances[class_name], getattr(owner, class_name))
        owner = instances[class_name]
    assert hasattr(owner, row.name)


@pytest.mark.parametrize(("known", "ours"), [(fsm.STATES, STATES), (fsm.EVENTS, EVENTS)], ids=["states", "events"])
def test_states_and_events_mean_what_we_take_them_for(known: dict[str, str], ours: dict[str, str]) -> None:
    """The state machine has each state and event that we name, with the same meaning."""
    assert {name: known.get(name) for name in ours} == ours


# --- what we use -------------------------------------------------------------------------------------------------


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def imported_names(tree: ast.AST) -> set[str]:
    """Return the private names that a module imports from pynetdicom and pydicom, private modules included."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            paths = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            paths = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for path in paths:
            first, *rest = path.split(".")
            found |= {name for name in rest if first in ("pynetdicom", "pydicom") and is_private(name)}
    return found


def own_attributes(tree: ast.AST) -> Iterator[ast.Attribute]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in ("self", "cls"):
            yield node


def inherited_names(cls: type) -> set[str]:
    """Return the private names that pynetdicom's classes among the bases of `cls` define or set on `self`."""
    found: set[str] = set()
    for base in cls.__mro__:
        if base.__module__.split(".")[0] == "pynetdicom":
            source = ast.parse(textwrap.dedent(inspect.getsource(base)))
            found |= set(vars(base)) | {node.attr for node in own_attributes(source)}
    return {name for name in found if is_private(name)}


def attribute_names(tree: ast.AST, namespace: dict[str, Any]) -> set[str]:
    """Return the private names that a module uses of other objects, or overrides or shares with a pynetdicom base.

    `namespace` is that of the module, where its classes are found.
    """
    own = {id(node) for node in own_attributes(tree)}
    found = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and is_private(node.attr) and id(node) not in own
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            mine = {n.attr for n in own_attributes(node)}
            for statement in node.body:
                targets = statement.targets if isinstance(statement, ast.Assign) else [statement]
                mine |= {getattr(t, "id", getattr(t, "name", "")) for t in targets}
            found |= mine & inherited_names(namespace[node.name])
    return found


def module_at(path: Path) -> ModuleType:
    return importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"))


def used_names() -> set[str]:
    """Return every private name of the two libraries in our source code."""
    found: set[str] = set()
    for path in (path for room in ROOMS for path in (ROOT / room).rglob("*.py")):
        found |= imported_names(ast.parse(path.read_text()))
    for path in NETWORK:
        found |= attribute_names(ast.parse(path.read_text()), vars(module_at(path)))
    return found


def test_the_table_is_complete_and_holds_nothing_else() -> None:
    """Every private name that our code uses is in the table, and every name in the table is used."""
    assert used_names() == {row.name for row in PRIVATE_NAMES}


def test_only_the_network_modules_import_pynetdicom() -> None:
    """No module outside dicom_io/network and dicom_io/services can hold an object of pynetdicom."""
    for path in (path for room in ROOMS for path in (ROOT / room).rglob("*.py") if path not in NETWORK):
        assert not re.search(r"^\s*(from|import) pynetdicom\b", path.read_text(), re.MULTILINE), path


def test_every_state_and_event_is_in_the_table() -> None:
    """The state and event names in our code are those of the table."""
    constants = (
        node.value
        for path in NETWORK
        if path != ROOT / TABLE
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )
    assert {text for text in constants if re.fullmatch(r"(Sta|Evt)\d+", text)} == set(STATES) | set(EVENTS)


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from pynetdicom import _config", {"_config"}),
        ("import pynetdicom._globals", {"_globals"}),
        ("from pynetdicom.dimse import _RQ_TO_MESSAGE", {"_RQ_TO_MESSAGE"}),
        ("def f(assoc): return assoc.dul._idle_timer", {"_idle_timer"}),
        ("class A(Dul):\n    def f(self): self._kill_thread = self._ours = True", {"_kill_thread"}),
        ("class A(Dul):\n    def _decode_pdu(self, data): return self._ours", {"_decode_pdu"}),
        ("class A(Dul):\n    def _ours(self): ...", set()),
        ("class A:\n    def f(self): return self._kill_thread", set()),
        ("from os import _exit", set()),
    ],
)
def test_the_search_finds_private_names(source: str, found: set[str]) -> None:
    """Imports, attributes of other objects and names shared with a base class are found; names of our own are not."""
    namespace: dict[str, Any] = {}
    exec(f"from pynetdicom.dul import DULServiceProvider as Dul\n{source}", namespace)
    tree = ast.parse(source)
    assert imported_names(tree) | attribute_names(tree, namespace) == found
