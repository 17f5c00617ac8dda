"""Pseudo-labels: that they help where labels are few, and are left out where the labels say that they mislead."""

from typing import Any

import numpy as np
import pytest
import torch

from app.ml.configs.learning import FineTuningConfig, PretrainingConfig
from app.ml.data.arrays import ArrayData
from app.ml.errors import ConfigError
from app.ml.evaluation.classification import Classification
from app.ml.resolution.fine_tuning import resolve_fine_tuning
from app.ml.resolution.pretraining import resolve_pretraining
from app.ml.spec import ColumnSpec, DataSpec, TargetSpec
from tests.support import digits, tiny
from worker.training.events import Note
from worker.training.run import Run, prepare

LABEL = {"kind": "classifier", "target": "label"}
PROBE = {"kind": "linear_probe", "layer": "last"}


def probe(
    data: ArrayData, unlabelled: dict[str, Any] | str | None, auxiliary: ArrayData | None = None, **fields: Any
) -> Run:
    request = {
        "heads": [LABEL],
        "backbone": {"kind": "mlp", "hidden": [128]},
        "strategy": PROBE,
        "unlabelled": unlabelled,
        **fields,
    }
    config = FineTuningConfig.model_validate(request)
    resolved = resolve_fine_tuning(config, data.spec, None, auxiliary.spec if auxiliary else None).config
    return prepare(resolved, data, auxiliary=auxiliary)


def trained(run: Run) -> list[Note]:
    return [event for event in run.train() if isinstance(event, Note) and event.kind.startswith("pseudo_labels")]


def accuracy(run: Run) -> float:
    measured = run.evaluate("test")
    assert measured is not None
    found: float = measured.heads["label"]["accuracy"]
    return found


def confidence(run: Run) -> float:
    """The mean of the largest probabilities of the test rows."""
    measured = run.evaluate("test")
    assert measured is not None
    outcomes = measured.outcomes["label"]
    assert isinstance(outcomes, Classification)
    return float(outcomes.probabilities.max(1).mean())


def named_apart(data: ArrayData) -> tuple[ArrayData, ArrayData]:
    """The labelled rows and the others as two datasets; the second has other targets."""
    labelled = np.flatnonzero((data.split != 0) | ~np.isnan(data.targets[:, 0]))
    others = np.setdiff1d(np.arange(len(data.split)), labelled)
    counts = {**data.spec.rows, "train": int((data.split[labelled] == 0).sum())}
    small = ArrayData(
        data.spec.model_copy(update={"rows": counts, "labelled": {"label": counts}}),
        data.inputs[labelled],
        data.targets[labelled],
        data.split[labelled],
    )
    plain = {"rows": {"train": len(others), "validation": 0, "test": 0}, "targets": (), "labelled": {}}
    spec = data.spec.model_copy(update=plain)
    return small, ArrayData(spec, data.inputs[others], np.empty((len(others), 0)), data.split[others])


@pytest.mark.parametrize("draw", [0, *(pytest.param(draw, marks=pytest.mark.slow) for draw in (1, 2))])
def test_they_help_where_real_digits_have_three_labels_each(draw: int) -> None:
    data = digits.few_labels(draw, per_class=3)
    runs = [probe(data, None), probe(data, {})]
    plain, (note,) = trained(runs[0]), trained(runs[1])
    assert (plain, note.kind) == ([], "pseudo_labels.used")
    assert note.data["rows"] == 1170
    assert note.data["graph"] >= note.data["probe"] - note.data["standard_error"]
    assert accuracy(runs[1]) > accuracy(runs[0]) + 0.02


def test_a_row_may_be_given_its_share_of_each_class() -> None:
    """Its most probable class alone is the default: soft classes make the probe unsure."""
    data = digits.few_labels(0, per_class=3)
    runs = [probe(data, fields) for fields in (None, {"use": "always"}, {"use": "always", "answers": "soft"})]
    plain, hard, _ = (accuracy(run) for run in runs if trained(run) is not None)
    assert hard > plain + 0.02
    assert confidence(runs[1]) > confidence(runs[2]) + 0.1


@pytest.mark.parametrize("draws", [(0,), pytest.param((0, 1, 2), marks=pytest.mark.slow)])
def test_the_probe_keeps_what_the_graph_knows_and_is_as_sure_as_it_is_right(draws: tuple[int, ...]) -> None:
    """A hundred labels at random, on scikit-learn's digits: classes have other shares of these than of all rows."""
    results = []
    for draw in draws:
        run = probe(digits.random_labels(draw, 100), {})
        (note,) = trained(run)
        assert note.data["joined"] >= note.data["probe"] + 0.01
        results.append((accuracy(run), note.data["graph"], note.data["joined"], confidence(run)))
    right, graph, left_out, sure = np.mean(results, 0)
    assert right >= graph - 0.01
    assert left_out >= graph - 0.01
    assert abs(sure - right) < 0.05


def test_labels_say_whether_classes_have_their_shares_among_the_other_rows_too() -> None:
    """Three labels of each digit, and among the other rows a tenth as many of the upper five."""
    data = digits.few_labels(0, per_class=3)
    truth = digits.truth(0)
    other = np.isnan(data.targets[:, 0]) & (data.split == 0)
    rare = other & (truth >= 5) & (np.cumsum(other) % 10 > 0)
    kept = ~rare
    counts = {**data.spec.rows, "train": int((data.split[kept] == 0).sum())}
    skewed = ArrayData(
        data.spec.model_copy(update={"rows": counts}), data.inputs[kept], data.targets[kept], data.split[kept]
    )
    results = {}
    for shares in ("auto", "labels", "free", "near"):
        run = probe(skewed, {"shares": shares, "use": "always"})
        (note,) = trained(run)
        results[shares] = (note.data["shares"], note.data["graph"], accuracy(run))
    assert results["auto"] in (results["free"], results["near"])  # by so few labels these are hard to tell apart
    assert results["free"][1] > results["labels"][1]
    assert results["free"][2] > results["labels"][2] + 0.02
    assert results["free"][1] >= results["near"][1] >= results["labels"][1]
    (note,) = trained(probe(data, {"use": "always"}))
    assert note.data["shares"] == "near", "where the classes are as many as the labels say"


