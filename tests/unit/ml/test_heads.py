"""Losses, answers and calibration of classifier and regressor heads."""

import pytest
import torch

from app.ml.heads.classifier import Classifier
from app.ml.heads.regressor import Regressor
from app.ml.spec import TargetSpec


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
    (answer,) = head.predict(torch.zeros(1, 1))
    assert answer["value"] == 5.0
    assert answer["interval"] == pytest.approx([5 - 1.645, 5 + 1.645], abs=1e-3)


@pytest.mark.parametrize(("values", "std"), [([0.1] * 7, 1.0), ([0.0] * 3, 1.0), ([1e-12, 3e-12], 1e-12)])
def test_a_target_constant_but_for_rounding_has_no_deviation(values: list[float], std: float) -> None:
    head = Regressor(target="size").build(4, (TargetSpec(name="size", type="number"),))
    head.fit_target(torch.tensor(values, dtype=torch.float64))
    assert head.target_std.item() == pytest.approx(std, rel=1e-6, abs=0)
