"""Metrics against hand-computed values and scikit-learn; an undefined one is None."""

import json

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss, roc_auc_score

from app.ml import metrics
from app.ml.heads.classifier import Classifier
from app.ml.heads.regressor import Regressor
from app.ml.spec import TargetSpec

RANDOM = np.random.default_rng(0)


def soft(rows: int, classes: int) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    values = RANDOM.random((rows, classes))
    return values / values.sum(1, keepdims=True)


def test_classification_agrees_with_scikit_learn() -> None:
    truth = np.arange(60) % 3
    probabilities = soft(60, 3)
    found = metrics.classification(probabilities, truth, ("a", "b", "c"))
    assert found["auc_roc"] == pytest.approx(roc_auc_score(truth, probabilities, multi_class="ovr"))
    assert found["log_loss"] == pytest.approx(log_loss(truth, probabilities))
    counts = np.array(found["confusion_matrix"]["counts"])
    assert counts.sum(1).tolist() == [20, 20, 20]
    assert found["accuracy"] == pytest.approx(np.trace(counts) / 60)
    precision, recall = np.diag(counts) / counts.sum(0), np.diag(counts) / counts.sum(1)
    assert found["macro_f1"] == pytest.approx(np.mean(2 * precision * recall / (precision + recall)))


def test_two_classes_rank_by_the_second() -> None:
    probabilities = np.array([[0.9, 0.1], [0.4, 0.6], [0.35, 0.65], [0.2, 0.8]])
    found = metrics.classification(probabilities, np.array([0, 0, 1, 1]), ("no", "yes"))
    assert found["auc_roc"] == 1.0
    assert found["accuracy"] == 0.75
    assert found["confusion_matrix"]["counts"] == [[1, 1], [0, 2]]


def test_an_absent_class_leaves_the_auc_undefined() -> None:
    found = metrics.classification(soft(10, 3), np.arange(10) % 2, ("a", "b", "c"))
    assert found["auc_roc"] is None
    assert metrics.classification(soft(1, 2), np.array([0]), ("a", "b"))["auc_roc"] is None
    json.dumps(found, allow_nan=False)


def test_a_certain_mistake_costs_a_finite_amount() -> None:
    found = metrics.classification(np.array([[1.0, 0.0]]), np.array([1]), ("a", "b"))
    assert 30 < found["log_loss"] < 40


def test_regression_by_hand() -> None:
    found = metrics.regression(np.array([1.0, 2.0, 6.0]), np.array([1.0, 2.0, 3.0]))
    assert found == {"mae": 1.0, "rmse": pytest.approx(3**0.5), "r2": pytest.approx(1 - 9 / 2)}
    assert metrics.regression(np.array([1.0, 2.0]), np.array([3.0, 3.0]))["r2"] is None


def test_balanced_weights_and_smoothing_are_torchs() -> None:
    target = torch.tensor([0, 0, 0, 1, 2, 2, -1])
    spec = TargetSpec(name="y", type="category", classes=("a", "b", "c"))
    head = Classifier(target="y", class_weights="balanced", label_smoothing=0.1).build(4, (spec,))
    head.fit_target(target)
    assert head.class_weight.tolist() == pytest.approx([6 / 9, 2.0, 1.0])
    output = head(torch.randn(7, 4))
    reference = torch.nn.CrossEntropyLoss(head.class_weight, ignore_index=-1, label_smoothing=0.1)
    assert head.loss(output, target).item() == pytest.approx(reference(output, target).item(), rel=1e-5)


def test_probabilities_sum_to_one_and_name_the_class() -> None:
    spec = TargetSpec(name="y", type="category", classes=("a", "b"))
    head = Classifier(target="y").build(3, (spec,))
    answers = head.predict(torch.tensor([[0.0, 1.0], [1e30, -1e30], [float("inf"), 0.0]]))
    assert [answer["class"] for answer in answers] == ["b", "a", "a"]
    assert all(sum(answer["probabilities"].values()) == pytest.approx(1, abs=1e-12) for answer in answers)


@pytest.mark.parametrize("loss", ["mse", "huber"])
def test_a_regressor_answers_in_the_targets_unit(loss: str) -> None:
    target = torch.tensor([1000.0, 1200.0, 1100.0, float("nan")], dtype=torch.float64)
    config = Regressor.model_validate({"target": "y", "loss": loss})
    head = config.build(2, (TargetSpec(name="y", type="number"),))
    head.fit_target(target)
    perfect = ((target - 1100) / torch.tensor([1000.0, 1200.0, 1100.0]).std(correction=0)).nan_to_num()
    output = perfect.float()[:, None]
    assert head.loss(output, target).item() == pytest.approx(0, abs=1e-10)
    assert [answer["value"] for answer in head.predict(output[:3])] == pytest.approx([1000, 1200, 1100])
    assert head.evaluate(output, target)["mae"] == pytest.approx(0, abs=1e-4)
    shifted = head.loss(output + 3, target).item()
    assert shifted == pytest.approx(9 if loss == "mse" else 2.5, rel=1e-5)


def test_a_constant_target_is_harmless() -> None:
    head = Regressor(target="y").build(2, (TargetSpec(name="y", type="number"),))
    head.fit_target(torch.tensor([5.0, 5.0], dtype=torch.float64))
    assert head.predict(torch.zeros(1, 1)) == [{"value": 5.0}]


@pytest.mark.parametrize(("values", "std"), [([0.1] * 7, 1.0), ([0.0] * 3, 1.0), ([1e-12, 3e-12], 1e-12)])
def test_a_target_constant_but_for_rounding_has_no_deviation(values: list[float], std: float) -> None:
    head = Regressor(target="size").build(4, (TargetSpec(name="size", type="number"),))
    head.fit_target(torch.tensor(values, dtype=torch.float64))
    assert head.target_std.item() == pytest.approx(std, rel=1e-6, abs=0)
