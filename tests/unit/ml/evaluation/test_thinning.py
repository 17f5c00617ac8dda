"""Largest triangle three buckets, against the pseudocode of the thesis computed in another way."""

import time
from itertools import pairwise

import numpy as np
import pytest

from app.ml.evaluation.curve_builders import learning
from app.ml.evaluation.thinning import largest_triangles, thinned


def reference(x: np.ndarray, y: np.ndarray, count: int) -> list[int]:
    """Bucket by bucket and point by point, with triangles by the determinant of their corners."""
    edges = np.linspace(1, len(x) - 1, count - 1).round().astype(int)
    buckets = [[0], *(list(range(edges[i], edges[i + 1])) for i in range(count - 2)), [len(x) - 1]]
    chosen = [0]
    for bucket, following in pairwise(buckets[1:]):
        mean = [x[following].mean(), y[following].mean()]
        before = [x[chosen[-1]], y[chosen[-1]]]

        def area(place: int, before: list[float] = before, mean: list[float] = mean) -> float:
            return abs(np.linalg.det([[*before, 1], [x[place], y[place], 1], [*mean, 1]])) / 2

        chosen.append(max(bucket, key=area))
    return [*chosen, len(x) - 1]


@pytest.mark.parametrize(("points", "count"), [(100, 12), (1001, 50), (52, 51)])
def test_the_points_are_those_of_the_thesis(points: int, count: int) -> None:
    draw = np.random.default_rng(points)
    x, y = np.cumsum(draw.uniform(0.5, 2, points)), np.cumsum(draw.normal(size=points))
    assert largest_triangles(x, y, count).tolist() == reference(x, y, count)


def test_a_single_peak_among_many_points_stays() -> None:
    losses = np.ones(100_000)
    losses[31_234] = 9.0
    (line,) = learning([(step, {"train/loss": value}) for step, value in enumerate(losses.tolist())]).lines
    assert 498 <= len(line.x) <= 500
    assert (31_234, 9.0) in zip(line.x, line.y, strict=True)


def test_the_ends_and_the_extremes_of_a_line_stay() -> None:
    y = np.sin(np.arange(2000) / 50)
    y[1000:1004] = (9.0, -7.0, 8.0, -8.0)  # in one bucket, where two of them are the extremes
    y[-1] = np.nan
    x = np.arange(2000.0)
    places = thinned(x, y, 50)
    assert {0, 1000, 1003, 1999} <= {*places.tolist()}
    assert len(places) <= 50
    assert (np.diff(places) > 0).all()
    assert {*largest_triangles(x, y, 48).tolist()} <= {*places.tolist()}
    assert len(thinned(x, np.full(2000, np.nan), 50)) <= 50
    assert thinned(x[:50], y[:50], 50).tolist() == list(range(50))


def test_gaps_stay_gaps() -> None:
    y = np.sin(np.arange(2000) / 50)
    y[700:800] = np.nan
    y[1555] = 9.0
    places = largest_triangles(np.arange(2000.0), y, 100)
    assert 1555 in places
    assert (np.diff(places) > 0).all()
    assert np.isnan(y[places]).sum() >= 5
    assert not np.isnan(y[places]).all()
    assert largest_triangles(np.arange(2000.0), np.full(2000, np.nan), 100).shape == (100,)


def test_a_gap_of_one_point_stays() -> None:
    y = np.sin(np.arange(2000) / 50)
    y[307] = np.nan
    assert 307 in largest_triangles(np.arange(2000.0), y, 100)


def test_a_million_points_take_less_than_a_second() -> None:
    x = np.arange(1e6)
    began = time.process_time()
    assert len(largest_triangles(x, np.sin(x / 1e4), 500)) == 500
    assert time.process_time() - began < 1
