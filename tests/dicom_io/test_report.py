"""The Structured Report, judged by validators and readers that nobody here wrote."""

import io
import subprocess
import time
import warnings
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import highdicom
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag

from dicom_io.composite import copying
from dicom_io.composite.analysis import Analysis, Encoded, Replaced, series_uid
from dicom_io.composite.codes import UnknownFinding
from dicom_io.results import wording
from dicom_io.results.caption import caption as caption_of
from dicom_io.results.language import Language, offered
from dicom_io.results.report import (
    SOP_CLASSES,
    FindingResult,
    Pathology,
    PredecessorRef,
    ReportError,
    ReportOptions,
    SourceImage,
    structured_report,
)
from dicom_io.results.secondary_capture import secondary_captures
from tests.conftest import require
from tests.support.sample_results import (
    FAILED,
    FOUND,
    MODEL,
    NIH,
    SECOND,
    SOME,
    STARTED,
    UNTRAINED,
    WITHOUT,
    findings,
    header,
    part10,
    read,
    save,
)  # fmt: skip

TEMPLATE = ReportOptions(sr_title="imaging-measurement-report")
OWN_TITLE = ReportOptions(sr_title="ai-chest-radiograph-result")
BOTH = ReportOptions(outputs=("sr", "sc"))
EARLIER = PredecessorRef(SOP_CLASSES["comprehensive-3d"], "2.25.1")

KINDS = {
    "found": ([FOUND], MODEL, ()),
    "without findings": ([WITHOUT], MODEL, ()),
    "several images": ([FOUND, SECOND], MODEL, ()),
    "some not analysed": ([FOUND, FAILED], MODEL, ()),
    "some not analysed, without findings": ([WITHOUT, FAILED], MODEL, ()),
    "not analysed": ([FAILED], MODEL, ()),
    "revision": ([FOUND, SECOND], MODEL, (EARLIER,)),
    "untrained": ([FOUND], UNTRAINED, ()),
    "some not assessed": ([SOME], MODEL, ()),
}
OVERALL = {
    "found": "111242",
    "without findings": "111241",
    "several images": "111242",
    "some not analysed": "111244",
    "some not analysed, without findings": "111243",
    "not analysed": "111245",
    "revision": "111242",
    "untrained": "111242",
    "some not assessed": "111242",
}


def made(kind: str, options: ReportOptions = TEMPLATE) -> Encoded:
    images, model, predecessors = KINDS[kind]
    return structured_report(images, model, options, predecessors, STARTED)


def of(dataset: Dataset | SourceImage, options: ReportOptions = TEMPLATE) -> Encoded:
    image = dataset if isinstance(dataset, SourceImage) else replace(FOUND, dataset=dataset)
    return structured_report([image], MODEL, options, (), STARTED)


def items(dataset: Dataset) -> Iterator[Dataset]:
    """Every content item below `dataset`."""
    for item in dataset.get("ContentSequence", ()):
        yield item
        yield from items(item)


def named(dataset: Dataset, meaning: str) -> list[Dataset]:
    return [item for item in items(dataset) if item.ConceptNameCodeSequence[0].CodeMeaning == meaning]


def errors_of(path: Path) -> list[str]:
    said = subprocess.run(["dciodvfy", "-new", path], capture_output=True, text=True, errors="replace").stderr
    return [line for line in said.splitlines() if line.startswith(("Error", "Abort"))]


@pytest.mark.parametrize("title", [TEMPLATE, OWN_TITLE], ids=["standard title", "own title"])
@pytest.mark.parametrize("sr_class", SOP_CLASSES)
@pytest.mark.parametrize("kind", KINDS)
def test_dciodvfy_finds_no_error(kind: str, sr_class: str, title: ReportOptions, tmp_path: Path) -> None:
    """Every kind of report in every SOP class and with either title is a valid instance of its IOD."""
    require("dciodvfy")
    encoded = made(kind, replace(title, sr_class=sr_class))
    assert encoded.sop_class_uid == SOP_CLASSES[sr_class]
    assert errors_of(save(encoded, tmp_path / "sr.dcm")) == []


@pytest.mark.parametrize("character_set", ["ISO_IR 100", "ISO_IR 192", "\\ISO 2022 IR 87"])
def test_dciodvfy_finds_no_error_in_french(character_set: str, tmp_path: Path) -> None:
    """A French report that refers to its page, replaces another and names a lateral view is valid in every set."""
    require("dciodvfy")
    image = replace(FOUND, dataset=header(SpecificCharacterSet=character_set.split("\\"), PatientName="A^B"))
    french = replace(BOTH, language="fr")
    encoded = structured_report([image, LATERAL], MODEL, french, [EARLIER], STARTED, 2, REPLACED)
    assert errors_of(save(encoded, tmp_path / "sr.dcm")) == []


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_template_validator_finds_no_error(shared: Path, tmp_path: Path) -> None:
    """PixelMed validates every kind, and every SOP class, against TID 1500 to the end, without an error."""
    require("java", "javac", "dciodvfy")
    files = [save(made("found"), tmp_path / "14 findings.dcm")]
    for number, (images, model, predecessors) in enumerate(KINDS.values()):
        # its time grows fast with the findings: one of each call says the same
        few = [replace(image, findings=image.findings[9:12]) for image in images]
        for sr_class in SOP_CLASSES if number == 0 else list(SOP_CLASSES)[:1]:
            options = replace(TEMPLATE, sr_class=sr_class)
            encoded = structured_report(few, model, options, predecessors, STARTED)
            files.append(save(encoded, tmp_path / f"{number} {sr_class}.dcm"))
    command = [shared / "tools" / "validate_sr.sh", *files]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert done.stdout.count("Root Template Validation Complete") == len(files)


