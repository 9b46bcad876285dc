"""Manifests, pictures and folds."""

import io
from dataclasses import replace
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from PIL import Image as Pillow

from inference.bundle_writer import LABELS
from inference.errors import DataError
from inference.evaluation.data import (
    FINDINGS,
    Row,
    Table,
    fold_of,
    pictures,
    preprocessed,
    read_table,
    targets_with_pathology,
)
from inference.evaluation.parts import common_findings, fitting_count, stratified_folds
from inference.pictures import display_values
from inference.preprocess import build_from, preprocess, standard_preprocessing

HEAD = "file,patient_id,age,sex,view,follow_up,cohort,Effusion,Mass\n"


def png(value: int, side: int = 8) -> bytes:
    stream = io.BytesIO()
    Pillow.fromarray(np.full((side, side), value, np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def test_pictures_come_from_a_folder_and_from_a_zip_archive(tmp_path: Path) -> None:
    """Pictures are found by base name beside the manifest, in a folder or an archive, in the order of the rows."""
    (tmp_path / "a.csv").write_text(HEAD + "1.png,7,50,F,AP,0,c,1,0\n")
    (tmp_path / "a").mkdir()
    (tmp_path / "a/1.png").write_bytes(png(255))
    (tmp_path / "b.csv").write_text(HEAD + "2.png,8,,,,,,0,1\n")
    with ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("deep/2.png", png(0))
    table = read_table(tmp_path)
    assert [float(p.max()) for p in pictures(table)] == [1.0, 0.0]
    assert table.targets.tolist() == [[1, 0], [0, 1]]
    assert table.rows[1].cohort == "b"
    assert np.isnan(table.rows[1].age)


def test_a_picture_in_two_manifests_counts_once(tmp_path: Path) -> None:
    """A picture that is listed twice, even under another suffix, is counted once."""
    (tmp_path / "a.csv").write_text(HEAD + "1.png,7,50,F,AP,0,c,1,0\n")
    (tmp_path / "b.csv").write_text(HEAD + "1.jpg,7,50,F,AP,0,c,1,0\n2.jpg,7,50,F,AP,0,c,1,0\n")
    assert [row.file for row in read_table(tmp_path).rows] == ["1.png", "2.jpg"]


def test_other_csv_files_are_left_alone_but_a_named_one_must_fit(tmp_path: Path) -> None:
    """A CSV file without findings is ignored; if it was named, the error says what it lacks."""
    (tmp_path / "a.csv").write_text(HEAD + "1.png,7,50,F,AP,0,c,1,0\n")
    (tmp_path / "notes.csv").write_text("when,what\n1,2\n")
    assert len(read_table(tmp_path).rows) == 1
    with pytest.raises(DataError, match=r"notes\.csv has no column file"):
        read_table(tmp_path, ["notes"])


def test_both_orders_of_the_findings_hold_the_same_labels() -> None:
    """The outputs' order of published networks and the manifests' order differ, but name the same fourteen findings."""
    assert len(FINDINGS) == len(LABELS) == 14
    assert set(FINDINGS) == set(LABELS)
    assert list(FINDINGS) == sorted(FINDINGS)


def test_no_patient_is_on_two_sides() -> None:
    """A patient's fold depends on the identifier only, and every fold gets its share."""
    folds = [fold_of(str(patient), 5) for patient in range(2000)]
    assert folds == [fold_of(str(patient), 5) for patient in range(2000)]
    assert min(np.bincount(folds)) > 320


def test_what_is_not_labelled_is_masked(tmp_path: Path) -> None:
    """Blank and -1 cells, and findings that another manifest lacks, are not labelled; any finding follows from it."""
    cells = ["1.png,7,,,,,,1,", "2.png,8,,,,,,-1,0", "3.png,9,,,,,,0,-1.0", "4.png,9,,,,,,0,0"]
    (tmp_path / "a.csv").write_text(HEAD + "\n".join(cells))
    (tmp_path / "b.csv").write_text("file,patient_id,Mass\n5.png,4,1\n6.png,4,0\n")
    table, nan = read_table(tmp_path), float("nan")
    assert table.findings == ("Effusion", "Mass")
    expected = [[1, nan], [nan, 0], [0, nan], [0, 0], [nan, 1], [nan, 0]]
    np.testing.assert_array_equal(table.targets, expected)
    np.testing.assert_array_equal(table.sick, [1, nan, nan, 0, 1, nan])
    np.testing.assert_array_equal(targets_with_pathology(table)[:, -1], table.sick)


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ("file,patient_id,Effusion,Tuberculosis,Atelectasys", r"Tuberculosis, Atelectasys \(did you mean Atelectasis"),
        ("file,patient,Effusion", r"no column patient_id \(is 'patient' meant to be it\?\)"),
        ("image,patient_id,Effusion", "no column file"),
        ("file,patient_id,melanoma", "no column of a finding"),
        ("file,patient_id,Mass,Mass", "more than one column Mass"),
    ],
)
def test_columns_that_are_missing_or_not_known(head: str, message: str, tmp_path: Path) -> None:
    """The error names the column at fault, and the name that was meant, as far as it can be guessed."""
    (tmp_path / "a.csv").write_text(f"{head}\n1.png,7,1{',0' * (head.count(',') - 2)}\n")
    with pytest.raises(DataError, match=message):
        read_table(tmp_path)


