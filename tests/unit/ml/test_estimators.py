"""Estimators beside scikit-learn's answers, on degenerate rows, and as files that were tampered with."""

import math
from collections.abc import Callable
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

from app.ml.blocks.tree_ensemble import TreeEnsemble
from app.ml.kinds.estimators.boosted_trees import BoostedTrees
from app.ml.kinds.estimators.random_forest import RandomForest
from app.ml.kinds.heads.classifier import Classifier
from app.ml.kinds.heads.regressor import Regressor
from app.ml.solvers.trees import (
    BoostingSettings,
    ForestSettings,
    boost_classes,
    boost_numbers,
    grow_forest_of_classes,
    grow_forest_of_numbers,
)
from app.ml.spec import TargetSpec

BOOSTING = BoostingSettings(iterations=12, learning_rate=0.2, max_leaves=9, min_leaf_rows=3, l2=0.5)
OF_BOOSTING: dict[str, Any] = {
    "max_iter": 12,
    "learning_rate": 0.2,
    "max_leaf_nodes": 9,
    "min_samples_leaf": 3,
    "l2_regularization": 0.5,
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


ESTIMATORS = ["boosted_trees", "random_forest"]


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


def test_auto_suits_the_rows() -> None:
    target = TargetSpec(name="y", type="category", classes=tuple(map(str, range(150))))
    for estimator in (BoostedTrees(), RandomForest()):
        config, choices = Classifier(target="y", estimator=estimator).settled((target,), {}, 30_000)
        assert '"auto"' not in config.model_dump_json()
        assert {f"estimator.{name}" for name, value in estimator if value == "auto"} == set(choices)
        assert all(reason for _, reason in choices.values())