def comparable(dataset: Dataset) -> Dataset:
    """A report without what its title changes: the summary's place, the algorithm, what a number is inferred from."""
    for item in [dataset, *items(dataset)]:
        kept = [one for one in item.get("ContentSequence", ()) if not is_extra(one)]
        if item is dataset:
            item.ContentSequence[-1].ContentSequence.extend(kept.pop(one) for one in summaries(kept))
        if kept:
            item.ContentSequence = Sequence(kept)
        else:
            item.pop("ContentSequence", None)
    last = dataset.ContentSequence[-1]
    last.ContentSequence = Sequence(sorted(last.ContentSequence, key=lambda one: one.get("TextValue", "")))
    for keyword in ("ConceptNameCodeSequence", "SOPInstanceUID", "SeriesInstanceUID"):
        delattr(dataset, keyword)
    dataset.pop("CodingSchemeIdentificationSequence", None)
    return dataset


def is_extra(item: Dataset) -> bool:
    meaning = item.ConceptNameCodeSequence[0].CodeMeaning
    return meaning.startswith("Algorithm ") or item.RelationshipType == "INFERRED FROM"


def summaries(content: list[Dataset]) -> list[int]:
    return [n for n, item in enumerate(content) if item.ConceptNameCodeSequence[0].CodeMeaning == "Summary"]


@pytest.mark.parametrize("kind", KINDS)
def test_own_title_says_the_same(kind: str) -> None:
    """What the template validator says of the standard title holds for ours: beyond the place of the summary and what
    only programs read, the rest of the object is the same."""
    standard, own = read(made(kind, TEMPLATE)), read(made(kind, OWN_TITLE))
    assert standard.ConceptNameCodeSequence[0].CodeValue == "126000"
    title = own.ConceptNameCodeSequence[0]
    assert (title.CodeValue, title.CodingSchemeDesignator) == ("AICXR", "99HILUM")
    assert own.CodingSchemeIdentificationSequence[0].CodingSchemeDesignator == "99HILUM"
    contained = [item for item in own.ContentSequence if item.RelationshipType == "CONTAINS"]
    assert contained[0].ConceptNameCodeSequence[0].CodeMeaning == "Summary"
    assert "Summary" not in [item.ConceptNameCodeSequence[0].CodeMeaning for item in standard.ContentSequence]
    assert comparable(standard) == comparable(own)


def called(images: list[SourceImage]) -> list[FindingResult | Pathology | None]:
    return [one for image in images for one in (image.pathology, *image.findings)]


@pytest.mark.parametrize("kind", KINDS)
def test_highdicom_reads_it(kind: str, tmp_path: Path) -> None:
    """Another implementation reads every kind back, with the measurement groups where something was measured."""
    images, _, _ = KINDS[kind]
    report = highdicom.sr.srread(save(made(kind), tmp_path / "sr.dcm"))
    assert report.SOPClassUID == SOP_CLASSES["comprehensive-3d"]
    groups = [item for item in items(report) if item.name.value == "125007"]
    assert len(groups) == sum(one is not None and one.call != "below" for one in called(images))


@pytest.mark.parametrize("kind", KINDS)
def test_overall_code_never_says_normal(kind: str) -> None:
    """The summary's code says how many images were analysed and whether anything was found; no word says normal."""
    dataset = read(made(kind))
    summary = named(dataset, "CAD Processing and Findings Summary")
    assert [item.ConceptCodeSequence[0].CodeValue for item in summary] == [OVERALL[kind]]
    coded = [item.ConceptCodeSequence[0].CodeMeaning for item in items(dataset) if "ConceptCodeSequence" in item]
    assert not [meaning for meaning in coded if "normal" in meaning.lower()]


def test_each_finding_has_its_group() -> None:
    """Finding, site, certainty in percent, score, presence, threshold and image stand together in a group."""
    dataset = read(of(FOUND))
    groups = {group.ContentSequence[0].TextValue: group for group in named(dataset, "Measurement Group")}
    assert list(groups) == ["Any finding", "Mass", "Pleural effusion", "Nodule"]
    group = groups["Pleural effusion"]
    assert named(group, "Finding")[0].ConceptCodeSequence[0].CodeValue == "60046008"
    assert named(group, "Finding Site")[0].ConceptCodeSequence[0].CodeMeaning == "Pleura"
    assert named(group, "Certainty of Finding")[0].MeasuredValueSequence[0].NumericValue == pytest.approx(84.1)
    (score,) = named(group, "Score with the threshold at 50")[0].MeasuredValueSequence
    assert (score.NumericValue, score.MeasurementUnitsCodeSequence[0].CodeValue) == (84, "1")
    assert named(group, "Presence")[0].ConceptCodeSequence[0].CodeMeaning == "Present"
    parameters = [item.TextValue for item in named(group, "Algorithm Parameters")]
    assert parameters == ["operating_threshold=0.500"]
    source = named(group, "Source of Measurement")[0].ReferencedSOPSequence[0]
    assert source.ReferencedSOPInstanceUID == FOUND.dataset.SOPInstanceUID
    calls = {name: named(one, "Presence")[0].ConceptCodeSequence[0].CodeMeaning for name, one in groups.items()}
    assert calls == {
        "Any finding": "Present",
        "Mass": "Present",
        "Pleural effusion": "Present",
        "Nodule": "Undetermined",
    }


