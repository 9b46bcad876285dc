"""Contours: the closed line around a map's peak, its area and its centre."""

import numpy as np
import pytest

from inference.serving.contour import area, centroid, contains, contour_of_peak


def cone(rows: int, columns: int, x: float, y: float, radius: float) -> np.ndarray:
    """A map that falls from 1 at (x, y) to 0 at this distance."""
    down, across = np.mgrid[0:rows, 0:columns] + 0.5
    return np.asarray(np.maximum(1 - np.hypot(across - x, down - y) / radius, 0), np.float32)


@pytest.mark.parametrize("place", [(30.0, 20.0), (11.3, 33.7), (48.5, 12.5)])
def test_the_contour_of_a_cone_is_a_circle(place: tuple[float, float]) -> None:
    """At half of its height a cone of radius 16 has a circle of radius 8 around its place, to a tenth of a pixel."""
    polygon = contour_of_peak(cone(48, 64, *place, 16), 0.5)
    assert np.abs(np.hypot(*(polygon - place).T) - 8).max() < 0.1
    assert abs(area(polygon)) == pytest.approx(np.pi * 64, rel=0.01)
    assert centroid(polygon) == pytest.approx(place, abs=0.05)


def test_only_the_part_with_the_peak_is_enclosed() -> None:
    """A second, lower peak has no part in the contour."""
    both = cone(64, 64, 16, 16, 12) + 0.8 * cone(64, 64, 48, 48, 12)
    polygon = contour_of_peak(both, 0.5)
    assert contains(polygon, 16, 16)
    assert not contains(polygon, 48, 48)
    assert polygon.max() < 26


def test_a_contour_at_the_edge_is_closed_there() -> None:
    """A peak in the corner has a quarter of a circle, along the edges themselves."""
    polygon = contour_of_peak(cone(64, 64, 0, 64, 20), 0.5)
    assert abs(area(polygon)) == pytest.approx(np.pi * 100 / 4, rel=0.03)
    assert polygon.min() >= 0
    assert polygon.max() <= 64


@pytest.mark.parametrize("seed", range(20))
def test_any_map_has_a_contour_around_its_peak(seed: int) -> None:
    """For every map of noise, with saddles, the line encloses the peak and never stands still."""
    values = np.random.default_rng(seed).normal(size=(9, 11)).astype(np.float32)
    polygon = contour_of_peak(values, float(values.max()) / 2)
    row, column = np.unravel_index(int(values.argmax()), values.shape)
    assert contains(polygon, column + 0.5, row + 0.5)
    assert (polygon != np.roll(polygon, 1, axis=0)).any(axis=1).all()


def test_nothing_above_the_level_has_no_contour() -> None:
    """A flat map, and one below the level, give no points."""
    assert len(contour_of_peak(np.zeros((4, 4), np.float32), 0.0)) == 0
    assert len(contour_of_peak(np.ones((4, 4), np.float32), 2.0)) == 0
