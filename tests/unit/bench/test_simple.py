"""The bench of simple things: its draws, its files, its verdicts, and that it asks for nothing but the defaults."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from bench.simple import report
from bench.simple.baselines import Result, baselines, run
from bench.simple.files import inputs_of, json_lines, long_csv, zipped_images
from bench.simple.series import read_ts
from bench.simple.sets import Count, Set, draws
from bench.simple.tables import table
from bench.simple.texts import read_mail
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


def test_series_are_read_with_all_their_channels_and_lengths() -> None:
    text = "# made up\n@problemName walk\n@data\n1,2,3:4,5,6:left\n7,8:9,10:right\n"
    rows, labels = read_ts(text)
    assert labels == ["left", "right"]
    assert [row.tolist() for row in rows] == [[[1, 4], [2, 5], [3, 6]], [[7, 9], [8, 10]]]


@pytest.fixture
def waves() -> Set:
    random = np.random.default_rng(0)
    y = np.repeat(["slow", "fast"], 20)
    rows = [np.sin(np.arange(random.integers(20, 30)) / (3 if label == "slow" else 1))[:, None] for label in y]
    return Set("waves", "series", rows, y, (Count(),), json_lines)


def test_series_in_each_form_say_the_same(waves: Set) -> None:
    lines = json_lines(waves, np.array([0, 39]))[0].decode().splitlines()
    frame = pd.read_csv(io.BytesIO(long_csv(waves, np.array([0, 39]))[0]))
    assert [json.loads(line)["label"] for line in lines] == ["slow", "fast"]
    assert (
        json.loads(lines[1])["values"] == frame[frame.series == 1].channel_0.to_list() == waves.rows[39][:, 0].tolist()
    )
    assert inputs_of(waves, np.array([39])) == [waves.rows[39][:, 0].tolist()]


def test_random_kernels_know_waves_by_their_frequency(waves: Set) -> None:
    (draw,) = draws(waves, [0])
    assert scores(draw, run(draw, baselines(draw)["random kernels + ridge"])).mean == 100


def test_a_mail_has_a_subject_and_the_beginning_of_its_text() -> None:
    assert read_mail("From: a\nSubject: Re: the\n key\n\nIt is under the mat.\n") == (
        "Re: the key",
        "It is under the mat.",
    )


def test_images_are_a_zip_with_a_folder_for_each_class() -> None:
    pixels = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
    images = Set("dots", "image", pixels, np.array(["a", "b"]), (Count(),), zipped_images)
    with zipfile.ZipFile(io.BytesIO(zipped_images(images, np.array([1]))[0])) as file:
        assert file.namelist() == ["b/00000.png"]
        assert (np.asarray(Image.open(file.open("b/00000.png"))) == pixels[1]).all()


def test_kept_cells_are_merged_and_become_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def cell(labels: str, *rows: float) -> Cell:
        simple = {"1-NN": [Scores((0.0, 100.0), 1.0)]}
        return Cell("a", "table", labels, [np.arange(2)], [Scores(rows, 2.0)], simple, "mlp, full")

    report.save([cell("few", 0, 0), cell("all", 0, 0)], tmp_path / "first.json")
    report.save([cell("all", 100, 100)], tmp_path / "second.json")
    cells = report.load([tmp_path / "first.json", tmp_path / "second.json"])
    assert [(kept.labels, kept.gain) for kept in cells] == [("few", -50.0), ("all", 50.0)]
    monkeypatch.setattr(report, "PAGE", tmp_path / "page.md")
    report.PAGE.write_text(f"above\n{report.BEGIN}old\n{report.END}below\n", encoding="utf-8")
    report.write(cells)
    text = report.PAGE.read_text(encoding="utf-8")
    assert text.startswith("above\n")
    assert text.endswith("below\n")
    assert "missed in 1 of 2: a (few) -50.0" not in text  # one row of two is one standard error
    assert "| a | all | 100.0 | 50.0 |" in text
    assert "old" not in text