@pytest.mark.parametrize("kind", KINDS)
def test_absence_is_never_coded(kind: str) -> None:
    """No finding is coded absent, neither below its threshold nor where it is not assessed, and no word says it."""
    dataset = read(made(kind))
    coded = [item.ConceptCodeSequence[0].CodeValue for item in named(dataset, "Presence")]
    assert set(coded) <= {"52101004", "373068000"}
    said = [item.TextValue for item in items(dataset) if "TextValue" in item]
    assert not [words for words in said if "absent" in words.lower()]


def test_what_is_not_assessed_is_named_and_has_no_group() -> None:
    """A finding of which the model may say nothing has neither code nor number; the summary names it."""
    dataset = read(made("some not assessed"))
    groups = [group.ContentSequence[0].TextValue for group in named(dataset, "Measurement Group")]
    assert groups == ["Any finding", "Pleural effusion"]
    lines = named(dataset, "Summary")[0].TextValue.splitlines()
    assert lines[:2] == ["AI: 1 finding above threshold", "Pleural effusion: above threshold (score 84)"]
    assert lines[2].startswith("Below threshold: pulmonary edema, ")
    assert "Not assessed by this model: pulmonary emphysema, fibrosis of lung, diaphragmatic hernia, " in lines[2]
    assert lines[3] == "Does not mean normal. A finding below threshold, or unknown to the model, may be present."


def test_calls_that_nobody_evaluated_say_so() -> None:
    """The report of an imported model says that nobody has measured how often its calls are right."""
    report = read(structured_report([FOUND], replace(MODEL, evaluated=False), TEMPLATE, (), STARTED))
    assert any("Nobody has measured" in comment.TextValue for comment in named(report, "Comment"))
    assert not any("Nobody" in comment.TextValue for comment in named(read(made("found")), "Comment"))


@pytest.mark.parametrize("options", [TEMPLATE, OWN_TITLE], ids=["standard title", "own title"])
def test_what_is_below_threshold_is_in_one_text(options: ReportOptions) -> None:
    """Score, certainty and threshold of every finding of an image stand in one text, the strongest first."""
    dataset = read(of(FOUND, options))
    (numbers,) = (one.TextValue for one in named(dataset, "Comment") if one.TextValue.startswith("Scores"))
    assert numbers.startswith("Scores, with certainty and threshold: mass 89 (89.1 %, 50.0 %); pleural effusion 84 (")
    assert numbers.endswith("; atelectasis 5 (5.0 %, 50.0 %).")
    assert numbers.count("%") == 2 * 14


def test_a_report_on_one_image_is_short() -> None:
    """Fewer than 80 content items, even with as many findings above or near threshold as radiographs have: five."""
    busy = replace(FOUND, findings=findings("Effusion", "Mass", "Pneumonia", "Cardiomegaly", near="Nodule"))
    busy_report = read(structured_report([busy], MODEL, BOTH, (), STARTED))
    assert len(named(busy_report, "Measurement Group")) == 6
    assert len(list(items(busy_report))) < 80
    assert len(list(items(read(of(WITHOUT, OWN_TITLE))))) < 20


def test_digests_stand_once() -> None:
    """The weights are named where the observer is, and in no group."""
    dataset = read(made("found", OWN_TITLE))
    said = [item.TextValue for item in items(dataset) if "TextValue" in item]
    assert sum(MODEL.digest.removeprefix("sha256:")[:16] in words for words in said) == 1


LATERAL = SourceImage(header(4), (), "a lateral view: the model reads frontal views only", in_scope=False)
CHILD = SourceImage(header(5), (), "younger than 18 years: the model is not meant for children", in_scope=False)
REPLACED = Replaced(datetime(2026, 11, 20, 8, 12, tzinfo=UTC), "2")


def test_summary_is_what_is_pasted_into_a_report() -> None:
    """The answer, what it replaces, the calls, the others, what was not analysed, and what it does not mean."""
    images = [FOUND, LATERAL]
    report = read(structured_report(images, MODEL, OWN_TITLE, (), STARTED, 2, REPLACED))
    assert named(report, "Summary")[0].TextValue.splitlines() == [
        "AI: 2 findings above threshold",
        "Replaces the AI result of 20 Nov 2026 08:12 (model 2).",
        "Mass: above threshold (score 89)",
        "Pleural effusion: above threshold (score 84)",
        "Nodule: near threshold (score 47)",
        "Below threshold: pneumothorax, pneumonia, pleural thickening, infiltrate, diaphragmatic hernia, "
        "fibrosis of lung, pulmonary emphysema, pulmonary edema, lung consolidation, cardiomegaly, atelectasis.",
        "Image 2 (lateral) was not analysed: the model reads frontal images only.",
        "Does not mean normal. A finding below threshold, or unknown to the model, may be present.",
    ]
    assert named(report, "CAD Processing and Findings Summary")[0].ConceptCodeSequence[0].CodeValue == "111242"