def test_columns_are_ignored_or_learnt_by_name(tmp_path: Path) -> None:
    """A column is left out, or taken for a finding, only if it is named."""
    (tmp_path / "a.csv").write_text("file,patient_id,Effusion,Tuberculosis\n1.png,7,1,0\n")
    assert read_table(tmp_path, ignored=["Tuberculosis"]).findings == ("Effusion",)
    assert read_table(tmp_path, findings=["Tuberculosis", "Effusion"]).findings == ("Tuberculosis", "Effusion")


def labelled_table(positives: dict[str, int], count: int = 200) -> Table:
    """A table of `count` patients, of whom the first `positives` have each finding."""
    rows = [tuple(float(i < n) for n in positives.values()) for i in range(count)]
    return Table(tuple(positives), tuple(Row(f"{i}.png", Path("m.csv"), f"p{i}", 50, "F", "PA", 0, "m", t, max(t))
                                         for i, t in enumerate(rows)))  # fmt: skip


def test_stratified_folds_spread_each_finding_and_keep_patients_together() -> None:
    """A finding's positives are spread evenly over the folds; all images of a patient are in one fold."""
    table = labelled_table({"Effusion": 41, "Mass": 23, "Hernia": 3})
    folds = stratified_folds(table, 5)
    for k in range(3):
        assert np.ptp(np.bincount(folds, table.targets[:, k], minlength=5)) <= 1
    assert np.ptp(np.bincount(folds)) <= 4
    paired = Table(table.findings, tuple(replace(row, patient_id=f"p{i // 2}") for i, row in enumerate(table.rows)))
    together = stratified_folds(paired, 5)
    assert all(len(set(together[paired.patients == patient])) == 1 for patient in set(paired.patients))


def test_rare_findings_are_left_out_by_name() -> None:
    """A finding with fewer than ten positives in either part is left out, its images stay sick, and it is said."""
    table, said = labelled_table({"Effusion": 60, "Mass": 30, "Hernia": 9}), list[str]()
    held = stratified_folds(table, 3) == 0
    kept = common_findings(table, held, said.append)
    assert kept.findings == ("Effusion", "Mass")
    assert "Hernia (6 in training, 3 held out)" in said[0]
    np.testing.assert_array_equal(kept.sick, table.sick)
    with pytest.raises(DataError, match="no finding has 10 positive images"):
        common_findings(labelled_table({"Hernia": 20}), held, said.append)


@pytest.mark.parametrize(("positives", "count"), [(150, 10), (50, 5), (40, 4), (31, 3), (12, 10)])
def test_as_much_is_held_out_as_rare_findings_need(positives: int, count: int) -> None:
    """A tenth is held out, or more where this gives a finding its ten positives; nothing helps one that has too few."""
    assert fitting_count(labelled_table({"Effusion": 160, "Mass": positives})) == count


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("1.png,7,50,F,AP,0,c,x,0", "line 2: Effusion is 'x'"),
        ("1.png,7,50,F,AP,0,c,2,0", "expected 1"),
        ("9.png,7,50,F,AP,0,c,1,0", r"9\.png"),
    ],
)
def test_faults_name_the_place(tmp_path: Path, line: str, what: str) -> None:
    """The error names the line of a finding that is neither 0 nor 1, and a picture that is missing."""
    (tmp_path / "a.csv").write_text(HEAD + line + "\n")
    (tmp_path / "a").mkdir()
    with pytest.raises(DataError, match=what):
        list(pictures(read_table(tmp_path)))


def test_display_values_keep_sixteen_bits() -> None:
    """A 16-bit PNG file keeps its 65536 levels; content that is not a picture is refused."""
    stream = io.BytesIO()
    Pillow.fromarray(np.array([[0, 257], [65535, 258]], np.uint16)).save(stream, "PNG")
    values = display_values(stream.getvalue(), "x.png")
    assert values.dtype == np.float32
    np.testing.assert_allclose(values, np.array([[0, 257], [65535, 258]]) / 65535, rtol=1e-6)
    with pytest.raises(DataError, match=r"x\.png"):
        display_values(b"no picture", "x.png")


def test_training_sees_what_serving_sees(tmp_path: Path) -> None:
    """The network's input in training is, bit for bit, what `preprocess` returns for the file's pixels."""
    (tmp_path / "a.csv").write_text(HEAD + "1.png,7,50,F,AP,0,c,1,0\n")
    (tmp_path / "a").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (90, 70), dtype=np.uint8)
    Pillow.fromarray(pixels).save(tmp_path / "a/1.png")
    transform = build_from(standard_preprocessing(32))
    (made,) = preprocessed(read_table(tmp_path), [transform])
    assert np.array_equal(made[0], preprocess(transform, pixels.astype(np.float32) / np.float32(255)))


def test_the_real_manifests_are_read(shared: Path) -> None:
    """Pictures that two manifests list at different sizes count once; all pictures of a patient are in one fold."""
    table = read_table(shared / "data", ["nih128", "nih512"])
    assert len(table.rows) == 9437
    assert len(table.findings) == 14
    fold = table.folds(5)
    assert all(len(set(fold[table.patients == patient])) == 1 for patient in set(table.patients[:500]))
