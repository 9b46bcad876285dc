"""The table of kinds of result objects: a new kind is one file and one row."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import pytest
from pydicom.uid import EncapsulatedPDFStorage, ExplicitVRLittleEndian

from config.settings import ConfigurationError
from daemon import outputs, pipeline
from daemon.analysis.examined import ExaminedImage, ModelOpinion
from daemon.analysis.routing import routes
from daemon.wiring import open_classifier, read_settings
from dicom_io.composite.analysis import Analysis, Encoded, PredecessorRef, ResultKind, result_uid
from storage.analyses import EarlierObject
from storage.records import Instance, Study
from tests.support.peers import dx_file

# --- what somebody who adds a kind writes: a module with a KIND, and the row ---


@dataclass(frozen=True)
class NoteOptions:
    """The keys of a destination that a note depends on."""

    language: str = "en-US"


def _make(analysis: Analysis, options: NoteOptions, earlier: Sequence[PredecessorRef]) -> list[Encoded]:
    uid = result_uid("note", analysis.images, analysis.model, options.language)
    text = f"{len(analysis.images)} images, {options.language}, after {[e.sop_instance_uid for e in earlier]}"
    return [Encoded(str(EncapsulatedPDFStorage), uid, str(ExplicitVRLittleEndian), text.encode())]


KIND = ResultKind((str(EncapsulatedPDFStorage),), NoteOptions, _make)
MADE = datetime(2026, 1, 2, tzinfo=UTC)
DESTINATIONS = (
    '[{"name": "a", "ae_title": "A", "host": "h", "port": 1, "outputs": ["note"]},'
    ' {"name": "b", "ae_title": "B", "host": "h", "port": 1, "outputs": ["sr", "note"], "sr_class": "enhanced"},'
    ' {"name": "c", "ae_title": "C", "host": "h", "port": 1, "outputs": ["sr"]}]'
)


@pytest.fixture
def note(monkeypatch: pytest.MonkeyPatch) -> None:
    """The new kind's module, and its row in the table."""
    module = ModuleType("dicom_io.results.note")
    module.KIND = KIND  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(outputs.MODULES, "note", module.__name__)


def test_a_new_kind_needs_its_row() -> None:
    """Without the row a destination that asks for it is refused."""
    with pytest.raises(ConfigurationError, match="outputs names 'note', expected some of 'sr', 'sc'"):
        read_settings(None, {"HILUM__DESTINATION": DESTINATIONS})


@pytest.mark.usefixtures("note")
def test_a_new_kind_is_made_grouped_and_kept(tmp_path: Path, untrained: dict[str, str]) -> None:
    """With the row it is made once for the destinations that agree in its options, knows the earlier ones of its own
    kind that all of them have, and goes to the journal under its name."""
    environ = {"HILUM__DESTINATION": DESTINATIONS, "HILUM__STORAGE__DIRECTORY": str(tmp_path), **untrained}
    settings = read_settings(None, environ)
    file = dx_file(tmp_path / "image.dcm")
    header = pipeline.read_header(file)
    instance = Instance(1, header.sop_class_uid, header.sop_instance_uid, "1.1", header.transfer_syntax_uid, "n", "s")
    both = frozenset({"a", "b"})
    earlier = tuple(EarlierObject(kind, "1.2", uid, to, MADE) for kind, uid, to in [
        ("note", "1.5.1", both), ("note", "1.5.2", frozenset({"a"})), ("sr", "1.5.3", both)
    ])  # fmt: skip
    study = Study(1, header.study_instance_uid, 1, 1, pipeline.datetime.now().astimezone(), (instance,), earlier)
    images = [ExaminedImage(instance, header, "refused", "too dark")]
    opinion = ModelOpinion(routes(settings)[0], open_classifier(settings), tuple(images))
    outcome = pipeline.conclude(study, [opinion], settings, study.received_at)
    notes = [made for made in outcome.objects if made.kind == "note"]
    assert [(made.destinations, made.data) for made in notes] == [(("a", "b"), b"1 images, en-US, after ['1.5.1']")]
    assert sorted(made.destinations for made in outcome.objects if made.kind == "sr") == [("b",), ("c",)]


@pytest.mark.usefixtures("note")
def test_the_association_proposes_what_the_outputs_need() -> None:
    """The SOP classes of a destination's outputs, each once."""
    assert outputs.sop_classes(["note"]) == (str(EncapsulatedPDFStorage),)
    assert len(outputs.sop_classes(["sr", "sc", "note"])) == 5


def test_every_row_leads_to_a_kind() -> None:
    """Each module of the table is there, has a KIND, and its options are keys of every destination."""
    from config.sections import DestinationSettings

    for name in outputs.MODULES:
        kind = outputs.kind(name)
        assert kind.sop_classes
        assert set(kind.options.__dataclass_fields__) <= set(DestinationSettings.model_fields)
