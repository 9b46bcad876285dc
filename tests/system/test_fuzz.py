"""Mutated inputs: each is answered, each study ends with a reason, nothing dies, nothing grows."""

import random
import warnings
from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import write_file_meta_info
from pydicom.tag import Tag

from daemon.translate import source_image
from dicom_io.composite.analysis import Analysis, FindingResult, Location, ModelIdentity
from dicom_io.composite.options import ReportOptions
from dicom_io.elements import element_text
from dicom_io.image.decode import decode
from dicom_io.image.header import Header, read_header
from dicom_io.image.no_picture import NoPicture, NotDicom, TooLarge
from dicom_io.image.selection import select
from dicom_io.results import key_objects, presentation_state
from dicom_io.results.report import structured_report
from dicom_io.results.secondary_capture import secondary_captures
from tests.conftest import require, shared_path
from tests.support.commit_messages import message
from tests.support.mutations import Seed, mutated, seeds
from tests.support.selection import rules
from tests.system.fuzz import COMMITMENT, CONVERSATIONS, HTTP, OBJECTS, TLS, fuzz
from tests.system.fuzzing.commitment import mutated_message
from tests.system.fuzzing.http import mutated_requests
from tests.system.fuzzing.tls import hello, mutated_records, random_record
from tests.system.soak import grown, soak

MODEL = ModelIdentity("model", "1", "sha256:" + "0" * 64, True)
OPTIONS = ReportOptions("comprehensive-3d", "ai-chest-radiograph-result", "en-US")
FINDINGS = (FindingResult("Effusion", 0.9, 0.5, "above", 90), FindingResult("Mass", 0.2, 0.5, "below", 20))
PLACE = Location("Effusion", stored=(((1, 2), (30, 40), (5, 60)),))
NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def corpus() -> list[Seed]:
    return seeds(shared_path())


def written(path: Path, seed: Seed) -> Path:
    """The object as the receiver writes it."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = seed.sop_class_uid, seed.sop_instance_uid
    meta.TransferSyntaxUID, meta.ImplementationClassUID = seed.transfer_syntax_uid, "1.2.3"
    meta.FileMetaInformationVersion = b"\0\1"
    head = BytesIO()
    write_file_meta_info(head, meta)
    path.write_bytes(b"\0" * 128 + b"DICM" + head.getvalue() + seed.data)
    return path


@settings(max_examples=150, deadline=None, phases=[Phase.generate],
          suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])  # fmt: skip
@given(number=st.integers(0, 2**32))
def test_no_mutation_gets_past_the_borders(tmp_path: Path, corpus: list[Seed], number: int) -> None:
    """Header, selection, decoder, report, picture and overlay answer any mutation with a value or with `NoPicture`."""
    chance = random.Random(number)
    path = written(tmp_path / "a.dcm", mutated(chance.choice(corpus), chance, "1.2.3", "1.2.3.4"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            header = read_header(path)
        except (NotDicom, TooLarge):
            return
        everything_reads(header)
        verdict = select(header, rules())
        assert verdict.eligible or verdict.reason
        pixels, reason = None, ""
        try:
            pixels = decode(path, 10_000_000, 512, header)
        except NoPicture as refusal:
            reason = refusal.reason
        assert reason or pixels is not None
        found = FINDINGS if pixels is not None else ()
        image = replace(source_image(header, None, reason), findings=found, pixels=pixels)
        assert structured_report([image], MODEL, OPTIONS, [], NOW).data
        analysis = Analysis((image,), MODEL, NOW)
        assert all(page.data for page in secondary_captures(analysis))
        above = replace(image, findings=FINDINGS, reason="", location=lambda: PLACE)
        for kind in (presentation_state.KIND, key_objects.KIND):
            assert all(made.data for made in kind.make(replace(analysis, images=(above,)), kind.options(), ()))


@pytest.mark.parametrize(
    ("wrong", "charset"), [("ZZ", b"ISO_IR 100"), ("FL", b"ISO_IR 192"), ("FD", b"ISO_IR 6"), ("SQ", b"ISO_IR 100")]
)
def test_a_character_set_of_another_representation(wrong: str, charset: bytes) -> None:
    """A wrong or unknown VR on Specific Character Set makes no other element unreadable: found by the fuzzer."""
    dataset = Dataset()
    for number, vr, value in ((0x00080005, wrong, charset), (0x00100010, "PN", b"A\xe4^B")):
        dataset[number] = RawDataElement(Tag(number), vr, len(value), value, 0, False, True)
    assert element_text(dataset, "PatientName") == "Aä^B"


def everything_reads(header: Header) -> None:
    """Each property that others ask for gives a value."""
    for name in (n for n, kind in vars(Header).items() if isinstance(kind, property)):
        getattr(header, name)


def test_the_same_seed_gives_the_same_input() -> None:
    """TLS records, HTTP requests and commitment messages can be made again from the number that found a fault."""

    def inputs(number: int) -> list[object]:
        chance = random.Random(number)
        made = [hello(chance), random_record(chance)]
        return [mutated_records(made, chance), mutated_requests(chance), mutated_message(message(chance), chance)]

    first = [inputs(number) for number in range(200)]
    assert first == [inputs(number) for number in range(200)]
    assert len({str(each) for each in first}) == 200


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_five_hundred_mutations_through_the_daemon(tmp_path: Path, untrained: dict[str, str]) -> None:
    """500 mutated objects and 100 inputs of each other kind: `tests/system/fuzz.py` says what is asserted."""
    require("storescp", "openssl")
    figures = fuzz(tmp_path, untrained, 500, seed=5, shared=shared_path())
    assert figures.inputs == {OBJECTS: 500, CONVERSATIONS: 100, TLS: 100, HTTP: 100, COMMITMENT: 100}
    assert figures.answers[COMMITMENT]["0000"] > 10, "hardly any commitment message was taken"
    assert figures.answers[HTTP]["200"] > 5, "hardly any HTTP request got a page"
    assert figures.answers[TLS]["PDU 2"] > 2, "hardly any TLS connection got as far as an association"
    assert figures.answers[OBJECTS]["0000"] > 100, "hardly anything got farther than the door"
    assert figures.states["DELIVERED"] > 40, "hardly any of the 56 studies got to the end of the line"
    assert figures.findings == []


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_soak_for_a_short_while(tmp_path: Path, untrained: dict[str, str]) -> None:
    """Hundreds of associations one after the other: memory, descriptors, threads stay. More: make soak."""
    assert grown(soak(tmp_path, untrained, 400)) == []
