"""Columns of many categories, encoded by what they predict: the estimate, that no label leaks, and what it is worth."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import f_oneway
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.model_selection import KFold
from sklearn.preprocessing import TargetEncoder

from app.ml.configs.learning import FineTuningConfig
from app.ml.data.arrays import ArrayData, Examples, InMemory
from app.ml.errors import ConfigError
from app.ml.exports.graph import graph_of
from app.ml.exports.onnx_file import write_onnx
from app.ml.exports.package import write_package
from app.ml.fitting.cross_fitting import cross_fit
from app.ml.interfaces import Encoding, Rows
from app.ml.interfaces.values import CategoryFeatures
from app.ml.kinds.estimators.trees import MAX_ONE_HOT
from app.ml.models.bundle import golden_rows, read_bundle
from app.ml.resolution.fine_tuning import resolve_fine_tuning
from app.ml.solvers.target_encoding import FOLDS, category_means, cross_fitted
from app.ml.spec import ColumnSpec, DataSpec, TargetSpec
from worker.training.events import Note
from worker.training.model_selection.automatic import prepare
from worker.training.model_selection.measurement import _fresh_heads
from worker.training.run import Run

CITIES = 200
TREES = ["boosted_trees", "random_forest"]


def ones(count: int) -> Rows:
    return np.ones(count)


def test_equally_many_rows_of_a_category_are_drawn_to_the_mean_by_the_f_statistic() -> None:
    """1 - 1 / F of James and Stein, F being that of a one-way analysis of variance."""
    random = np.random.default_rng(0)
    codes = np.repeat(np.arange(12), 7)
    values = random.normal(size=12)[codes] + random.normal(size=84) + 5
    groups = values.reshape(12, 7)
    share = 1 - 1 / f_oneway(*groups).statistic
    means = category_means(codes, values[:, None], ones(84), 12)
    assert means.prior == pytest.approx([values.mean()])
    assert means.effects[:, 0] == pytest.approx(share * (groups.mean(1) - values.mean()))
    assert means.of(np.array([3, -1]))[:, 0] == pytest.approx([values.mean() + means.effects[3, 0], values.mean()])


def test_few_rows_count_less_and_weights_count_as_rows() -> None:
    codes = np.array([0] * 9 + [1] * 9 + [2] + [3] * 9)
    values = np.array([0.0, 1, 0] * 3 + [5.0, 6, 5] * 3 + [6.0] + [2.0, 3, 2] * 3)
    prior, effects = category_means(codes, values[:, None], ones(28), 4)
    pull = effects[:, 0] / [values[codes == code].mean() - prior[0] for code in range(4)]
    assert pull[0] == pytest.approx(pull[1]) == pytest.approx(pull[3])
    assert 0.5 < pull[2] < pull[0] < 1
    twice, weights = np.repeat(np.arange(28), 2), np.full(28, 2.0)
    doubled = category_means(codes[twice], values[twice, None], ones(56), 4)
    weighted = category_means(codes, values[:, None], weights, 4)
    assert weighted.prior == pytest.approx(doubled.prior)
    np.testing.assert_allclose(weighted.effects, effects)  # of all rows alike they change nothing


def test_what_tells_nothing_is_the_mean_of_all() -> None:
    random = np.random.default_rng(1)
    values = random.normal(size=(60, 1))
    for codes in (np.arange(60), np.full(60, -1), np.zeros(60, int)):
        assert not category_means(codes, values, ones(60), 60).effects.any()
    unknown = np.where(np.arange(60)[:, None] % 2, values, np.nan)
    assert category_means(np.arange(60) % 3, unknown, ones(60), 3).prior == pytest.approx([np.nanmean(unknown)])
    assert category_means(np.zeros(0, int), values[:0], ones(0), 3).prior.tolist() == [0]
    assert np.isfinite(cross_fitted(np.zeros(1, int), values[:1], ones(1), 3, 0)).all()


def test_a_rows_own_value_never_enters_its_encoding() -> None:
    random = np.random.default_rng(2)
    codes = random.integers(-1, 30, 120)
    values = random.normal(size=(120, 2))
    encoded = cross_fitted(codes, values, ones(120), 30, 7)
    for row in range(0, 120, 11):
        changed = values.copy()
        changed[row] += 1e6
        again = cross_fitted(codes, changed, ones(120), 30, 7)
        np.testing.assert_array_equal(again[row], encoded[row])
        assert np.count_nonzero((again != encoded).any(1)) > 120 / FOLDS  # others of its category, and the mean


def cities(values: Rows, codes: Rows, others: Rows, train: int, *, classes: tuple[str, ...] = ()) -> ArrayData:
    """Rows of a city, as one of 200 categories, and numbers; the first `train` of them to learn from."""
    rows: Any = {"train": train, "validation": 0, "test": len(codes) - train}
    names = tuple(f"c{index}" for index in range(CITIES))
    spec = DataSpec(
        modality="table",
        shape=(1 + others.shape[1],),
        columns=(
            ColumnSpec(name="a", type="number"),
            ColumnSpec(name="city", type="category", categories=names),
            *(ColumnSpec(name=f"b{index}", type="number") for index in range(others.shape[1] - 1)),
        ),
        targets=(TargetSpec(name="y", type="category" if classes else "number", classes=classes),),
        rows=rows,
        labelled={"y": rows},
    )
    inputs = np.column_stack([others[:, 0], codes, others[:, 1:]])
    return ArrayData(
        spec, inputs, values[:, None].astype(float), np.repeat([0, 2], [train, len(codes) - train]).astype(np.uint8)
    )


def prices(train: int = 1_000) -> ArrayData:
    """A number that depends on the city, and on another column in opposite ways in two halves of the cities."""
    random = np.random.default_rng(0)
    codes, others = random.integers(0, CITIES, train + 1_000), random.normal(size=(train + 1_000, 3))
    of_city = 1.2 * random.normal(size=CITIES)
    values = of_city[codes] + np.sign(of_city[codes]) * others[:, 0] + np.sin(2 * others[:, 1])
    return cities(values + 0.7 * random.normal(size=len(codes)), codes, others, train)


def noise(train: int = 1_000) -> ArrayData:
    """Two classes that nothing tells apart."""
    random = np.random.default_rng(0)
    codes, others = random.integers(0, CITIES, train + 2_000), random.normal(size=(train + 2_000, 2))
    return cities(random.integers(0, 2, len(codes)), codes, others, train, classes=("no", "yes"))


def learned(data: ArrayData, estimator: dict[str, Any] | None = None, **strategy: Any) -> Run:
    kind = "classifier" if data.spec.targets[0].classes else "regressor"
    request: dict[str, Any] = {
        "heads": [{"kind": kind, "target": "y", "estimator": estimator}],
        "backbone": {"kind": "raw"},
    }
    request["strategy"] = strategy or {"kind": "linear_probe"}
    run = prepare(resolve_fine_tuning(FineTuningConfig.model_validate(request), data.spec, None).config, data)
    list(run.train())
    return run


def measured(run: Run, metric: str = "r2") -> float:
    evaluation = run.evaluate("test")
    assert evaluation is not None
    return float(evaluation.heads["y"][metric])


@pytest.mark.parametrize("kind", TREES)
def test_trees_learn_of_two_hundred_cities_and_without_it_hardly(kind: str) -> None:
    run, plain = (learned(prices(), {"kind": kind, **fields}) for fields in ({}, {"target_encoding": []}))
    assert measured(run) > measured(plain) + 0.15
    (note,) = [note for note in run.notes if isinstance(note, Note) and note.kind == "head.settled"]
    assert note.data["field"] == "heads.0.estimator.target_encoding"
    assert note.data["value"] == ["city"]
    assert not [note for note in plain.notes if isinstance(note, Note)]


def test_it_is_no_worse_than_scikit_learns_encoder_before_boosting() -> None:
    data = prices()
    train, test = (data.inputs[data.positions(split)] for split in ("train", "test"))
    codes = [np.delete(rows, 1, 1) for rows in (train, test)]
    encoder = TargetEncoder(cv=KFold(5, shuffle=True, random_state=0))
    of_train = encoder.fit_transform(train[:, 1:2], data.targets[data.positions("train"), 0])
    boosted = HistGradientBoostingRegressor(random_state=0)
    boosted.fit(np.hstack([codes[0], of_train]), data.targets[data.positions("train"), 0])
    truth = data.targets[data.positions("test"), 0]
    reference = boosted.score(np.hstack([codes[1], encoder.transform(test[:, 1:2])]), truth)
    assert measured(learned(data, {"kind": "boosted_trees"})) > reference - 0.02


def test_selection_is_honest_where_cities_tell_nothing() -> None:
    """Held-out rows whose labels had entered their own encodings would be answered better than by chance."""
    run = learned(noise(), kind="automatic", candidates=["raw", *TREES, "blend"])
    for rung in run.ladder()["ladder"]:
        assert rung["score"] == pytest.approx(0.5, abs=0.05), rung["candidate"]
    assert measured(run, "accuracy") == pytest.approx(0.5, abs=0.04)


def test_selection_is_honest_where_they_tell_much() -> None:
    run = learned(prices(), kind="automatic", candidates=["raw", *TREES, "blend"])
    scores = {rung["candidate"]: rung["score"] for rung in run.ladder()["ladder"]}
    for kind in TREES:
        assert scores[kind] == pytest.approx(measured(learned(prices(), {"kind": kind})), abs=0.06)
        assert scores[kind] > scores["raw"]
    assert measured(run) > measured(learned(prices())) + 0.1


@pytest.mark.parametrize("kind", TREES)
def test_labels_of_rows_that_are_held_out_do_not_reach_their_answers(kind: str) -> None:
    few = {"iterations": 10} if kind == "boosted_trees" else {"trees": 10}
    run = learned(noise(400), {"kind": kind, **few})
    features = run.examples("train")
    folds = torch.arange(400) % 4

    def held_out(targets: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(0)
        examples = Examples(InMemory(features.inputs.take(None)), {"y": targets})
        rows, (outputs,) = cross_fit(lambda: _fresh_heads(run, None), examples, folds)
        return outputs[(folds == 0)[rows]]

    labels = features.targets["y"]
    flipped = torch.where(folds == 0, 1 - labels, labels)
    torch.testing.assert_close(held_out(flipped), held_out(labels), rtol=0, atol=0)
    assert not torch.equal(held_out(1 - labels), held_out(labels))


@pytest.mark.parametrize("classes", [(), ("no", "yes"), ("low", "mid", "high")], ids=len)
def test_it_is_saved_loaded_exported_and_computed_by_numpy(classes: tuple[str, ...], tmp_path: Path) -> None:
    data = prices(300)
    if classes:
        numbers = data.targets[:, 0]
        codes = np.digitize(numbers, np.quantile(numbers, np.linspace(0, 1, len(classes) + 1)[1:-1]))
        data = cities(codes, data.inputs[:, 1], np.delete(data.inputs, 1, 1), 300, classes=classes)
    members = [
        {"estimator": {"kind": kind, **small}}
        for kind, small in (("boosted_trees", {"iterations": 5}), ("random_forest", {"trees": 5}))
    ]
    run = learned(data, {"kind": "blend", "members": members})
    names = run.save_bundle(tmp_path)
    bundle = read_bundle(tmp_path)
    estimator = bundle.manifest.heads[0].config.estimator  # type: ignore[union-attr]
    assert [member.estimator.target_encoding[0].name for member in estimator.members] == ["city"] * 2  # type: ignore[union-attr]
    encoded = bundle.manifest.modality.encode(data.inputs[-200:])
    expected = bundle.heads["y"](encoded)
    torch.testing.assert_close(expected, run.state.objective.eval().outputs(encoded)[0])  # type: ignore[operator]
    by_numpy = encoded.numpy().copy()
    for layer in bundle.heads["y"].array_layers:  # type: ignore[attr-defined]
        by_numpy = layer(by_numpy)
    torch.testing.assert_close(torch.from_numpy(by_numpy), expected, rtol=1e-5, atol=1e-5)
    golden, rows = golden_rows(tmp_path, bundle.manifest)
    graph = graph_of(bundle, golden, rows, {"name": "cities"})
    assert write_package(graph, tmp_path, names, tmp_path / "model.zip") < 1e-4
    if len(classes) == 3:
        assert write_onnx(graph, tmp_path / "model.onnx") < 1e-4


def test_a_city_that_no_train_row_had_counts_as_all() -> None:
    data = prices()
    run = learned(data, {"kind": "boosted_trees"})
    head = run.bundle().heads["y"]
    rows = torch.zeros(1, CITIES + 4)
    rows[0, CITIES + 1] = 1.0  # the feature of missing ones, which no train row had
    torch.testing.assert_close(head(rows), head(torch.zeros(1, CITIES + 4)))


def test_few_categories_and_more_classes_than_categories_keep_their_features() -> None:
    few = prices()
    names = tuple(f"c{index}" for index in range(MAX_ONE_HOT))
    city = ColumnSpec(name="city", type="category", categories=names)
    spec = few.spec.model_copy(update={"columns": (few.spec.columns[0], city, *few.spec.columns[2:])})
    inputs = few.inputs.copy()
    inputs[:, 1] %= MAX_ONE_HOT
    run = learned(ArrayData(spec, inputs, few.targets, few.split), {"kind": "boosted_trees"})
    assert run.bundle().manifest.heads[0].config.estimator.encoded == ()  # type: ignore[union-attr]


def test_features_of_another_dataset_are_refused() -> None:
    for end, message in ((3, "it names other columns or features"), (10_000, "names features that are not among")):
        elsewhere = {"name": "city", "first": 0, "end": end}
        with pytest.raises(ConfigError, match=message):
            learned(prices(300), {"kind": "random_forest", "target_encoding": [elsewhere]})


def test_models_of_earlier_releases_encode_nothing_and_fit() -> None:
    run = learned(prices(300), {"kind": "boosted_trees", "iterations": 3, "target_encoding": []})
    config = run.bundle().manifest.heads[0].config
    estimator = {key: value for key, value in config.estimator.model_dump().items() if key != "target_encoding"}  # type: ignore[union-attr]
    earlier = type(config).model_validate({**config.model_dump(), "estimator": estimator})
    head = earlier.build(CITIES + 4, run.data.spec.targets)
    assert head.state_dict().keys() == run.bundle().heads["y"].state_dict().keys()
    now = run.bundle().manifest.modality.encoding
    assert now.categories == (CategoryFeatures(name="city", first=1, end=CITIES + 2),)
    assert Encoding(shape=now.shape).fits(now)
    assert Encoding(shape=now.shape, numbers=now.numbers).fits(now)
    assert not Encoding(shape=now.shape, categories=()).fits(now)
