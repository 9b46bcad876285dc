"""dicom_io.results.page: what a radiologist sees on a page."""

import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from statistics import median

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dicom_io.composite.analysis import FindingResult, Location, Pathology, SourceImage, no_location
from dicom_io.phantom.thorax import BITS, draw_thorax
from dicom_io.results.contour import LINE
from dicom_io.results.language import LOCALES, Language
from dicom_io.results.page import sheet, typesetting
from dicom_io.results.page.column import fitting, height_of
from dicom_io.results.page.content import Page, pages
from dicom_io.results.page.encoding import LARGEST, jpeg
from dicom_io.results.page.radiograph import SIDE, fitted, radiograph
from dicom_io.results.page.typesetting import width_of
from dicom_io.results.wording import ranges
from tests.conftest import shared_path
from tests.support.sample_pages import (
    CONTOUR,
    CROWDED,
    ENGLISH,
    FRENCH,
    KINDS,
    LATERAL,
    TRUNCATED,
    analysis,
    coloured,
    drawn,
    of,
    picture_of,
    reading,
    seen,
    words,
)
from tests.support.sample_results import FAILED, FOUND, MODEL, NIH, WITHOUT, findings, header

EVERY = [(kind, language) for kind in KINDS for language in (ENGLISH, FRENCH)]
REPLACES = "Replaces the AI result of 20 Nov 2026 09:12 (model 2)."


# --- the right findings above the right picture --------------------------------------------------------------------


def test_each_image_has_a_page_with_its_own_findings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two frontal images, the negative one first, each page has the findings and the picture of its own image."""
    negative, positive = of("two frontals")
    said = [words(page, monkeypatch) for page in (negative, positive)]
    assert "AI: no finding above threshold" in said[0]
    assert "image 1 of 2" in said[0]
    assert "score 9" not in said[0]
    assert "AI: 1 finding above threshold" in said[1]
    assert "image 2 of 2" in said[1]
    assert "Pneumothorax above threshold score 93" in said[1]
    grey = [np.asarray(picture_of(page).convert("L"))[SIDE // 2] for page in (negative, positive)]
    assert grey[0][10] < 20 < 230 < grey[0][-10], "the ramp of the first image"
    assert grey[1][10] > 230 > 20 > grey[1][-10], "the ramp of the second, which is mirrored"


def test_no_image_stands_above_what_another_one_got(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is a page for each image that was analysed and for no other, and one page where none was."""
    assert [page.place for page in of("several images")] == [0, 1]
    assert [page.place for page in of("lateral")] == [0]
    (page,) = of("several not analysed")
    assert not page.analysed
    assert "AI: no result for these images" in words(page, monkeypatch)
    (page,) = pages(analysis(LATERAL, seen(FAILED)), ENGLISH)
    assert page.place == 1, "the picture that could be decoded"


def test_a_lateral_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was not analysed is on the page, in the words of the reader's language."""
    said = words(of("lateral")[0], monkeypatch)
    assert "Image 2 (lateral) was not analysed: the model reads frontal images only." in said
    said = words(of("lateral", FRENCH)[0], monkeypatch)
    assert "Image 2 (profil) non analysée : le modèle ne lit que les incidences de face." in said


def test_images_that_share_a_reason_share_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four laterals take no more room than one."""
    (page,) = pages(analysis(seen(FOUND), LATERAL, LATERAL, TRUNCATED, LATERAL, LATERAL), ENGLISH)
    said = words(page, monkeypatch)
    assert "Images 2, 3, 5, 6 (lateral) were not analysed" in said
    assert "Image 4 was not analysed: the image file is incomplete. Send it again." in said
    assert [ranges(n) for n in ([1], [1, 2], [2, 3, 4], [1, 3, 4, 5, 9])] == ["1", "1, 2", "2-4", "1, 3-5, 9"]


def test_the_answer_is_in_the_band(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first line is the answer: findings, none, no result, or that the model is a test."""
    bands = {}
    for kind in KINDS:
        with reading(monkeypatch) as lines:
            sheet.draw(of(kind)[0])
        bands[kind] = [line.text for line in lines if line.size == sheet.ANSWER]
    assert bands["found"] == ["AI: 2 findings above threshold"]
    assert bands["without findings"] == ["AI: no finding above threshold"]
    assert bands["truncated"] == ["AI: no result for this image"]
    assert bands["untrained"] == ["UNTRAINED MODEL: a test, the values mean nothing"]
    some = seen(replace(WITHOUT, pathology=Pathology("above", 0.9, 60, 0.4)))
    assert "something above threshold" in words(pages(analysis(some), ENGLISH)[0], monkeypatch)


