"""Manifests, pictures and folds."""

import io
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from PIL import Image as Pillow

from inference.bundle_writer import LABELS
from inference.errors import DataError
from inference.evaluation.data import FINDINGS, fold_of, pictures, preprocessed, read_table
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
    """A CSV file without findings is ignored; if it was named, the error states its columns."""
    (tmp_path / "a.csv").write_text(HEAD + "1.png,7,50,F,AP,0,c,1,0\n")
    (tmp_path / "notes.csv").write_text("when,what\n1,2\n")
    assert len(read_table(tmp_path).rows) == 1
    with pytest.raises(DataError, match="when"):
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


@pytest.mark.parametrize(
    ("line", "what"), [("1.png,7,50,F,AP,0,c,x,0", "line 2"), ("9.png,7,50,F,AP,0,c,1,0", r"9\.png")]
)
def test_faults_name_the_place(tmp_path: Path, line: str, what: str) -> None:
    """The error names the line of a finding that is not a number, and a picture that is missing."""
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