def test_rows_of_another_dataset_are_the_same_to_it() -> None:
    data = digits.few_labels(0, per_class=3)
    small, others = named_apart(data)
    results = [probe(data, {}), probe(small, {"dataset": "ds_others"}, others)]
    for run in results:
        trained(run)
    assert accuracy(results[1]) == pytest.approx(accuracy(results[0]), abs=0.02)


def hidden_direction(rows: int = 400, labelled: int = 60) -> ArrayData:
    """The class is a small direction among loud ones: neighbours say nothing of it, and a line tells it."""
    random = np.random.default_rng(0)
    values = random.normal(size=(rows, 6)).astype(np.float32)
    classes = (values[:, 0] > 0).astype(np.float64)
    classes[labelled : rows // 2] = np.nan
    split = np.where(np.arange(rows) < rows // 2, 0, 2).astype(np.uint8)
    columns = tuple(ColumnSpec(name=name, type="number") for name in "abcdef")
    label = TargetSpec(name="label", type="category", classes=("no", "yes"))
    counts = {"train": rows // 2, "validation": 0, "test": rows // 2}
    spec = DataSpec(
        modality="table",
        shape=(6,),
        columns=columns,
        targets=(label,),
        rows=counts,
        labelled={"label": {**counts, "train": labelled}},
    )
    return ArrayData(spec, values, classes[:, None], split)


def test_they_are_left_out_where_the_labels_say_that_the_graph_misleads() -> None:
    plain, auto = probe(hidden_direction(), None), probe(hidden_direction(), {})
    trained(plain)
    (note,) = trained(auto)
    assert note.kind == "pseudo_labels.left_out"
    assert note.data["graph"] < note.data["probe"] - note.data["standard_error"]
    weights = plain.state.objective.state_dict()
    assert all(torch.equal(weights[name], value) for name, value in auto.state.objective.state_dict().items())
    always = probe(hidden_direction(), {"use": "always"})
    (note,) = trained(always)
    assert note.kind == "pseudo_labels.used"
    assert accuracy(always) < accuracy(auto)


def test_by_default_they_join_where_cross_validation_says_that_they_pay() -> None:
    data, misled = digits.random_labels(2, 100), hidden_direction()
    runs = [probe(data, None), probe(data, "auto"), probe(misled, None), probe(misled, "auto")]
    notes = [trained(run) for run in runs]
    assert [[note.kind for note in of_run] for of_run in notes] == [
        [], ["pseudo_labels.used"], [], ["pseudo_labels.left_out"]
    ]  # fmt: skip
    assert accuracy(runs[1]) > accuracy(runs[0]) + 0.01
    weights = runs[2].state.objective.state_dict()
    assert all(torch.equal(weights[name], value) for name, value in runs[3].state.objective.state_dict().items())


def test_by_default_nothing_joins_where_most_rows_have_labels_or_something_else_is_asked_for() -> None:
    data = digits.random_labels(0, 700)
    assert probe(data, "auto").label_propagation is None
    few = digits.random_labels(0, 100)
    assert probe(few, "auto", strategy={"kind": "full"}).label_propagation is None
    resolved = resolve_fine_tuning(
        FineTuningConfig.model_validate({"heads": [LABEL], "strategy": PROBE}), few.spec, None
    )
    (decision,) = [decision for decision in resolved.decisions if decision.field == "unlabelled"]
    assert "1100 train rows have no label" in decision.reason
    assert resolved.config.unlabelled is not None


def test_few_rows_may_be_learned_from() -> None:
    data = digits.few_labels(0, per_class=3)
    (note,) = trained(probe(data, {"rows": 100, "use": "always"}))
    assert note.data["learned_from"] == 100


@pytest.mark.parametrize(
    ("fields", "place", "word"),
    [
        ({"strategy": {"kind": "full"}}, ("unlabelled",), "join a linear_probe"),
        ({"heads": [LABEL, {"kind": "regressor", "target": "size"}]}, ("unlabelled",), "give a lone classifier"),
        ({}, ("unlabelled", "dataset"), "no train rows without a label"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(fields: dict[str, Any], place: tuple[str, ...], word: str) -> None:
    with pytest.raises(ConfigError, match=word) as refused:
        probe(tiny.images(), {}, **fields)
    assert refused.value.loc == place


def test_another_shape_is_refused_and_the_strategy_is_a_probe_by_itself() -> None:
    with pytest.raises(ConfigError, match="its rows do not fit"):
        probe(tiny.images(), {"dataset": "ds_1"}, tiny.table())
    run = probe(digits.few_labels(0, per_class=3), {}, strategy="auto")
    assert run.config.strategy.kind == "linear_probe"  # type: ignore[union-attr]


def test_a_transfer_report_is_refused_beside_them() -> None:
    data = hidden_direction()
    resolved = resolve_pretraining(PretrainingConfig.model_validate({"training": {"epochs": 1}}), data.spec)
    pretraining = prepare(resolved.config, data)
    list(pretraining.train())
    parent = pretraining.bundle()
    request = {"heads": [LABEL], "unlabelled": {"dataset": "ds_others"}, "transfer_report": {}}
    config = FineTuningConfig.model_validate(request)
    with pytest.raises(ConfigError, match="leave unlabelled out"):
        resolve_fine_tuning(config, data.spec, parent.manifest, data.spec)
