"""The bench of simple things: its draws, its files, its verdicts, and that it asks for nothing but the defaults."""

import io

import numpy as np
import pandas as pd
import pytest

from bench.simple.baselines import Result, baselines, run
from bench.simple.sets import Count, Set, draws
from bench.simple.tables import table
from bench.simple.verdicts import Cell, Scores, clustered_error, scores


@pytest.fixture
def flowers() -> Set:
    random = np.random.default_rng(0)
    petal = np.repeat([1.0, 3.0, 5.0], 30) + random.normal(size=90) / 10
    frame = pd.DataFrame({"petal": petal, "colour": pd.Categorical(["red", "white"] * 45)})
    return table("flowers", frame.assign(kind=pd.Categorical(np.repeat(["a", "b", "c"], 30))), "kind")


def test_a_draw_leaves_out_a_third_that_it_does_not_learn_from(flowers: Set) -> None:
    drawn = draws(flowers, [0, 1])
    assert [(draw.labels, len(draw.train), len(draw.test)) for draw in drawn] == [
        ("10 a class", 30, 30),
        ("10 a class", 30, 30),
        ("all", 60, 30),
        ("all", 60, 30),
    ]
    assert all(not set(draw.train) & set(draw.test) for draw in drawn)
    assert (drawn[0].test != drawn[1].test).any()
    assert (drawn[0].permuted().train == drawn[0].train).all()
    assert sorted(drawn[0].permuted().truth) == sorted(drawn[0].truth)


def test_all_rows_of_a_set_with_its_own_test_part_are_one_draw(flowers: Set) -> None:
    own = Set(
        flowers.name, "table", flowers.rows, flowers.y, (Count(),), flowers.file, flowers.target, np.arange(0, 90, 3)
    )
    (draw,) = draws(own, [0, 1, 2])
    assert draw.test.tolist() == list(range(0, 90, 3))


def test_a_table_is_a_csv_with_its_target_under_its_own_name(flowers: Set) -> None:
    content, name, options = flowers.file(flowers, np.array([0, 89]))
    frame = pd.read_csv(io.BytesIO(content))
    assert (name, options) == ("flowers.csv", {"columns": {"kind": "target"}})
    assert frame.drop(columns="petal").to_numpy().tolist() == [["red", "a"], ["white", "c"]]


def test_every_simple_thing_learns_what_is_easy(flowers: Set) -> None:
    draw = draws(flowers, [0])[1]
    reached = {name: scores(draw, run(draw, make)).mean for name, make in baselines(draw).items()}
    assert set(reached) == {"1-NN", "logistic or ridge", "gradient boosting", "random forest"}
    assert min(reached.values()) > 90


def test_scores_of_numbers_average_to_r2() -> None:
    frame = pd.DataFrame({"x": np.arange(30.0), "y": np.arange(30.0)})
    draw = draws(table("line", frame, "y"), [0])[0]
    answers = draw.truth + np.tile([1.0, -1.0], len(draw.truth))[: len(draw.truth)]
    assert scores(draw, Result(answers, 0.0)).mean == pytest.approx(100 * (1 - 1 / draw.truth.var()), abs=1e-3)


def test_rows_of_several_draws_are_clusters() -> None:
    values = np.array([1.0, 0.0, 0.0, 1.0, 1.0, 0.0])
    alone = clustered_error(values, np.arange(6))
    assert alone == pytest.approx(values.std(ddof=1) / np.sqrt(6))
    twice = clustered_error(np.tile(values, 2), np.tile(np.arange(6), 2))
    assert twice == pytest.approx(alone)


def test_a_cell_is_held_within_one_standard_error_of_the_best() -> None:
    def cell(service: list[float]) -> Cell:
        simple = {"1-NN": [Scores((0.0, 100.0, 100.0, 100.0), 1.0)], "random forest": [Scores((0.0,) * 4, 1.0)]}
        return Cell("a", "table", "all", [np.arange(4)], [Scores(tuple(service), 61.0)], simple)

    assert (cell([0.0, 100.0, 100.0, 0.0]).best, cell([0.0, 100.0, 100.0, 0.0]).gain) == ("1-NN", -25.0)
    assert cell([0.0, 100.0, 100.0, 0.0]).held  # one row of four: exactly one standard error
    assert not cell([0.0, 100.0, 0.0, 0.0]).held
    assert not cell([0.0, 100.0, 100.0, 100.0]).cheap
