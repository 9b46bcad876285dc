"""dicom_io.results.reasons: an engineer's reason in a radiologist's words."""

import ast
from collections.abc import Iterator

import pytest

from dicom_io.results import reasons
from dicom_io.results.language import Language
from dicom_io.results.reasons import Plainly
from tests.conftest import ROOT

ENGLISH, FRENCH = Language(), Language("fr")
ERRORS = {"NotDicom", "NoPixels", "Truncated", "TooLarge", "Unsupported", "NoDecoder", "Undecodable", "Constant"}
SELECTION = ("age", "origin", "body_part", "view", "derived", "patient")
NO_REASONS = {"suppression or subtraction", "bone or soft tissue alone", "enhancement of tubes, lines or lungs",
              "a program's result"}  # fmt: skip
VIEWS = ("a lateral view", "an oblique view", "a decubitus view")


def text(node: ast.AST) -> str:
    """A literal, with 1 for each value that an f-string takes in."""
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else "1" for part in node.values)  # type: ignore[misc]
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def of_decoder() -> Iterator[str]:
    """What every NoPicture in dicom_io/image is raised with."""
    for path in (ROOT / "dicom_io" / "image").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ERRORS:
                yield text(node.args[0])


def of_selection() -> Iterator[str]:
    """What every rule of selection may return."""
    for name in SELECTION:
        tree = ast.parse((ROOT / "dicom_io" / "image" / "selection" / f"{name}.py").read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Return) and node.value:
                yield from (one for one in map(text, _literals(node.value)) if len(one.split()) > 2)


def _literals(node: ast.AST) -> Iterator[ast.AST]:
    """Literals below a node, each as a whole."""
    if isinstance(node, ast.JoinedStr | ast.Constant):
        yield node
    else:
        for child in ast.iter_child_nodes(node):
            yield from _literals(child)


def test_every_reason_is_known() -> None:
    """Whatever decoder and selection may say has its row, so that no radiologist reads an engineer's words."""
    said = {*of_decoder(), *of_selection()} - NO_REASONS
    assert len(said) > 50
    views = {f"{view}{seen.removeprefix('1')}" for view in VIEWS for seen in said if seen.startswith("1: the model")}
    said = {one for one in said if not one.startswith(("1: the model", "The patient's age"))} | views
    assert [reason for reason in said if not reasons.is_known(reason)] == []


PLAIN = {
    "a lateral view: the model reads frontal views only (View Position)": (
        "the model reads frontal images only.", "lateral"),
    "younger than 18 years: the model is not meant for children": ("patient younger than 18 years.", ""),
    "the picture does not look like a frontal chest radiograph of an adult (score 0.01, needs 0.92)": (
        "does not look like an upright frontal chest radiograph. Check rotation and labels.", ""),
    "Pixel Data has 1398100 bytes, the header calls for 2097152": (
        "the image file is incomplete. Send it again.", ""),
    "every pixel has the stored value 0": ("the image is blank.", ""),
    "no decoder for transfer syntax JPEG 2000": (
        "the image file cannot be read. Send it again, if possible without compression.", ""),
    "another part: hand (Body Part Examined)": ("does not show the chest alone.", ""),
    "30000 x 30000 x 1 pixels, the limit is 120000000": ("the image file is too large.", ""),
    "the view is AP, and the model is for PA": ("the model is not meant for images of this kind or device.", ""),
    "SOP Class 1.2.840 is not one that the model is for": (
        "the model is not meant for images of this kind or device.", ""),
    "the model is for images of other senders": ("the model is not meant for images of this kind or device.", ""),
    "older than 60 years: the model is meant for younger patients": ("patient older than 60 years.", ""),
    "a reason that somebody adds next year": (
        "the model cannot use this image. The administrator of the AI system can say why.", ""),
}  # fmt: skip


@pytest.mark.parametrize("reason", PLAIN)
def test_a_reason_in_plain_words(reason: str) -> None:
    """Scores, byte counts and tags are gone; what to do is said where something can be done."""
    assert reasons.plainly(reason, ENGLISH) == Plainly(*PLAIN[reason])


def test_reasons_are_said_in_french() -> None:
    """The same reasons, and one that no row knows, in French."""
    lateral, child, *_, unknown = (reasons.plainly(reason, FRENCH) for reason in PLAIN)
    assert lateral == Plainly("le modèle ne lit que les incidences de face.", "profil")
    assert child.cause == "patient de moins de 18 ans."
    assert unknown.cause.startswith("le modèle ne peut pas utiliser cette image.")


def test_a_remark_in_plain_words() -> None:
    """The remark of selection on an unknown age is said in both languages."""
    said = "The patient's age is unknown, and the model is meant for patients of at least 18 years."
    assert reasons.remark(said, ENGLISH).endswith("the model is meant for patients of 18 years and more.")
    assert reasons.remark(said, FRENCH).startswith("Âge du patient inconnu")
