"""Estimators beside scikit-learn's answers, on degenerate rows, and as files that were tampered with."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.linear_model import Ridge as RidgeModel

from app.ml.blocks.tree_ensemble import TreeEnsemble
from app.ml.configs.learning import FineTuningConfig
from app.ml.data import tensor_file
from app.ml.errors import ConfigError, CorruptCheckpointError, CorruptModelError
from app.ml.kinds.estimators.boosted_trees import BoostedTrees
from app.ml.kinds.estimators.random_forest import RandomForest
from app.ml.kinds.heads.classifier import Classifier
from app.ml.kinds.heads.regressor import Regressor
from app.ml.kinds.registry import FAMILIES, kinds
from app.ml.models.bundle import read_bundle
from app.ml.resolution.fine_tuning import resolve_fine_tuning
from app.ml.solvers.regularization_path import STRENGTHS
from app.ml.solvers.trees import (
    BoostingSettings,
    ForestSettings,
    boost_classes,
    boost_numbers,
    grow_forest_of_classes,
    grow_forest_of_numbers,
)
from app.ml.spec import TargetSpec
from tests.support import tiny
from worker.training.events import Note
from worker.training.run import prepare

BOOSTING = BoostingSettings(iterations=12, learning_rate=0.2, max_leaves=9, min_leaf_rows=3, feature_share=0.5, l2=0.5)
OF_BOOSTING: dict[str, Any] = {
    "max_iter": 12,
    "learning_rate": 0.2,
    "max_leaf_nodes": 9,
    "min_samples_leaf": 3,
    "max_features": 0.5,
    "l2_regularization": 0.5,
    "random_state": 0,
    "early_stopping": False,
}
FOREST = ForestSettings(trees=15, min_leaf_rows=2, feature_share=0.5)
OF_FOREST: dict[str, Any] = {"n_estimators": 15, "min_samples_leaf": 2, "max_features": 0.5}


def rows(count: int = 150, features: int = 6) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Numbers of which many are equal, so that thresholds lie next to them."""
    return np.random.default_rng(0).normal(size=(count, features)).astype(np.float32).round(1)


