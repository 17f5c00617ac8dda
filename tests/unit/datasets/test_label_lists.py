"""Columns of lists of labels become targets of no and yes: from JSON Lines, and from text that a separator parts."""

import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from app.datasets.errors import Code
from app.ml.configs.learning import FineTuningConfig
from app.ml.data.arrays import ArrayData
from app.ml.errors import ConfigError
from app.ml.evaluation.multi_label import MultiLabel as Outcome
from app.ml.kinds.heads.multi_label import MultiLabel
from app.ml.resolution.compatibility import check_measurable
from app.ml.resolution.fine_tuning import resolve_fine_tuning
from app.ml.spec import WarningCode
from tests.support.texts import run_of
from worker.training.model_evaluation import evaluate_model, rows_to_evaluate

from .conftest import Preparer, Refuser

TAGS: list[Any] = [["a", "b"], [], ["b"], None, ["a", "c"], ["c", " a "], [], ["b", "b"]] * 4
TABLE = np.array(
    [[1, 1, 0], [0, 0, 0], [0, 1, 0], [np.nan] * 3, [1, 0, 1], [1, 0, 1], [0, 0, 0], [0, 1, 0]] * 4, dtype=np.float64
)
KEEP: dict[str, Any] = {"unlabelled": "keep", "splits": {"train": 0.5, "validation": 0.25, "test": 0.25}}


def lines(tags: list[Any], **columns: list[Any]) -> str:
    rows: list[dict[str, Any]] = [{"x": i / 3, "tags": tag} for i, tag in enumerate(tags)]
    for name, values in columns.items():
        for row, value in zip(rows, values, strict=True):
            row[name] = value
    return "\n".join(json.dumps(row) for row in rows)


def test_a_list_makes_a_target_of_each_label(make: Preparer) -> None:
    done = make(lines(TAGS), **KEEP)
    assert [target.name for target in done.spec.targets] == ["tags.a", "tags.b", "tags.c"]
    assert all(target.group == "tags" and target.is_label for target in done.spec.targets)
    assert [target.label for target in done.spec.targets] == ["a", "b", "c"]
    np.testing.assert_array_equal(done.array("targets"), TABLE)
    assert done.decision("columns.tags") == "target"
    assert done.decision("types.tags") == "labels"
    assert done.spec.rows["test"] > 0


def test_the_same_labels_in_csv_make_the_same_targets(make: Preparer) -> None:
    cells = ["" if tags is None else "|".join(tags) or "|" for tags in TAGS]
    text = "x,tags\n" + "".join(f"{i / 3},{cell}\n" for i, cell in enumerate(cells))
    done = make(text, columns={"tags": "target"}, types={"tags": "labels"}, label_separator="|", **KEEP)
    np.testing.assert_array_equal(done.array("targets"), TABLE)


def test_lists_in_parquet_make_the_same_targets(make: Preparer) -> None:
    table = pa.table({"x": [i / 3 for i in range(len(TAGS))], "tags": pa.array(TAGS, pa.list_(pa.string()))})
    buffer = io.BytesIO()
    pq.write_table(table, buffer, row_group_size=5)
    np.testing.assert_array_equal(make(buffer.getvalue(), **KEEP).array("targets"), TABLE)


def test_empty_lists_may_come_first_of_labels_and_of_series(make: Preparer) -> None:
    done = make(lines([[], None, [], *TAGS]), **KEEP)
    assert done.array("targets")[0].tolist() == [0, 0, 0]
    assert np.isnan(done.array("targets")[1]).all()
    series = make("\n".join(json.dumps({"signal": s}) for s in [[], *([i, i + 1, 2 * i] for i in range(30))]))
    assert series.spec.modality == "series"
    assert series.report.rows.removed["corrupt"] == 1