def test_at_most_six_findings_and_none_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Six findings have rows; every other one is named, above, below or not assessed."""
    many = seen(replace(FOUND, findings=findings(*NIH[:8])), CONTOUR)
    said = words(pages(analysis(many), ENGLISH)[0], monkeypatch)
    assert said.count(" above threshold score ") == 6
    assert "Also above or near threshold: cardiomegaly, atelectasis." in said
    assert "Below threshold: pneumothorax," in said
    assert "Not assessed: " in words(of("some not assessed")[0], monkeypatch)


def test_it_says_what_it_replaces_and_when_it_was_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time of image and analysis, model, version and the sentence on what is replaced stand on the page."""
    image = seen(FOUND, dataset=header(SeriesNumber="3", AcquisitionDate="20260101", AcquisitionTime="235959.5"))
    said = words(pages(analysis(image), ENGLISH, REPLACES)[0], monkeypatch)
    for sentence in ("Chest PA, image 1 of 1, series 3", "Taken 1 Jan 2026 23:59", REPLACES,
                     "AI result of 2 Jan 2026 10:15, hilum-cxr 1.0.0"):  # fmt: skip
        assert sentence in said


@pytest.mark.parametrize(("elements", "expected"), [
    ({"AcquisitionDateTime": "20260103081530.5+0100"}, "Taken 3 Jan 2026 08:15"),
    ({"StudyTime": "99"}, "Taken 2 Jan 2026"),
    ({"StudyDate": "2026", "StudyTime": "10"}, ""),
    ({"ContentDate": "20260104"}, "Taken 4 Jan 2026"),
])  # fmt: skip
def test_a_time_that_is_none_is_not_shown(
    elements: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dates and times of the header are read as far as they are valid."""
    said = words(pages(analysis(seen(FOUND, dataset=header(**elements))), ENGLISH)[0], monkeypatch)
    assert expected in said
    assert expected or "Taken" not in said


# --- the picture ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rows", "columns"), [(2500, 2048), (2048, 2500), (64, 64), (1, 1), (3000, 20)])
def test_a_page_has_one_size_and_the_radiograph_keeps_its_shape(rows: int, columns: int) -> None:
    """Every page is 1600 x 1200; the radiograph's long side has 960 pixels and its proportions are kept."""
    (page,) = pages(analysis(seen(WITHOUT, pixels=np.full((rows, columns), 1.0, np.float32), side="unknown")), ENGLISH)
    assert sheet.draw(page).size == (1600, 1200)
    white = np.asarray(picture_of(page).convert("L")) == 255
    shown = (np.mean(white[:, SIDE // 2]), np.mean(white[SIDE // 2]))
    longest = max(rows, columns)
    assert shown == pytest.approx((rows / longest, columns / longest), abs=1.5 / SIDE)


@pytest.mark.parametrize("kind", KINDS)
def test_every_page_has_one_size(kind: str) -> None:
    """With and without a picture, in both languages."""
    for language in (ENGLISH, FRENCH):
        assert {sheet.draw(page).size for page in of(kind, language)} == {(1600, 1200)}


def orange(picture: Image.Image) -> np.ndarray:
    """Where a picture has the colour of a contour."""
    near: np.ndarray = (np.abs(np.asarray(picture, int) - LINE) <= 2).all(axis=2)
    return near


def test_the_contour_is_a_line_at_its_place() -> None:
    """The line runs where the location says and nowhere else; the radiograph inside and outside is as it was."""
    plain, outlined = (picture_of(of(kind)[0]) for kind in ("found", "contour"))
    rows, columns = np.nonzero(orange(outlined))
    top, height = round(SIDE * 0.1), SIDE * 0.8
    assert (columns.min() / SIDE, columns.max() / SIDE) == pytest.approx((0.25, 0.5), abs=0.01)
    assert ((rows.min() - top) / height, (rows.max() - top) / height) == pytest.approx((0.25, 0.75), abs=0.01)
    assert (np.asarray(plain) != np.asarray(outlined)).any(axis=2).mean() < 0.02


def test_no_contour_of_80_radiographs_is_blank_or_floods() -> None:
    """On every radiograph the contour is seen all around, and inside and outside of it the picture is as it was."""
    for number, pixels in enumerate(radiographs(80)):
        angles, size = np.linspace(0, 2 * np.pi, 40), 0.09 + number * 0.002
        ring = tuple((0.4 + size * np.cos(angle), 0.5 + size * np.sin(angle)) for angle in angles)
        image = seen(FOUND, Location("Mass", (ring,)), pixels=pixels)
        outlined = radiograph(pages(analysis(image), ENGLISH)[0])
        plain = radiograph(pages(analysis(replace(image, location=no_location)), ENGLISH)[0])
        line = coloured(outlined)
        across = line[SIDE // 2].nonzero()[0]
        assert 0.001 < line.mean() < 0.03
        assert across.size >= 4, "the line is crossed twice on the way across the picture"
        assert across[-1] - across[0] > SIDE * size
        assert np.mean(np.asarray(outlined)[..., 2] != np.asarray(plain)[..., 2]) < 0.04


def test_words_stand_where_no_contour_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a contour the radiograph bears no colour, and the page says so for the strongest finding."""
    for kind in ("found", "no location"):
        (page,) = of(kind)
        assert np.ptp(np.asarray(picture_of(page), int), axis=2).max() <= 8
        assert "No location given for mass." in words(page, monkeypatch)
    said = words(of("contour")[0], monkeypatch)
    assert "Region that weighed most for mass. Approximate; not a lesion outline." in said
    said = words(of("without findings")[0], monkeypatch)
    assert "location" not in said
    assert "Region" not in said


def test_the_side_is_marked_or_said_to_be_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """An L (French: G) at the viewer's right, or the words; and how the image was turned to be shown."""
    marks = {}
    for side in ("as stored", "flipped", "turned", "unknown"):
        with reading(monkeypatch) as lines:
            sheet.draw(pages(analysis(seen(WITHOUT, side=side)), ENGLISH)[0])
        marks[side] = [line for line in lines if line.text in ("L", "side unknown")]
        said = " ".join(line.text for line in lines)
        assert ("flipped for display" in said) == (side == "flipped")
        assert ("turned for display" in said) == (side == "turned")
    assert {side: mark[0].text for side, mark in marks.items()} == {
        "as stored": "L", "flipped": "L", "turned": "L", "unknown": "side unknown"
    }  # fmt: skip
    assert all(mark[0].box[0] > SIDE / 2 for mark in marks.values())
    with reading(monkeypatch) as lines:
        sheet.draw(of("found", FRENCH)[0])
    assert "G" in [line.text for line in lines]


def test_the_mark_keeps_off_what_is_there() -> None:
    """A letter that was burned into the corner stays as it is; the mark goes below it."""
    corner = np.full((960, 960), 0.3, np.float32)
    corner[20:70, 880:940:4] = 1.0
    marked = np.asarray(picture_of(pages(analysis(seen(WITHOUT, pixels=corner)), ENGLISH)[0]).convert("L"))
    assert (marked[20:70, 880:940] == np.asarray(fitted(corner))[20:70, 880:940]).all()
    assert marked[84:180, 860:].max() > 230


def test_another_patient_changes_nothing() -> None:
    """No name, number or birth date is on a page."""
    other = header(PatientName="Other^Name", PatientID="X", AccessionNumber="Y", PatientBirthDate="19500101")
    pictures = [drawn(pages(analysis(seen(FOUND, dataset=dataset)), ENGLISH)[0]) for dataset in (FOUND.dataset, other)]
    assert (pictures[0] == pictures[1]).all()


def test_each_statement_changes_the_page() -> None:
    """Results, reasons, contour, its absence, the language and the warning of untrained weights are all drawn."""
    every = [drawn(page).tobytes() for kind, language in EVERY for page in of(kind, language)]
    assert len(set(every)) == len(every) - 2, "found and no location look the same, in each language"


def test_untrained_weights_are_alarming() -> None:
    """With untrained weights the whole band is red."""

    def redness(kind: str) -> float:
        band = drawn(of(kind)[0])[5].astype(int)
        return float((band[20:, 0] - band[20:, 1]).mean())

    assert redness("untrained") > 100 > 10 > redness("found")


# --- legible -------------------------------------------------------------------------------------------------------


def check_lines(page: Page, patch: pytest.MonkeyPatch) -> None:
    """No type is too small, no line leaves its place or touches another one, and no percent sign is there."""
    with reading(patch) as lines:
        picture = sheet.draw(page)
    assert picture.size == (1600, 1200)
    assert min(line.size for line in lines) >= 24
    assert "%" not in "".join(line.text for line in lines)
    left, _, right, bottom = sheet.COLUMN
    beside = [line.box for line in lines if line.box[0] >= left - 2 and sheet.BAND_HEIGHT < line.box[1] < bottom]
    assert all(box[0] >= left - 2 and box[2] <= right + 2 and box[3] <= bottom + 4 for box in beside), beside
    rows = sorted({(box[1], box[3]) for box in beside})
    ends: dict[int, list[tuple[float, float, float, float]]] = {}
    for box in beside:
        ends.setdefault(round(box[1] / 8), []).append(box)
    for together in ends.values():  # a call and its score stand on one line
        together.sort()
        assert all(one[2] < other[0] for one, other in pairwise(together))
    assert all(lower[0] > upper[0] for upper, lower in pairwise(rows))
    band = [line.box for line in lines if line.box[3] < sheet.BAND_HEIGHT and line.size in (46, 34)]
    assert all(box[0] >= 0 and box[2] <= 1600 for box in band)
    assert len(band) < 2 or band[0][2] < band[1][0]
    foot = [line.box for line in lines if line.box[1] > bottom]
    assert len(foot) == 2
    assert all(box[0] >= 10 and box[2] <= 1590 and box[3] <= 1200 for box in foot)


@pytest.mark.parametrize("replaces", ["", REPLACES * 2], ids=["", "replaces"])
@pytest.mark.parametrize(("kind", "language"), EVERY, ids=lambda value: getattr(value, "code", value))
def test_every_line_is_legible_and_in_its_place(
    kind: str, language: Language, replaces: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The smallest type has 24 pixels, and nothing runs over, on any page in any language."""
    for page in of(kind, language, replaces):
        check_lines(page, monkeypatch)


result = st.builds(
    FindingResult,
    st.sampled_from([*NIH, "Enlarged Cardiomediastinum", "Fracture", "COVID-19", "Lung Lesion", "Tuberculosis"]),
    st.just(0.5), st.just(0.5), st.sampled_from(["above", "near", "below"]), st.integers(0, 100),
)  # fmt: skip
text = st.characters(min_codepoint=33, max_codepoint=0x17F, exclude_characters="%")
reason = st.text(text, min_size=1, max_size=300)
known = st.sampled_from(
    [
        "a lateral view: x",
        "younger than 18 years: x",
        "the picture does not look like",
        "Pixel Data has",
        "another part",
    ]
)
other = st.builds(
    lambda reason, view: replace(FAILED, reason=reason, view=view),
    reason | known, st.sampled_from(["", "PA", "lateral", "oblique"]),
)  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(
    st.lists(result, max_size=20, unique_by=lambda found: found.finding), st.lists(other, max_size=25),
    st.text(text, max_size=80), st.sampled_from([ENGLISH, FRENCH]), st.booleans(),
)  # fmt: skip
def test_no_text_runs_over(
    results: list[FindingResult], others: list[SourceImage], name: str, language: Language, alone: bool
) -> None:
    """However many findings, images and reasons there are and however long the names are, lines go and type stays."""
    analysed = seen(replace(CROWDED, findings=tuple(results)), side="flipped")
    images = others if alone and others else [analysed, *others]
    left, top, right, bottom = sheet.COLUMN
    for page in pages(analysis(*images, model=replace(MODEL, name=name, evaluated=False)), language, REPLACES * 2):
        blocks = fitting(page, right - left, bottom - top)
        assert height_of(blocks) <= bottom - top
        assert all(blocks)
        for line in (line for block in blocks for line in block):
            needed = width_of(line.text, line.size) + (20 + width_of(line.end, line.size) if line.end else 0)
            assert needed <= right - left, line


def test_type_that_is_too_small_is_refused() -> None:
    """Nobody can draw with less than 24 pixels."""
    with pytest.raises(ValueError, match="at least 24"):
        typesetting.font(23)


def test_colours_can_be_told_from_the_ground_without_hue() -> None:
    """Each colour of type has the contrast of 4.5 that WCAG 2.1 asks for, on each ground that it stands on."""

    def luminance(colour: tuple[int, int, int]) -> float:
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in colour)]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    t = typesetting
    pairs = [(c, t.GROUND) for c in (t.WHITE, t.GREY, t.ORANGE, t.SKY_BLUE, t.YELLOW)]
    pairs += [(t.WHITE, t.BAND), (t.GREY, t.BAND), (t.YELLOW, t.BAND), (t.WHITE, t.RED)]
    for colour, ground in pairs:
        assert (luminance(colour) + 0.05) / (luminance(ground) + 0.05) >= 4.5, (colour, ground)


def test_the_font_has_every_letter_of_every_language() -> None:
    """No letter of a catalogue is drawn as the box that stands for a missing one."""
    font = typesetting.font(40)
    missing = bytes(font.getmask("\uffff"))
    letters = {letter for file in LOCALES.glob("*.po") for letter in file.read_text(encoding="utf-8") if letter > " "}
    assert [letter for letter in sorted(letters) if bytes(font.getmask(letter)) == missing] == []
    assert "%" not in letters


# --- what it costs -------------------------------------------------------------------------------------------------


def radiographs(count: int) -> list[np.ndarray]:
    """Real ones, or drawn ones where there are none; then the same mirrored, lighter and mirrored again, and so on."""
    shared = shared_path()
    files = sorted((shared / "data/nih1024").glob("*.png"))[:count] if shared else []
    found = [np.asarray(Image.open(file).convert("L"), np.float32) / 255 for file in files]
    found = found or [np.asarray(draw_thorax(seed, "none", 625, 512) / 2**BITS, np.float32) for seed in range(8)]
    while len(found) < count:
        found += [pixels[:, ::-1] ** 0.9 for pixels in found]
    return found[:count]


def test_a_page_is_small_and_quickly_made() -> None:
    """A page of a radiograph has at most 300 KB in JPEG and takes at most 120 ms of processor time, noise included."""
    noise = np.random.default_rng(0).uniform(0, 1, (1250, 1024)).astype(np.float32)
    crowd = KINDS["crowded"]
    took = []
    for pixels in [*radiographs(20), noise]:
        page = pages(replace(crowd, images=(replace(CROWDED, pixels=pixels), *crowd.images[1:])), FRENCH, REPLACES)[0]
        began = time.process_time()
        assert len(jpeg(sheet.draw(page))) <= LARGEST == 300_000
        took.append(time.process_time() - began)
    assert median(took) < 0.12


def test_pixels_beyond_the_scale_do_no_harm() -> None:
    """Values below 0 and above 1 are black and white."""
    wild = fitted(np.array([[-1.0, 2.0]], np.float32))
    assert np.asarray(wild)[0, 0] == 0
    assert np.asarray(wild)[0, -1] == 255


def test_the_font_is_our_own() -> None:
    """Pages look the same on every machine: the font is a file of the package, with its licence beside it."""
    assert typesetting.FONT.is_file()
    assert "Apache License 2.0" in (Path(typesetting.FONT).parent / "README.md").read_text()