def classes_of(features: np.ndarray[Any, Any], count: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    noisy = features[:, 0] * 2 + features[:, 1] + np.random.default_rng(1).normal(size=len(features))
    return np.digitize(noisy, np.quantile(noisy, np.linspace(0, 1, count + 1)[1:-1])).astype(np.int64)


def answers(table: Any, features: np.ndarray[Any, Any], outputs: int) -> torch.Tensor:
    """The sums, which come out the same by torch and NumPy, and in any batch."""
    trees = TreeEnsemble(features.shape[1], outputs)
    trees.set_table(table)
    output = trees(torch.from_numpy(features))
    alone = torch.cat([trees(row[None]) for row in torch.from_numpy(features)])
    assert torch.equal(alone, output)
    assert torch.equal(torch.from_numpy(trees.array_layer()(features)), output)
    return output.double()


@pytest.mark.parametrize("count", [2, 3, 20])
@pytest.mark.parametrize("balanced", [False, True])
def test_boosted_classes_are_scikit_learns(count: int, balanced: bool) -> None:
    features, classes = rows(), classes_of(rows(), count)
    weights = np.where(classes == 0, 3.0, 1.0) if balanced else np.ones(len(classes))
    table = boost_classes(features, classes, weights, count, BOOSTING, 0)
    reference = HistGradientBoostingClassifier(**OF_BOOSTING).fit(features, classes, sample_weight=weights)
    probabilities = answers(table, features, count).softmax(1)
    assert probabilities.numpy() == pytest.approx(reference.predict_proba(features), abs=1e-5)


def test_boosted_numbers_are_scikit_learns() -> None:
    features, targets = rows(), np.stack([rows()[:, 0] + rows()[:, 1], rows()[:, 2] ** 2], axis=1).astype(float)
    targets[::3, 1] = np.nan
    values = answers(boost_numbers(features, targets, BOOSTING, 0), features, 2).numpy()
    for index in range(2):
        known = np.isfinite(targets[:, index])
        reference = HistGradientBoostingRegressor(**OF_BOOSTING).fit(features[known], targets[known, index])
        assert values[:, index] == pytest.approx(reference.predict(features), abs=1e-5)


@pytest.mark.parametrize("count", [2, 3, 20])
def test_a_forests_shares_are_scikit_learns(count: int) -> None:
    features, classes = rows(), classes_of(rows(), count)
    table = grow_forest_of_classes(features, classes, np.ones(len(classes)), count, FOREST, 5)
    reference = ExtraTreesClassifier(**OF_FOREST, random_state=5).fit(features, classes)
    smoothed = (reference.predict_proba(features) * len(classes) + 0.5 / count) / (len(classes) + 0.5)
    assert answers(table, features, count).numpy() == pytest.approx(smoothed, abs=1e-5)


def test_a_forests_numbers_are_scikit_learns() -> None:
    features, targets = rows(), rows()[:, :1].astype(float) ** 2
    values = answers(grow_forest_of_numbers(features, targets, FOREST, 5), features, 1)[:, 0].numpy()
    reference = ExtraTreesRegressor(**OF_FOREST, random_state=5).fit(features, targets[:, 0])
    assert values == pytest.approx(reference.predict(features), abs=1e-5)


ESTIMATORS = list(kinds(FAMILIES["estimators"]))


def classifier(kind: str, classes: int, features: int = 3, **fields: Any) -> Any:
    target = TargetSpec(name="y", type="category", classes=tuple(f"c{index}" for index in range(classes)))
    config = Classifier.model_validate({"target": "y", "estimator": {"kind": kind}, **fields})
    settled, _ = config.settled((target,), {"y": [1] * classes}, 10)
    return settled.build(features, (target,))


@pytest.mark.parametrize("kind", ESTIMATORS)
@pytest.mark.parametrize(
    "labels", [[0], [1, 1, 1], [0, 1], [0, 0, 0, 1], [0, 0, 0, 0, 2, 2, 2, -1], [-1, -1], []], ids=str
)
def test_any_rows_give_finite_answers(kind: str, labels: list[int]) -> None:
    head, target = classifier(kind, 3), torch.tensor(labels, dtype=torch.int64)
    features = torch.zeros(len(labels), 3)
    features[:, 0] = target
    head.fit_target(target)
    head.solve(features, target, [3])
    output = head(torch.tensor([[0.0, 0, 0], [1e38, -1e38, 0], [torch.inf, -torch.inf, torch.nan]]))
    assert output.isfinite().all()
    assert head.loss(output, torch.tensor([0, 1, 2])).isfinite()
    known = target[target >= 0]
    if len(known):  # the commonest class, where features say nothing else
        assert int(head(features[target >= 0]).argmax(1)[0]) in known.tolist()


@pytest.mark.parametrize("kind", ESTIMATORS)
@pytest.mark.parametrize("labels", [[5.0], [5.0, 5.0], [1.0, 3.0], [float("nan"), 2.0, 4.0], []], ids=str)
def test_any_numbers_give_finite_answers(kind: str, labels: list[float]) -> None:
    target = TargetSpec(name="y", type="number")
    config, _ = Regressor.model_validate({"target": "y", "estimator": {"kind": kind}}).settled((target,), {}, 10)
    head, numbers = config.build(3, (target,)), torch.tensor(labels, dtype=torch.float64)
    head.fit_target(numbers)
    head.solve(torch.zeros(len(labels), 3), numbers, [3])
    (answer,) = head.predict(head(torch.zeros(1, 3)))
    known = [label for label in labels if not math.isnan(label)]
    assert answer["value"] == pytest.approx(sum(known) / len(known) if known else 0, abs=1e-6)


@pytest.mark.parametrize(
    "fields", [{"hidden": [8]}, {"dropout": 0.1}, {"label_smoothing": 0.1}], ids=lambda fields: next(iter(fields))
)
def test_an_estimator_refuses_what_only_layers_heed(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"estimator\n.*leave {next(iter(fields))} out"):
        Classifier.model_validate({"target": "y", "estimator": {"kind": "boosted_trees"}, **fields})
    with pytest.raises(ValueError, match=r"estimator\n.*leave loss out"):
        Regressor.model_validate({"target": "y", "estimator": {"kind": "random_forest"}, "loss": "huber"})


def grown() -> TreeEnsemble:
    trees = TreeEnsemble(6, 3)
    trees.set_table(boost_classes(rows(), classes_of(rows(), 3), np.ones(150), 3, BOOSTING, 0))
    return trees


def _own_child(state: dict[str, Any]) -> None:
    state["left"][int(state["roots"][1])] = int(state["roots"][1]) - 1


def _shared_child(state: dict[str, Any]) -> None:
    first, second = (int(root) for root in state["roots"][:2])
    state["left"][first] = state["left"][second]


TAMPERINGS: dict[str, Callable[[dict[str, Any]], None]] = {
    "a feature that rows do not have": lambda state: state["feature"].fill_(6),
    "a feature below 0": lambda state: state["feature"].fill_(-1),
    "a child before its parent": _own_child,
    "a child of two parents": _shared_child,
    "a child behind the end": lambda state: state["left"].fill_(len(state["left"]) - 1),
    "a root that is no node": lambda state: state["roots"].fill_(10**6),
    "a leaf without values": lambda state: state["leaf"].fill_(10**6),
    "a leaf that numbers exceed": lambda state: state["threshold"].fill_(0),
    "fewer thresholds": lambda state: state.update(threshold=state["threshold"][:-1]),
    "no trees": lambda state: state.update(roots=state["roots"][:0]),
    "trees that are not of whole rounds": lambda state: state.update(roots=state["roots"][:-1]),
    "another number of outputs": lambda state: state.update(base=state["base"][:2]),
}


@pytest.mark.parametrize("name", TAMPERINGS)
def test_a_table_that_is_not_one_of_trees_is_refused(name: str) -> None:
    sound, empty = grown(), TreeEnsemble(6, 3)
    empty.load_state_dict(sound.state_dict())
    assert torch.equal(empty(torch.from_numpy(rows())), sound(torch.from_numpy(rows())))
    state = {name: tensor.clone() for name, tensor in sound.state_dict().items()}
    TAMPERINGS[name](state)
    with pytest.raises(ValueError, match="not one of trees"):
        TreeEnsemble(6, 3).load_state_dict(state)


@pytest.mark.parametrize("kind", ["classifier", "regressor"])
def test_neighbours_are_weighed_as_the_formula_says(kind: str) -> None:
    features, classes = rows(), classes_of(rows(), 3)
    head = classifier("nearest_neighbours", 3, 6, class_weights="balanced")
    target = torch.from_numpy(classes)
    if kind == "regressor":
        spec = TargetSpec(name="y", type="number")
        head = Regressor.model_validate({"target": "y", "estimator": {"kind": "nearest_neighbours"}}).build(6, (spec,))
        target = torch.from_numpy(features[:, 0].astype(float) ** 2)
        target[::7] = torch.nan
    head.fit_target(target)
    fit = head.solve(torch.from_numpy(features), target, [6])
    known = (~target.isnan()).numpy() if kind == "regressor" else classes >= 0
    neighbours, sharpness, doubt = head.layers[0].scale.tolist()
    assert fit.chosen["neighbours"][0] == neighbours
    new = rows(40)[::-1] + 0.25
    squares = ((new[:, None].astype(float) - features[known]) ** 2).sum(2)
    nearness = np.exp(-sharpness * squares / np.sort(squares, axis=1)[:, int(neighbours) - 1, None])
    if kind == "classifier":
        nearness = nearness[:, :, None] * (np.eye(3)[classes] * head.class_weight.numpy()[classes, None])
        shares = nearness.sum(1) / nearness.sum((1, 2))[:, None]
        expected = np.log((1 - doubt) * shares + doubt / 3)
    else:
        numbers = (target.numpy()[known] - head.target_mean.item()) / head.target_std.item()
        expected = (nearness @ numbers / nearness.sum(1))[:, None]
        assert fit.left_out.shape == (known.sum(), 1)
    output = head(torch.from_numpy(new))
    assert output.numpy() == pytest.approx(expected, abs=1e-4)
    by_numpy = new
    for layer in head.array_layers:
        by_numpy = layer(by_numpy)
    assert by_numpy == pytest.approx(output.numpy(), abs=1e-4)


@pytest.mark.parametrize("count", [2, 4])
def test_ridge_answers_as_scikit_learns_at_its_penalty(count: int) -> None:
    """Many more features than rows, as random kernels have."""
    random = np.random.default_rng(0)
    features = random.normal(size=(60, 400)).astype(np.float32)
    features[:, :20] *= 3
    classes = classes_of(features, count)
    head = classifier("ridge", count, 400)
    fit = head.solve(torch.from_numpy(features), torch.from_numpy(classes), [400])
    new = random.normal(size=(40, 400)).astype(np.float32)
    output = head(torch.from_numpy(new)).double().numpy()
    scaled = (features - head.layers[0].standardize.mean.numpy()) / head.layers[0].standardize.std.numpy()
    indicators = 2 * np.eye(count)[classes] - 1
    other = (new - head.layers[0].standardize.mean.numpy()) / head.layers[0].standardize.std.numpy()
    expected, losses = [], []
    for strength in np.array(STRENGTHS) * scaled.var(0).sum():
        fitted = RidgeModel(alpha=strength, solver="svd").fit(scaled, indicators)
        kept = [
            RidgeModel(alpha=strength, solver="svd").fit(scaled[keep], indicators[keep])
            for keep in ~np.eye(60, dtype=bool)
        ]
        left_out = np.concatenate([model.predict(row[None]) for model, row in zip(kept, scaled, strict=True)])
        losses.append(((indicators - left_out) ** 2).sum())
        expected.append(fitted.predict(other))
    best = expected[int(np.argmin(losses))]
    multiple = np.ptp(output[0]) / np.ptp(best[0])
    assert output - output.mean(1, keepdims=True) == pytest.approx(
        multiple * (best - best.mean(1, keepdims=True)), abs=2e-3
    )
    assert math.log2(multiple) == pytest.approx(round(math.log2(multiple)), abs=1e-3)
    assert fit.loss < math.log(count)
    by_numpy = new
    for layer in head.array_layers:
        by_numpy = layer(by_numpy)
    assert by_numpy == pytest.approx(output, abs=1e-4)


def test_ridge_lets_rare_classes_weigh_more_where_asked() -> None:
    random = np.random.default_rng(0)
    features = np.concatenate([random.normal(size=(190, 3)), random.normal(size=(10, 3)) + 1.5]).astype(np.float32)
    target = torch.tensor([0] * 190 + [1] * 10)
    right = {}
    for weights in ("none", "balanced"):
        head = classifier("ridge", 2, 3, class_weights=weights)
        head.fit_target(target)
        head.solve(torch.from_numpy(features), target, [3])
        right[weights] = (head(torch.from_numpy(features)).argmax(1)[-10:] == 1).sum().item()
    assert right["balanced"] > right["none"] + 3


def test_what_is_chosen_answers_rows_that_were_left_out() -> None:
    """One neighbour, where classes are small islands; many, where labels are noise but for a slope."""
    random = np.random.default_rng(0)
    islands = np.repeat(random.normal(size=(40, 2)) * 10, 3, axis=0) + random.normal(size=(120, 2)) * 0.01
    noise = random.normal(size=(300, 2))
    head, smooth = classifier("nearest_neighbours", 2, 2), classifier("nearest_neighbours", 2, 2)
    for of, points, labels in ((head, islands, np.arange(120) // 3 % 2), (smooth, noise, noise[:, 0] > 0)):
        flipped = labels ^ (random.random(len(labels)) < 0.3) if of is smooth else labels
        of.solve(torch.from_numpy(points.astype(np.float32)), torch.from_numpy(flipped.astype(np.int64)), [2])
    assert head.layers[0].neighbours == 1
    assert smooth.layers[0].neighbours >= 10


def test_rows_that_are_too_many_to_keep_are_refused() -> None:
    spec = TargetSpec(name="y", type="category", classes=("a", "b"))
    config = Classifier.model_validate({"target": "y", "estimator": {"kind": "nearest_neighbours"}})
    with pytest.raises(ConfigError, match="20001 labelled train rows are more than the 20000 that it keeps") as refusal:
        config.settled((spec,), {}, 20_001)
    assert refusal.value.loc == ("estimator", "kind")


@pytest.mark.parametrize("name", ["rows", "values", "weights", "scale", "centre"])
def test_rows_that_do_not_belong_together_are_refused(name: str) -> None:
    module = classifier("nearest_neighbours", 3, 6).layers[0]
    module.fit(torch.from_numpy(rows()), torch.from_numpy(classes_of(rows(), 3)), torch.ones(150))
    state = dict(module.state_dict())
    fresh = classifier("nearest_neighbours", 3, 6).layers[0]
    fresh.load_state_dict(state)
    assert torch.equal(fresh(torch.from_numpy(rows())), module(torch.from_numpy(rows())))
    state[name] = torch.full_like(state[name], 10_000.0) if name == "scale" else state[name][:-1]
    with pytest.raises(ValueError, match="do not belong together"):
        classifier("nearest_neighbours", 3, 6).layers[0].load_state_dict(state)


def test_auto_suits_the_rows() -> None:
    target = TargetSpec(name="y", type="category", classes=tuple(map(str, range(150))))
    for estimator in (BoostedTrees(), RandomForest()):
        config, choices = Classifier(target="y", estimator=estimator).settled((target,), {}, 30_000)
        assert '"auto"' not in config.model_dump_json()
        assert {f"estimator.{name}" for name, value in estimator if value == "auto"} == set(choices)
        assert all(reason for _, reason in choices.values())


NEAR = {"kind": "nearest_neighbours"}
BOOSTED = {"kind": "classifier", "target": "label", "estimator": {"kind": "boosted_trees"}}


def resolved(**fields: Any) -> Any:
    request = {"heads": [BOOSTED], "backbone": {"kind": "raw"}, **fields}
    return resolve_fine_tuning(FineTuningConfig.model_validate(request), tiny.table().spec, None)


def test_an_estimator_makes_the_strategy_a_probe_of_the_last_layer() -> None:
    found = resolved()
    assert (found.config.strategy.kind, found.config.strategy.solver) == ("linear_probe", "exact")
    assert found.config.strategy.layer == "last"
    decided = {decision.field: decision.value for decision in found.decisions}
    assert decided["heads.0.estimator.max_leaves"] == found.config.heads[0].estimator.max_leaves


@pytest.mark.parametrize(
    ("fields", "place", "words"),
    [
        ({"strategy": {"kind": "full"}}, ("heads", 0, "estimator"), "full trains by steps: choose the strategy"),
        ({"strategy": {"kind": "lora"}}, ("heads", 0, "estimator"), "lora trains by steps"),
        ({"strategy": {"kind": "lp_ft"}}, ("heads", 0, "estimator"), "lp_ft trains by steps"),
        (
            {"strategy": {"kind": "linear_probe", "solver": "gradient"}},
            ("heads", 0, "estimator"),
            "linear_probe trains by steps",
        ),
        ({"strategy": {"kind": "linear_probe", "layer": "best"}}, ("strategy", "layer"), "is found for linear heads"),
        ({"unlabelled": {}}, ("unlabelled",), "pseudo-labels are classes"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_cannot_fit_an_estimator_is_refused(fields: dict[str, Any], place: tuple[Any, ...], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as refusal:
        resolved(**fields)
    assert refusal.value.loc == place


def test_estimators_are_fitted_anew_from_a_model_that_has_one() -> None:
    run = prepare(resolved().config, tiny.table())
    list(run.train())
    parent = run.bundle().manifest
    spec = tiny.table().spec
    again = resolve_fine_tuning(FineTuningConfig.model_validate({"heads": [BOOSTED]}), spec, parent)
    assert again.config.inherited_heads == ()
    assert again.config.strategy.kind == "linear_probe"
    for fields in ({"heads": "inherit"}, {"heads": [BOOSTED], "inherited_heads": ["label"]}):
        with pytest.raises(ConfigError, match="learns an estimator, which is fitted anew"):
            resolve_fine_tuning(FineTuningConfig.model_validate(fields), spec, parent)
    compared = FineTuningConfig.model_validate({"heads": [BOOSTED], "transfer_report": {}})
    with pytest.raises(ConfigError, match=r"heads\.0: an estimator cannot be trained together with a backbone"):
        resolve_fine_tuning(compared, spec, parent)


def test_heads_learn_side_by_side_and_a_damaged_model_is_refused(tmp_path: Path) -> None:
    heads = [BOOSTED, {"kind": "regressor", "target": "size"}, {**BOOSTED, "name": "near", "estimator": NEAR}]
    run = prepare(resolved(heads=heads).config, tiny.table())
    events = list(run.train())
    notes = [event for event in events if isinstance(event, Note) and event.kind == "heads.solved"]
    assert "label with boosted_trees (300 trees)" in notes[0].message
    assert notes[0].data["heads"]["near"]["neighbours"] in (1, 3, 10, 30)
    run.save_bundle(tmp_path)
    bundle = read_bundle(tmp_path)
    assert list(bundle.heads) == ["label", "size", "near"]
    tensors, _ = tensor_file.read(tmp_path / "heads.safetensors")
    tensors["0.layers.0.left"].fill_(0)
    digest = tensor_file.write_atomically(tmp_path / "heads.safetensors", tensor_file.to_bytes(tensors))
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    manifest["files"]["heads.safetensors"] = digest
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CorruptModelError, match="table of nodes is not one of trees"):
        read_bundle(tmp_path)


def test_a_checkpoint_of_other_sizes_is_taken_and_a_damaged_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    run, again, damaged = (prepare(resolved().config, tiny.table()) for _ in range(3))
    list(run.train())
    run.state.save(path)
    again.state.load(path)
    expected, own = run.state.objective.state_dict(), again.state.objective.state_dict()
    assert all(torch.equal(expected[name], own[name]) for name in expected)
    tensors, manifest = tensor_file.read(path)
    (name,) = (name for name in tensors if name.endswith("roots"))
    tensors[name].fill_(-1)
    tensor_file.write_atomically(path, tensor_file.to_bytes(tensors, manifest))
    before = {name: value.clone() for name, value in damaged.state.objective.state_dict().items()}
    with pytest.raises(CorruptCheckpointError):
        damaged.state.load(path)
    assert all(torch.equal(before[name], value) for name, value in damaged.state.objective.state_dict().items())
