"""The pages say what the code does: every key, every command, every SOP class, transfer syntax and status."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from pydicom.uid import UID

from config.alerting import NOTIFIER_TYPES, AlertSettings
from config.models import ModelSettings
from config.sections import PeerSettings, Section
from config.settings import Settings
from daemon.cli.main import app
from daemon.delivery.destinations import TYPES
from dicom_io.composite import codes
from dicom_io.image.compression.codecs import readable_transfer_syntaxes
from dicom_io.network import application_entity, errors
from dicom_io.network.admission import CALLED_AE_TITLE, CALLING_AE_TITLE, CONGESTED, TOO_MANY
from dicom_io.network.statuses import Status
from dicom_io.radiographs import RADIOGRAPH_SOP_CLASSES
from dicom_io.services import store_scp
from storage.records import State
from tests.conftest import ROOT
from tests.support.peers import RESULT_SOP_CLASSES

DOCS = ROOT / "docs"
LOGGERS = {f"log.get().{level}" for level in ("debug", "info", "warning", "error")}
TOP_PAGES = [ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "SECURITY", "CHANGELOG")]
PAGES = [*TOP_PAGES, *sorted(DOCS.glob("*.md")), *sorted((DOCS / "decisions").glob("*.md"))]


def sections() -> Iterator[tuple[str, tuple[type[Section], ...]]]:
    """Yield heading and models of each section; the heading of a table that may repeat has double brackets."""
    repeating = {
        "peer": (PeerSettings,),
        "destination": (TYPES["dicom"].settings,),
        "model": (ModelSettings,),
        "alert": (AlertSettings,),
        "notifier": tuple(NOTIFIER_TYPES.values()),
    }
    for name, field in Settings.model_fields.items():
        if name in repeating:
            yield f"## [[{name}]]", repeating[name]
        else:
            yield f"## [{name}]", (field.annotation,)  # type: ignore[misc]


def rows(heading: str) -> dict[str, str]:
    """Return the rows of the table under a heading of configuration.md, by key."""
    text = (DOCS / "configuration.md").read_text()
    assert f"\n{heading}\n" in text, heading
    part = text.split(f"\n{heading}\n")[1].split("\n## ")[0]
    return {match[1]: match[0] for match in re.finditer(r"^\| `(\w+)` \|.*$", part, re.MULTILINE)}


def written(value: object) -> str:
    """Return a default as it is written in TOML."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list):
        return "[" + ", ".join(written(v) for v in value) + "]"
    return f'"{value}"' if isinstance(value, str | Path) else str(value)


@pytest.mark.parametrize(("heading", "models"), list(sections()))
def test_every_key_is_documented_with_its_default(heading: str, models: tuple[type[Section], ...]) -> None:
    """docs/configuration.md has a row for each key of the code, with the code's default, and no other row."""
    table = rows(heading)
    fields = {field.alias or name: field for model in models for name, field in model.model_fields.items()}
    assert set(table) == set(fields)
    for name, field in fields.items():
        default = "required" if field.is_required() else f"`{written(field.default)}`"
        if isinstance(field.default, Section):
            default = "[select]"
        assert table[name].split(" | ")[1] == default, name


def test_no_section_is_missing_or_left_over() -> None:
    """The headings of docs/configuration.md in brackets are the sections of the code."""
    headings = re.findall(r"^## \[.*$", (DOCS / "configuration.md").read_text(), re.MULTILINE)
    assert headings == [heading for heading, _ in sections()]


def commands() -> list[str]:
    """Return every command of `hilum`, for example "audit studies"."""

    def walk(group: object, path: str) -> Iterator[str]:
        for name, command in getattr(group, "commands", {}).items():
            if hasattr(command, "commands"):
                yield from walk(command, f"{path}{name} ")
            else:
                yield f"{path}{name}"

    return list(walk(typer.main.get_command(app), ""))


@pytest.mark.parametrize("command", commands())
def test_every_command_is_documented(command: str) -> None:
    """docs/operations.md has a row for each command."""
    assert re.search(rf"^\| `hilum {command}\b", (DOCS / "operations.md").read_text(), re.MULTILINE), command


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_command_is_invented(page: Path) -> None:
    """A command, or an option of `hilum` itself, that a page names exists."""
    options = {name for option in typer.main.get_command(app).params for name in option.opts}
    known = {command.split()[0] for command in commands()} | options | {"--help"}
    text = page.read_text()
    spans = re.findall(r"`([^`\n]+)`", text)
    lines = [line for block in re.findall(r"```\w*\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    for name in re.findall(r"^(?:\.venv/bin/|/opt/hilum/bin/)?hilum ([a-z-]+)", "\n".join(spans + lines), re.MULTILINE):
        assert name in known, f"{name_of(page)}: hilum {name}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_somewhere(page: Path) -> None:
    """A link to a file of this repository leads to a file that exists, and a link to a heading to a heading."""
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in headings}, target


def events() -> set[str]:
    """Return the names of the log events: the texts in the first argument of each `log.get().info(...)` in daemon."""
    found = set()
    for path in (ROOT / "daemon").rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call) and ast.unparse(call.func) in LOGGERS:
                found |= {n.value for n in ast.walk(call.args[0]) if isinstance(n, ast.Constant)}
    return found


