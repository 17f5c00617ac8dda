"""Losses, answers and calibration of classifier and regressor heads."""

import pytest
import torch
from scipy import optimize
from torch import Tensor

from app.ml.kinds.heads.classifier import Classifier
from app.ml.kinds.heads.regressor import Regressor
from app.ml.kinds.heads.temperature import fitted_temperature
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


def digits_head(rows: int, scale: float) -> tuple[Tensor, Tensor]:
    """Logits whose calibrated ones they are `scale` times, and the classes drawn from those."""
    generator = torch.Generator().manual_seed(0)
    honest = 2 * torch.randn(rows, 5, generator=generator, dtype=torch.float64)
    truth = torch.multinomial(honest.softmax(1), 1, generator=generator)[:, 0]
    return honest * scale, truth


@pytest.mark.parametrize("scale", [0.2, 1.0, 4.0])
def test_the_temperature_undoes_a_scale(scale: float) -> None:
    logits, truth = digits_head(20_000, scale)
    assert fitted_temperature(logits, truth) == pytest.approx(scale, rel=0.05)


def test_the_temperature_is_where_scipy_finds_the_least_loss() -> None:
    logits, truth = digits_head(300, 3.0)

    def loss(inverse: float) -> float:
        nats = torch.nn.functional.cross_entropy(logits * inverse, truth, reduction="sum").item()
        return nats + (inverse - 1) ** 2 / 2

    best = optimize.minimize_scalar(loss, bounds=(0.01, 10), method="bounded", options={"xatol": 1e-9}).x
    assert fitted_temperature(logits, truth) == pytest.approx(1 / best, rel=1e-5)


def test_few_or_perfect_rows_do_not_make_it_certain() -> None:
    logits, truth = digits_head(49, 3.0)
    assert fitted_temperature(logits, truth) == 1.0
    perfect = 5 * torch.eye(5, dtype=torch.float64).repeat(40, 1)
    assert 0.3 < fitted_temperature(perfect, torch.arange(200) % 5) < 1
    assert fitted_temperature(perfect, (torch.arange(200) + 1) % 5) > 1
    infinite = torch.full((60, 2), 3e38, dtype=torch.float64)
    assert fitted_temperature(infinite, torch.zeros(60, dtype=torch.int64)) > 0


def test_calibration_changes_probabilities_alone_and_is_saved() -> None:
    spec = TargetSpec(name="y", type="category", classes=tuple("abcde"))
    head = Classifier(target="y").build(3, (spec,))
    logits, truth = digits_head(2_000, 4.0)
    before = head.outcomes(logits, truth)
    head.fit_calibration(logits, torch.where(torch.arange(2_000) % 3 == 0, -1, truth))
    after = head.outcomes(logits, truth)
    assert (after.answers == before.answers).all()
    assert after.metrics()["ece"] < 0.03
    assert after.metrics()["ece_unscaled"] > 0.1
    assert after.metrics()["ece_unscaled"] == before.metrics()["ece"]
    again = Classifier(target="y").build(3, (spec,))
    again.load_state_dict(head.state_dict())
    assert again.predict(logits[:5]) == head.predict(logits[:5])