def test_summary_in_french() -> None:
    """The same in French, with the language's code, and the date as it is written there, in the image's zone."""
    french = replace(OWN_TITLE, language="fr")
    image = replace(FOUND, dataset=header(TimezoneOffsetFromUTC="+0100"))
    report = read(structured_report([image, LATERAL, CHILD], MODEL, french, (), STARTED, 2, REPLACED))
    lines = named(report, "Summary")[0].TextValue.splitlines()
    assert lines[:4] == [
        "IA : 2 anomalies au-dessus du seuil",
        "Remplace le résultat d'IA du 20/11/2026 09:12 (modèle 2).",
        "Masse : au-dessus du seuil (score 89)",
        "Épanchement pleural : au-dessus du seuil (score 84)",
    ]
    assert lines[-2] == (
        "Image 2 (profil) non analysée : le modèle ne lit que les incidences de face. "
        "Image 3 non analysée : patient de moins de 18 ans."
    )
    language = named(report, "Language of Content Item and Descendants")[0].ConceptCodeSequence[0]
    assert (language.CodeValue, language.CodingSchemeDesignator) == ("fr", "RFC5646")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([FOUND, WITHOUT, SOME, SECOND, FAILED, LATERAL, CHILD]), min_size=1, max_size=12))
def test_a_summary_has_eight_lines_at_most(images: list[SourceImage]) -> None:
    """However many images and findings there are, the summary stays short, and names every image that was analysed."""
    for model, replaces in ((MODEL, None), (UNTRAINED, REPLACED)):
        lines = wording.summary(images, model, Language(), replaces)
        assert 1 < len(lines) <= 8
        several = sum(not image.reason for image in images) > 1
        said = [n for n in range(1, len(images) + 1) if f"Image {n}: " in " ".join(lines)]
        assert said == [n for n, image in enumerate(images, start=1) if several and not image.reason]


@pytest.mark.parametrize("number", [8, 12, 40])
def test_a_summary_of_many_images_has_eight_lines(number: int) -> None:
    """The calls of the images share the lines that headline and limits leave."""
    assert len(wording.summary([FOUND] * number, MODEL, Language())) == 8
    assert len(wording.summary([FOUND] * number, UNTRAINED, Language(), REPLACED)) == 8


CAPTIONS = {
    "AI CXR: 2 above": ([FOUND], "en-US", 1),
    "AI CXR: none above": ([WITHOUT], "en-US", 1),
    "AI CXR: no result": ([FAILED, LATERAL], "en-US", 1),
    "AI CXR r2: 1 above": ([SECOND], "en-US", 2),
    "AI CXR: any above": ([replace(WITHOUT, pathology=Pathology("above", 0.9, 60))], "en-US", 1),
    "IA: 2 au-dessus": ([FOUND], "fr", 1),
    "IA: rien au-dessus": ([WITHOUT], "fr", 1),
    "IA: sans résultat": ([FAILED], "fr", 1),
    "IA r2: 2 au-dessus": ([FOUND], "fr", 2),
}


@pytest.mark.parametrize("caption", CAPTIONS)
def test_the_list_of_series_shows_the_answer(caption: str) -> None:
    """The first 18 characters of Series Description carry the answer; it fits, and says what the result is not for."""
    images, language, revision = CAPTIONS[caption]
    options = replace(OWN_TITLE, language=language)
    said = read(structured_report(images, MODEL, options, (), STARTED, revision)).SeriesDescription
    assert said[:18].startswith(caption)
    assert said.startswith(f"{caption} - ")
    assert len(said) <= 64
    neutral = replace(options, series_caption="neutral")
    hidden = read(structured_report(images, MODEL, neutral, (), STARTED, revision)).SeriesDescription
    assert not [word for word in ("above", "au-dessus", "result:", "none", "rien") if word in hidden]
    assert (" r2 " in hidden) == (revision == 2)
    untrained = read(structured_report(images, UNTRAINED, options, (), STARTED, revision)).SeriesDescription
    assert (" r2 " in untrained) == (revision == 2)


@pytest.mark.parametrize("language", offered())
def test_no_caption_is_cut(language: str) -> None:
    """The longest captions fit into Series Description: 64 characters (PS3.5 6.2, LO)."""
    busy = replace(FOUND, findings=findings(*NIH))
    for model in (MODEL, UNTRAINED):
        for options in (ReportOptions(language=language), ReportOptions(language=language, series_caption="neutral")):
            assert len(caption_of([busy], model, options, 10)) <= 64


