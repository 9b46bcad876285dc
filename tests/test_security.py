"""What our own code never does: start a shell, unpickle, evaluate text. And the threat model names tests that exist."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

ROOMS = ("config", "storage", "dicom_io", "inference", "daemon")
MODULES = sorted(p for room in ROOMS for p in (ROOT / room).rglob("*.py"))
# a program of its own, which gives up network, programs and files before it opens anything
UNPICKLER = ROOT / "inference" / "importing" / "unpickle.py"
EVALUATING = {"eval", "exec", "compile", "__import__", "input"}
SHELLS = {"os.system", "os.popen", "os.spawnl", "os.spawnv", "pty.spawn", "subprocess.getoutput",
          "subprocess.getstatusoutput"}  # fmt: skip
PROGRAMS = {"subprocess.run", "subprocess.Popen", "subprocess.call", "subprocess.check_call", "subprocess.check_output"}
UNSAFE_MODULES = {"pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "yaml", "code"}


def offences(source: str) -> Iterator[str]:
    """What in this source starts a shell, unpickles or evaluates text."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            yield from (f"imports {name}" for name in names if name.split(".")[0] in UNSAFE_MODULES)
        if isinstance(node, ast.Call):
            yield from _of_call(ast.unparse(node.func), node)


def _of_call(name: str, call: ast.Call) -> Iterator[str]:
    options = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
    if name in EVALUATING | SHELLS:
        yield f"calls {name}"
    if options.get("shell", "False") != "False":
        yield "shell=True"
    if name in PROGRAMS and not (call.args and isinstance(call.args[0], ast.List | ast.Name)):
        yield f"{name} of a text, not of a list of words"
    if name == "torch.load" and options.get("weights_only") != "True":
        yield "torch.load without weights_only=True"
    if options.get("allow_pickle", "False") != "False":
        yield "allow_pickle=True"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_shell_no_pickle_no_evaluation(path: Path) -> None:
    """No module of ours does it but the one program that is there to unpickle."""
    found = set(offences(path.read_text()))
    allowed = {"imports pickle", "torch.load without weights_only=True"} if path == UNPICKLER else set()
    assert found == allowed


@pytest.mark.parametrize(
    "source",
    [
        "subprocess.run('ls', shell=True)", "subprocess.run(f'ls {name}')", "os.system('ls')", "eval(text)",
        "import pickle",
        "from pickle import loads", "exec(text)", "torch.load(path)", "torch.load(path, weights_only=False)",
        "np.load(path, allow_pickle=True)", "import yaml",
    ],
)  # fmt: skip
def test_the_search_finds_what_it_looks_for(source: str) -> None:
    """Each thing that is forbidden is seen."""
    assert list(offences(source))


def test_the_unpickler_is_a_program_of_its_own() -> None:
    """Nothing imports it: what it opens is opened in another process."""
    for path in MODULES:
        names = {alias.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)
                 for alias in node.names if node.module == "inference.importing"}  # fmt: skip
        assert "unpickle" not in names
        assert "import inference.importing.unpickle" not in path.read_text()


NAMED = sorted(set(re.findall(r"`tests/([\w/]+\.py)::(test_\w+)`", (ROOT / "docs" / "security.md").read_text())))


def test_the_threat_model_shows_its_proofs() -> None:
    """docs/security.md names tests for what it claims."""
    assert len(NAMED) > 40


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_a_proof_exists(file: str, name: str) -> None:
    """Each test that docs/security.md names is there."""
    assert re.search(rf"^def {name}\(", (ROOT / "tests" / file).read_text(), re.MULTILINE)