@pytest.mark.parametrize("event", sorted(events()))
def test_every_event_of_the_log_is_explained(event: str) -> None:
    """docs/operations.md says what each event of the log means."""
    assert f"`{event}`" in (DOCS / "operations.md").read_text()


@pytest.mark.parametrize("state", State)
def test_every_state_is_explained(state: State) -> None:
    """docs/architecture.md and docs/operations.md name each state."""
    for name in ("architecture.md", "operations.md"):
        assert f"`{state}`" in (DOCS / name).read_text()


# --- the conformance statement -----------------------------------------------------------------------------------


def conformance() -> str:
    return (DOCS / "conformance.md").read_text()


@pytest.mark.parametrize("uid", [UID(uid) for uid in RADIOGRAPH_SOP_CLASSES + RESULT_SOP_CLASSES])
def test_every_sop_class_is_stated(uid: str) -> None:
    """The conformance statement names each SOP class that hilum receives or sends, with its UID."""
    assert f"| {getattr(uid, 'name', '')} | {uid} |" in conformance()


def test_the_services_are_stated() -> None:
    """The conformance statement holds the UIDs of Verification and Storage Commitment."""
    for uid in (store_scp.Verification, store_scp.StorageCommitmentPushModel):
        assert uid in conformance()


@pytest.mark.parametrize("uid", readable_transfer_syntaxes())
def test_every_transfer_syntax_is_stated(uid: str) -> None:
    """The conformance statement lists each transfer syntax that hilum accepts."""
    assert f"| {uid} |" in conformance()


def test_no_transfer_syntax_is_promised_that_is_not_read() -> None:
    """The table of accepted transfer syntaxes lists only what the installed decoders read."""
    table = conformance().split("### Transfer syntaxes accepted\n")[1].split("\n#")[0]
    assert set(re.findall(r"\| (1\.2\.840\.10008\.1\.2[\d.]*) \|", table)) == set(readable_transfer_syntaxes())


@pytest.mark.parametrize("status", Status, ids=lambda status: status.name)
def test_every_status_is_stated(status: Status) -> None:
    """The conformance statement holds each status that hilum answers or understands, as a hexadecimal number."""
    assert re.search(rf"\b{status:04X}\b", conformance()), status.name


def test_every_refusal_is_stated_as_an_answer() -> None:
    """The table of answers to C-STORE has each refusal that the network code can raise for it."""
    table = conformance().split("### Answers to C-STORE\n")[1].split("\n### ")[0]
    for refusal in (errors.OutOfResources, errors.ObjectMismatch, errors.CannotUnderstand, errors.InstanceConflict,
                    errors.ObjectTooLarge, errors.SopClassNotSupported, errors.ProcessingFailure):  # fmt: skip
        assert f"| {refusal.status:04X} |" in table, refusal.__name__


def test_the_rejections_are_stated() -> None:
    """The conformance statement holds result, source and reason of each rejection of an association."""
    for rejection in (CALLED_AE_TITLE, CALLING_AE_TITLE, TOO_MANY, CONGESTED):
        assert f"| {rejection.result} | {rejection.source} | {rejection.diagnostic} |" in conformance(), rejection.kind


def test_the_implementation_is_stated() -> None:
    """Implementation Class UID, Version Name, coding scheme and titles agree with the code."""
    said = (
        application_entity.IMPLEMENTATION_CLASS_UID,
        application_entity.IMPLEMENTATION_VERSION_NAME,
        codes.LOCAL_SCHEME_UID,
    )
    for value in (*said, *(f'({c.value}, {c.scheme}, "{c.meaning}")' for c in codes.TITLES.values())):
        assert value in conformance()


def test_the_coded_findings_are_stated() -> None:
    """The conformance statement holds the coded concept of each finding."""
    for finding in codes.findings().values():
        assert f'({finding.code.value}, {finding.code.scheme}, "{finding.code.meaning}")' in conformance()