def test_series_numbers_tell_revisions_apart() -> None:
    """The first ten revisions have numbers of their own, and no later one reaches the range of another kind."""
    numbers = [
        read(structured_report([FOUND], MODEL, OWN_TITLE, (), STARTED, n)).SeriesNumber for n in (1, 2, 10, 11, 99)
    ]
    assert numbers == [9901, 9902, 9910, 9910, 9910]


def test_report_and_page_name_each_other(tmp_path: Path) -> None:
    """The report's evidence has the page of the same analysis, in its series, and the page has the report; where the
    destination gets only one of them, it names none."""
    require("dcentvfy")
    report = structured_report([FOUND], MODEL, BOTH, (), STARTED)
    page = next(secondary_captures(Analysis((FOUND,), MODEL, STARTED), BOTH))
    evidence = read(report).CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    named_in = {series.SeriesInstanceUID: series.ReferencedSOPSequence[0] for series in evidence}
    (reference,) = read(page).ReferencedInstanceSequence
    assert named_in[read(page).SeriesInstanceUID].ReferencedSOPInstanceUID == page.sop_instance_uid
    assert reference.ReferencedSOPInstanceUID == report.sop_instance_uid
    assert reference.ReferencedSOPClassUID == report.sop_class_uid
    alone = read(structured_report([FOUND], MODEL, OWN_TITLE, (), STARTED))
    assert len(alone.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence) == 1
    assert "ReferencedInstanceSequence" not in read(next(secondary_captures(Analysis((FOUND,), MODEL, STARTED))))
    files = [save(page, tmp_path / "sc.dcm"), save(report, tmp_path / "sr.dcm")]
    said = subprocess.run(["dcentvfy", *files], capture_output=True, text=True, errors="replace").stderr
    assert not [line for line in said.splitlines() if line.startswith("Error")]


def test_other_kinds_of_object_make_no_other_report() -> None:
    """A destination that asks for a further kind, or names the kinds in another order, gets the same report."""
    assert ReportOptions(outputs=("pdf", "sr", "sc")) == BOTH
    assert structured_report([FOUND], MODEL, BOTH, (), STARTED) != structured_report(
        [FOUND], MODEL, OWN_TITLE, (), STARTED
    )


def test_summary_names_the_image_that_a_finding_is_of() -> None:
    """Over several images each has its own line, and a finding counts as below threshold where it is in all of them."""
    lines = named(read(made("several images")), "Summary")[0].TextValue.splitlines()
    assert lines[:3] == [
        "AI: 3 findings above threshold",
        "Image 1: above threshold: mass (score 89), pleural effusion (score 84); near threshold: nodule (score 47).",
        "Image 2: above threshold: pneumothorax (score 93).",
    ]
    assert lines[3].startswith("Below threshold: pneumonia, pleural thickening, infiltrate, ")
    assert not [name for name in ("mass", "effusion", "nodule", "pneumothorax") if name in lines[3]]


def test_image_without_result_is_in_the_report_with_its_reason() -> None:
    """Whoever reads the report sees which image has no result and why; it is in the library and in the evidence."""
    dataset = read(made("some not analysed"))
    assert named(dataset, "Summary")[0].TextValue.splitlines()[-2] == ("Image 2 was not analysed: the image is blank.")
    assert len(named(dataset, "Source")) == 2
    evidence = dataset.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    referenced = {one.ReferencedSOPInstanceUID for series in evidence for one in series.ReferencedSOPSequence}
    assert referenced == {FOUND.dataset.SOPInstanceUID, FAILED.dataset.SOPInstanceUID}


def test_untrained_weights_are_named_everywhere() -> None:
    """A report of untrained weights says so in the series' description, in a comment and in the parameters."""
    dataset = read(made("untrained"))
    assert "UNTRAINED" in dataset.SeriesDescription
    assert "UNTRAINED" in named(dataset, "Summary")[0].TextValue.splitlines()[1]
    assert any("UNTRAINED" in comment.TextValue for comment in named(dataset, "Comment"))
    for group in named(dataset, "Measurement Group"):
        assert any("UNTRAINED" in parameter.TextValue for parameter in named(group, "Algorithm Parameters"))
    trained = part10(made("found"))
    assert b"UNTRAINED" not in trained


def test_every_report_carries_the_disclaimer() -> None:
    """Series Description and a comment say that the result is not for primary diagnosis; the flags say unverified."""
    dataset = read(made("found"))
    assert dataset.SeriesDescription.startswith("AI")
    assert len(dataset.SeriesDescription) <= 64
    assert any("not for primary diagnosis" in comment.TextValue for comment in named(dataset, "Comment"))
    assert (dataset.VerificationFlag, dataset.PreliminaryFlag) == ("UNVERIFIED", "PRELIMINARY")


@pytest.mark.parametrize("kind", KINDS)
def test_every_container_is_separate(kind: str) -> None:
    """Viewers drop the concept names of continuous containers."""
    dataset = read(made(kind))
    containers = [dataset, *(item for item in items(dataset) if item.ValueType == "CONTAINER")]
    assert {item.ContinuityOfContent for item in containers} == {"SEPARATE"}