def test_texts_and_series_may_have_lists_of_labels(make: Preparer) -> None:
    words = [f"some words about number {i} here" for i in range(len(TAGS))]
    texts = "\n".join(json.dumps({"text": word, "tags": tags}) for word, tags in zip(words, TAGS, strict=True))
    done = make(texts, **KEEP)
    assert done.spec.modality == "text"
    assert len(done.spec.targets) == 3
    waves = [[float(i), i / 2, -i / 3] for i in range(len(TAGS))]
    rows = "\n".join(json.dumps({"wave": wave, "tags": tags}) for wave, tags in zip(waves, TAGS, strict=True))
    done = make(rows, **KEEP)
    assert done.spec.modality == "series"
    np.testing.assert_array_equal(done.array("targets"), TABLE)


def test_a_label_that_every_row_has_is_left_out(make: Preparer, refused: Refuser) -> None:
    tags = [["every", *(["some"] if i % 3 == 0 else [])] for i in range(30)]
    done = make(lines(tags))
    assert [target.name for target in done.spec.targets] == ["tags.some"]
    assert done.array("targets").shape == (30, 1)
    assert done.says("every row has")
    refused(Code.CONSTANT_TARGET, lines([["every"]] * 30))


def test_with_another_target_lists_are_left_out_unless_named(make: Preparer) -> None:
    text = lines(TAGS, label=["p", "q"] * 16)
    assert [target.name for target in make(text).spec.targets] == ["label"]
    both = make(text, columns={"tags": "target", "label": "target"})
    assert len(both.spec.targets) == 4
    assert both.decision("splits") == "stratified by label"


def test_every_split_holds_some_of_a_rare_label(make: Preparer) -> None:
    tags = [["common", *(["rare"] if i % 25 == 0 else [])] if i % 3 else [] for i in range(750)]
    shares = {"train": 0.6, "validation": 0.2, "test": 0.2}
    for seed in range(5):
        done = make(lines(tags), splits=shares, seed=seed, unlabelled="keep")
        assert done.decision("splits") == "stratified by tags"
        names = [target.name for target in done.spec.targets]
        rare = done.array("targets")[:, names.index("tags.rare")] == 1
        counts = np.bincount(done.array("split")[rare], minlength=3)
        assert counts.tolist() == [12, 4, 4]


@pytest.mark.parametrize(
    ("text", "options", "code", "words"),
    [
        (lines([["a"], "b"] * 9), {}, Code.MIXED_TYPES, "holds text and rows before hold lists of labels"),
        (lines([["a"], ["b", 3]] * 9), {}, Code.MIXED_TYPES, "neither labels nor a series"),
        (lines([["a"], ["b" * 300]] * 9), {}, Code.BAD_TARGET, "longer than a name"),
        (lines([[str(i)] for i in range(1200)]), {}, Code.TOO_MANY_CLASSES, "1200 different labels"),
        (lines([["a"], ["b"]] * 9), {"columns": {"tags": "group"}}, Code.BAD_GROUP, "group"),
        (lines([1, 2] * 9), {"columns": {"tags": "target"}, "types": {"tags": "labels"}}, Code.BAD_TARGET, "no text"),
        (lines([["b"], ["a"]] * 9, **{"tags.a": list("pq") * 9}), {"columns": {"tags": "target", "tags.a": "target"}},
         Code.BAD_TARGET, "two targets would be called tags.a"),
    ],
)  # fmt: skip
def test_what_makes_no_labels_is_refused_in_words(
    refused: Refuser, text: str, options: dict[str, Any], code: Code, words: str
) -> None:
    assert words in refused(code, text, **options).message


