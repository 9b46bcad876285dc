"""The made pictures that a gate must refuse: each is what its name says, and none mixes fitted and judged patients."""

from collections import Counter

import numpy as np
import pytest

from inference.evaluation.counterexamples import AVERAGED, KINDS, PAIRED, counterexamples
from inference.serving.image_gate import TEXTURE, texture


def chest(level: float = 0.0) -> np.ndarray:
    """A noisy picture with a dark half, float32 [rows, columns] in 0..1, no pixel of which equals its neighbour."""
    picture = 0.2 * np.random.default_rng(3).random((96, 80))
    picture[:, 40:] += 0.5
    return np.asarray(level + picture, np.float32)


def test_each_kind_is_made_as_often() -> None:
    """As many pictures of each kind come out, float32 with values in 0..1."""
    made = list(counterexamples([chest(), chest(0.2)], np.random.default_rng(0), 3))
    assert [kind for kind, _, _ in made] == [kind for kind in (*KINDS, *PAIRED) for _ in range(3)]
    more = counterexamples([chest(), chest(0.2)], np.random.default_rng(0), 3, averaged=5)
    counts = Counter(kind for kind, _, _ in more)
    assert counts.pop(AVERAGED) == 5
    assert set(counts.values()) == {3}
    assert all(picture.dtype == np.float32 and 0 <= picture.min() <= picture.max() <= 1 for _, _, picture in made)


def test_two_chests_are_of_the_same_group() -> None:
    """A picture that the gate is judged on never holds half of one that it was fitted on."""
    chests = [np.full((20, 20), level, np.float32) for level in (0.1, 0.2, 0.8, 0.9)]
    groups = [True, True, False, False]
    made = counterexamples(chests, np.random.default_rng(0), 40, groups)
    averages = [(i, float(picture.mean())) for kind, i, picture in made if kind == "two averaged"]
    assert len(averages) == 40
    assert all((mean < 0.5) == groups[i] for i, mean in averages)


@pytest.mark.parametrize("kind", ["covered in the middle", "clipped", "narrowed between black"])
def test_a_covered_or_clipped_part_is_flat(kind: str) -> None:
    """A square, clipped lungs and black sides have no texture, by which the gate can know them; the chest has some."""
    cells = TEXTURE**2
    plain = texture(chest()[None, None])[0, cells : 2 * cells]
    made = KINDS[kind](chest(), np.random.default_rng(1))
    flat = texture(np.asarray(made, np.float32)[None, None])[0, cells : 2 * cells]
    assert plain.max() < 0.1
    assert flat.max() > 0.6