def test_revision_names_the_report_before_it() -> None:
    """Predecessor Documents holds the earlier report in the series made for it, and never the report itself."""
    (document,) = read(made("revision")).PredecessorDocumentsSequence
    (series,) = document.ReferencedSeriesSequence
    (reference,) = series.ReferencedSOPSequence
    assert document.StudyInstanceUID == FOUND.dataset.StudyInstanceUID
    assert (reference.ReferencedSOPInstanceUID, series.SeriesInstanceUID) == ("2.25.1", series_uid("2.25.1"))
    again = structured_report([FOUND], MODEL, TEMPLATE, [of(FOUND).sop_instance_uid], STARTED)
    assert "PredecessorDocumentsSequence" not in read(again)


def test_same_analysis_is_the_same_report() -> None:
    """The UID depends neither on when the analysis was done nor on the report before it."""
    later = structured_report([FOUND], MODEL, TEMPLATE, ["2.25.1"], STARTED + timedelta(days=1))
    assert later.sop_instance_uid == of(FOUND).sop_instance_uid
    assert of(FOUND) == of(replace(FOUND, dataset=header()))
    assert read(of(FOUND)).SeriesInstanceUID == series_uid(of(FOUND).sop_instance_uid)


def test_another_result_is_another_report() -> None:
    """Each of image, result, threshold, call, reason, weights, SOP class and title changes the UID."""
    first, *others = FOUND.findings

    def changed(**change: object) -> Encoded:
        return of(replace(FOUND, findings=(replace(first, **change), *others)))

    reports = [
        of(FOUND),
        of(header(2)),
        changed(probability=0.7),
        changed(threshold=0.4),
        changed(call="near"),
        of(replace(FOUND, findings=tuple(others), not_assessed=(first.finding,))),
        of(replace(FOUND, pathology=None)),
        made("not analysed"),
        of(replace(FAILED, reason="the image is truncated")),
        structured_report([FOUND], replace(MODEL, digest="sha256:1"), TEMPLATE, (), STARTED),
        of(FOUND, replace(TEMPLATE, sr_class="enhanced")),
        of(FOUND, OWN_TITLE),
        of(FOUND, replace(TEMPLATE, language="fr")),
        of(FOUND, replace(TEMPLATE, series_caption="neutral")),
        of(FOUND, replace(TEMPLATE, outputs=("sr", "sc"))),
    ]
    assert len({report.sop_instance_uid for report in reports}) == len(reports)


def test_model_is_contributing_equipment() -> None:
    """The model stands in Contributing Equipment, its Device UID changes with the weights."""
    (device,) = read(made("found")).ContributingEquipmentSequence
    (other,) = read(made("untrained")).ContributingEquipmentSequence
    assert (device.ManufacturerModelName, device.SoftwareVersions) == (MODEL.name, MODEL.version)
    assert device.PurposeOfReferenceCodeSequence[0].CodeValue == "109102"
    assert device.DeviceUID != other.DeviceUID


def test_content_time_is_the_start_of_the_analysis() -> None:
    """Content Date and Time are when the analysis began, in the zone that the image states."""
    dataset = read(of(FOUND))
    assert (dataset.ContentDate, dataset.ContentTime) == ("20260102", "101500")
    japan = read(of(header(TimezoneOffsetFromUTC="+0900")))
    assert (japan.ContentDate, japan.ContentTime, japan.TimezoneOffsetFromUTC) == ("20260102", "191500", "+0900")
    assert "TimezoneOffsetFromUTC" not in read(of(header(TimezoneOffsetFromUTC="+25:00")))


def test_refuses_what_no_report_can_be_made_of() -> None:
    """No image, a naive time, a number out of range, a finding without a code are mistakes of the caller."""
    with pytest.raises(ReportError, match="at least one image"):
        structured_report([], MODEL, TEMPLATE, (), STARTED)
    with pytest.raises(ReportError, match="aware"):
        structured_report([FOUND], MODEL, TEMPLATE, (), datetime(2026, 1, 2))
    for value in (1.2, float("nan")):
        with pytest.raises(ReportError, match=r"0\.\.1"):
            of(replace(FOUND, findings=(FindingResult("Mass", value, 0.5, "above", 90),)))
    with pytest.raises(ReportError, match=r"0\.\.100"):
        of(replace(FOUND, findings=(FindingResult("Mass", 0.5, 0.5, "above", 101),)))
    with pytest.raises(UnknownFinding, match="Ectopia"):
        of(replace(FOUND, findings=(FindingResult("Ectopia", 0.5, 0.5, "above", 50),)))


# --- what is copied ----------------------------------------------------------------------------------------------

COPIED = (*copying.PATIENT_TYPE_2, *copying.STUDY_TYPE_2, "StudyInstanceUID")


def raw(dataset: Dataset, keyword: str) -> bytes:
    element = dataset.get_item(tag_for_keyword(keyword))
    assert isinstance(element, RawDataElement)
    return element.value or b""


def with_raw(dataset: Dataset, keyword: str, value: bytes) -> Dataset:
    tag = Tag(tag_for_keyword(keyword))
    dataset[tag] = RawDataElement(tag, None, len(value), value, 0, True, True)
    return dataset