def test_a_head_names_the_column_and_answers_its_labels(make: Preparer) -> None:
    done = make(lines(TAGS), **KEEP)
    data = ArrayData.open(done.folder)
    config = FineTuningConfig.model_validate({"heads": [{"kind": "multi_label", "target": "tags"}]})
    resolved = resolve_fine_tuning(config, data.spec, None)
    (head,) = resolved.config.heads
    assert isinstance(head, MultiLabel)
    assert head.key == "tags"
    assert head.targets == ("tags.a", "tags.b", "tags.c")
    assert "heads.0.target" in {decision.field for decision in resolved.decisions}
    assert head.build(4, data.spec.targets).names == ("a", "b", "c")
    for kind in ("classifier", "regressor"):
        wrong = FineTuningConfig.model_validate({"heads": [{"kind": kind, "target": "tags"}]})
        with pytest.raises(ConfigError, match="use multi_label"):
            resolve_fine_tuning(wrong, data.spec, None)


def test_a_model_is_measured_on_lists_that_lack_some_of_its_labels(make: Preparer) -> None:
    data, other = (
        ArrayData.open(make(lines(tags), **KEEP).folder) for tags in (TAGS, [["a"], [], None, ["a", "new"]] * 8)
    )
    request = {"heads": [{"kind": "multi_label", "target": "tags"}], "backbone": {"kind": "mlp", "hidden": [4]}}
    bundle = run_of(data, {**request, "training": {"epochs": 1}}).bundle()
    check_measurable(bundle.manifest, other.spec, "all")
    rows = rows_to_evaluate(other, "all", bundle.manifest.heads)
    outcome = evaluate_model(bundle, other, rows, "all", torch.device("cpu")).outcomes["tags"]
    assert isinstance(outcome, Outcome)
    assert outcome.truth.tolist() == [[1, 0, 0], [0, 0, 0], [1, 0, 0]] * 8


@pytest.mark.parametrize(
    "write",
    [
        repr,
        json.dumps,
        lambda tags: repr(np.array(tags, dtype=object)).removeprefix("array(").removesuffix(", dtype=object)"),
        lambda tags: str(np.array(tags, dtype=object)),
        lambda tags: repr(tuple(tags)) if tags else "()",
    ],
)
@pytest.mark.parametrize("options", [{}, {"types": {"tags": "labels"}, "label_separator": ","}])
def test_lists_written_as_text_make_the_same_targets(
    make: Preparer, write: Callable[[list[str]], str], options: dict[str, Any]
) -> None:
    cells = ["" if tags is None else write([tag.strip() for tag in tags]).replace('"', '""') for tags in TAGS]
    text = "x,tags\n" + "".join(f'{i / 3},"{cell}"\n' for i, cell in enumerate(cells))
    done = make(text, columns={"tags": "target"}, **options, **KEEP)
    assert [target.name for target in done.spec.targets] == ["tags.a", "tags.b", "tags.c"]
    np.testing.assert_array_equal(done.array("targets"), TABLE)
    assert done.says("its lists are written as text")


def test_brackets_that_are_no_lists_of_labels_stay_text(make: Preparer, refused: Refuser) -> None:
    rows = "".join(f"{i / 3},[sic] {'ab'[i % 2]}\n" for i in range(30)) + "1,[sic]\n2,[gone]\n" * 5
    assert [column.type for column in make("x,note\n" + rows).spec.columns] == ["number", "category"]
    mixed = "x,tags\n" + "".join(f"{i / 3},\"['{'ab'[i % 2]}']\"\n" for i in range(2000)) + "7,a or b\n"
    error = refused(Code.BAD_TARGET, mixed, columns={"tags": "target"}, types={"tags": "labels"})
    assert error.errors[0].row == 2000


def test_a_separator_that_occurs_in_no_cell_is_warned_of(make: Preparer) -> None:
    cells = ["a|b", "b", "c|a", "c"] * 10
    text = "x,tags\n" + "".join(f"{i / 3},{cell}\n" for i, cell in enumerate(cells))
    options: dict[str, Any] = {"columns": {"tags": "target"}, "types": {"tags": "labels"}}
    warning = make(text, **options).warning(WarningCode.SEPARATOR_UNUSED)
    assert warning.remedy == 'label_separator="|"'
    assert make(text, label_separator="|", **options).report.warnings == ()