CHARACTER_SETS = {
    "ISO_IR 100": "Müller^Jörg".encode("latin-1"),
    "ISO_IR 192": "山田^太郎=やまだ^たろう".encode(),
    "ISO_IR 144": "Иванов^Иван".encode("iso8859-5"),
    "GB18030": "王^小东".encode("gb18030"),
    "\\ISO 2022 IR 87": b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
    "ISO_IR 13\\ISO 2022 IR 87": b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J",
}


@pytest.mark.parametrize("character_set", CHARACTER_SETS)
def test_text_is_copied_byte_for_byte(character_set: str, tmp_path: Path) -> None:
    """Names, identifiers and descriptions of any character set arrive as the very bytes of the radiograph."""
    require("dciodvfy")
    source = header(SpecificCharacterSet=character_set.split("\\"), PatientName="A^B")
    for keyword in ("PatientName", "ReferringPhysicianName", "StudyDescription"):
        with_raw(source, keyword, CHARACTER_SETS[character_set])
    encoded = of(source)
    copied = read(encoded)
    for keyword in COPIED:
        assert raw(copied, keyword).rstrip(b" \0") == raw(source, keyword).rstrip(b" \0"), keyword
    assert copying.stripped(copied, "SpecificCharacterSet") == character_set.encode()
    assert str(copied.PatientName) == str(source.PatientName)
    assert errors_of(save(encoded, tmp_path / "sr.dcm")) == []


def test_sequences_that_identify_are_copied() -> None:
    """Issuers, other identifiers, the procedure and the request go along; the procedure is the one reported."""
    issuer, other, code, request = Dataset(), Dataset(), Dataset(), Dataset()
    issuer.UniversalEntityID, issuer.UniversalEntityIDType = "1.2.3", "ISO"
    other.PatientID, other.IssuerOfPatientID, other.TypeOfPatientID = "ÄÖ 2", "HOSP", "TEXT"
    other.IssuerOfPatientIDQualifiersSequence = Sequence([issuer])
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "TX2", "99KH", "Thorax 2 Ebenen, Übersicht"
    request.RequestedProcedureID, request.AccessionNumber = "RP1", "ACC9"
    request.RequestedProcedureDescription = "Röntgen Thorax"
    request.RequestedProcedureCodeSequence = Sequence([code])
    request.ScheduledProcedureStepID = "SPS1"
    dataset = read(of(header(
        IssuerOfPatientID="HOSP",
        OtherPatientIDsSequence=Sequence([other]),
        IssuerOfAccessionNumberSequence=Sequence([issuer]),
        ProcedureCodeSequence=Sequence([code]),
        RequestAttributesSequence=Sequence([request]),
    )))  # fmt: skip
    assert dataset.IssuerOfPatientID == "HOSP"
    assert dataset.OtherPatientIDsSequence[0] == other
    assert dataset.IssuerOfAccessionNumberSequence[0] == issuer
    assert dataset.ProcedureCodeSequence[0] == code
    assert named(dataset, "Procedure reported")[0].ConceptCodeSequence[0] == code
    (requested,) = dataset.ReferencedRequestSequence
    assert (requested.AccessionNumber, requested.RequestedProcedureID) == ("ACC9", "RP1")
    assert requested.RequestedProcedureDescription == "Röntgen Thorax"
    assert requested.StudyInstanceUID == dataset.StudyInstanceUID
    assert requested.PlacerOrderNumberImagingServiceRequest == ""


@pytest.mark.parametrize("keyword", [*copying.PATIENT_TYPE_2, *copying.STUDY_TYPE_2, "SpecificCharacterSet"])
def test_missing_attribute_is_empty_never_invented(keyword: str, tmp_path: Path) -> None:
    """A Type 2 attribute that the radiograph lacks is there and empty, and the report is valid."""
    require("dciodvfy")
    encoded = of(header(**{keyword: None}))
    dataset = read(encoded)
    assert not dataset.get(keyword)
    assert keyword in dataset or keyword == "SpecificCharacterSet"
    assert [line for line in errors_of(save(encoded, tmp_path / "sr.dcm")) if "PatientName" not in line] == []


MALFORMED = [
    ("StudyTime", b"10:11:12", b""),
    ("StudyTime", b"256161", b""),
    ("StudyDate", b"2026-01-02", b""),
    ("StudyDate", b"20261301", b""),
    ("PatientBirthDate", b"unknown ", b""),
    ("PatientBirthDate", b"1970.01.01", b"1970.01.01"),
    ("PatientBirthDate", b"19700101 ", b"19700101 "),
    ("PatientSex", b"X?", b""),
    ("PatientSex", b"W ", b""),
    ("PatientSex", b"F\0", b"F\0"),
    ("PatientID", b"  no \\ 1 ", b"  no \\ 1 "),
    ("PatientID", b"9" * 80, b"9" * 80),
    ("PatientName", b"A^B^C^D^E^F^G=\xff\xfe", b"A^B^C^D^E^F^G=\xff\xfe"),
    ("AccessionNumber", b"12345678901234567890", b"12345678901234567890"),
    ("StudyDescription", b"two\nlines\0", b"two\nlines\0"),
]


@pytest.mark.parametrize(("keyword", "value", "expected"), MALFORMED)
def test_malformed_value_is_carried_or_emptied(keyword: str, value: bytes, expected: bytes) -> None:
    """Identity is carried as it stands; a date, time or sex that means nothing to a reader is emptied."""
    assert raw(read(of(with_raw(header(), keyword, value))), keyword) == expected + b" " * (len(expected) % 2)


def test_values_that_were_asked_for_before_are_copied_too() -> None:
    """A header whose elements somebody has read before, so that they are no longer raw, gives the same report."""
    source = header()
    for element in source:
        str(element)
    assert of(source) == of(header())


def test_value_that_no_length_field_can_state_is_emptied() -> None:
    """An implicit VR source may hold 100,000 bytes of name; the report has none rather than none being sent."""
    assert raw(read(of(with_raw(header(), "PatientName", b"x" * 100_000))), "PatientName") == b""


def test_model_of_any_name_is_written() -> None:
    """A bundle may be named in any language and at any length: our own text stays within every character set."""
    model = replace(MODEL, name="Modell für Röntgen\\" + "x" * 100, version="1\n2", digest="")
    dataset = read(structured_report([FOUND], model, TEMPLATE, (), STARTED))
    (device,) = dataset.ContributingEquipmentSequence
    assert device.ManufacturerModelName.startswith("Modell fur Rontgen?x")
    assert len(device.ManufacturerModelName) == 64


KEYWORDS = sorted({
    *copying.PATIENT_TYPE_2, *copying.PATIENT_TYPE_3, *copying.STUDY_TYPE_2, *copying.STUDY_TYPE_3,
    "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID", "SpecificCharacterSet", "Modality",
    "TimezoneOffsetFromUTC", "RequestAttributesSequence",
})  # fmt: skip
values = st.one_of(
    st.binary(max_size=80),
    st.text(max_size=30).map(lambda text: text.encode("utf-8")),
    st.sampled_from([b"", b" ", b"\0", b"\\", b"\\\\ISO 2022 IR 87", b"ISO_IR 999", b"10:11:12", b"X?", b"1" * 300]),
)


def nested(value: bytes) -> bytes:
    """An item that holds `value` as text, whatever that is, and a private element."""
    length = len(value).to_bytes(4, "little")
    elements = b"\x08\x00\x00\x01" + length + value + b"\x09\x00\x10\x00" + length + value
    return b"\xfe\xff\x00\xe0" + len(elements).to_bytes(4, "little") + elements


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow], phases=[Phase.generate])
@given(
    changes=st.dictionaries(st.sampled_from(KEYWORDS), st.one_of(values, values.map(nested)), max_size=12),
    removed=st.sets(st.sampled_from(KEYWORDS), max_size=8),
)
def test_no_header_makes_it_fail(changes: dict[str, bytes], removed: set[str]) -> None:
    """Whatever bytes stand in a header, a report is made, and two readers read its results out of it."""
    source = header()
    for keyword in removed:
        source.pop(tag_for_keyword(keyword), None)
    for keyword, value in changes.items():
        with_raw(source, keyword, value)
    source.add_new(0x00091001, "UN", b"private")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        encoded = of(source)
        dataset = read(encoded)
        groups = named(dataset, "Measurement Group")
        assert len(groups) == 4
        assert len(named(highdicom.sr.srread(io.BytesIO(part10(encoded))), "Measurement Group")) == 4
    identity = changes.get("PatientID", b"" if "PatientID" in removed else b"PID 1")
    assert raw(dataset, "PatientID").rstrip(b" \0") == identity.rstrip(b" \0")


def test_every_real_file_gets_a_report(shared: Path, tmp_path: Path) -> None:
    """Real headers of many makers: each gets a report that PACS software accepts, in the study of the image."""
    require("dciodvfy", "dcentvfy")
    for path in sorted((shared / "data" / "dicom").glob("*.dcm")):
        source = dcmread(path, stop_before_pixels=True, force=True)
        encoded = of(source)
        report = save(encoded, tmp_path / "sr.dcm")
        assert copying.text(read(encoded), "StudyInstanceUID") == copying.text(source, "StudyInstanceUID"), path.name
        carried = ("Value invalid for this VR", "Illegal root for UID")  # identity goes byte for byte
        faults = {line for line in errors_of(report) if not any(words in line for words in carried)}
        assert not faults - set(errors_of(path)), path.name
        source.save_as(tmp_path / "header.dcm", enforce_file_format=False)
        command = ["dcentvfy", tmp_path / "header.dcm", report]
        said = subprocess.run(command, capture_output=True, text=True, errors="replace").stderr
        assert not [line for line in said.splitlines() if line.startswith("Error")], (path.name, said)


# --- speed ---------------------------------------------------------------------------------------------------------


def test_fourteen_findings_take_less_than_ten_milliseconds() -> None:
    """A report on an image with 14 findings costs at most 10 ms of CPU, encoding included."""
    image = SourceImage(header(), findings("Effusion"))
    of(image)
    begun = time.process_time()
    for number in range(20):
        of(replace(image, reason="", dataset=header(number)))
    spent = (time.process_time() - begun) / 20
    begun = time.process_time()
    for number in range(20):
        header(number)
    spent -= (time.process_time() - begun) / 20
    print(f"{1000 * spent:.1f} ms of CPU a report")
    assert spent < 0.010
