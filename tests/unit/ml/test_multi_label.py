"""Several labels: loss, optimum and figures against torch and scikit-learn; what nobody knows does not count."""

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, average_precision_score, f1_score
from torch import Tensor

from app.ml.kinds.heads.multi_label import MultiLabel, MultiLabelHead, best_threshold
from app.ml.solvers.multi_label import solve_multi_label
from app.ml.spec import TargetSpec

NAMES = ("a", "b", "c")


def make(**fields: Any) -> MultiLabelHead:
    torch.manual_seed(0)
    config = MultiLabel.model_validate({"target": list(NAMES), **fields})
    return config.build(6, tuple(TargetSpec(name=name, type="category", classes=("0", "1")) for name in NAMES))


def problem(rows: int = 300, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Features (N, 6) and labels (N, 3) that depend on them with noise, one of them rare; a third are unknown."""
    random = torch.Generator().manual_seed(seed)
    features = torch.randn(rows, 6, generator=random)
    logits = features @ torch.randn(6, 3, generator=random) + torch.tensor([0.0, 1.0, -3.0])
    there = (logits - torch.rand(rows, 3, generator=random).logit() > 0).long()
    return features - features.mean(0), there.where(torch.rand(rows, 3, generator=random) > 1 / 3, -1)


def test_the_loss_is_torchs_over_the_known_labels() -> None:
    head, (features, target) = make(positive_weights="balanced"), problem(40)
    head.fit_target(target)
    output, weight = head(features), head.positive_weight
    known = target >= 0
    assert weight[2].item() == pytest.approx(((target[:, 2] == 0).sum() / (target[:, 2] == 1).sum()).item())
    by_hand = -(weight * target * output.sigmoid().log() + (1 - target) * (1 - output.sigmoid()).log())[known].mean()
    assert head.loss(output, target).item() == pytest.approx(by_hand.item(), rel=1e-5)


def test_what_is_unknown_gives_its_label_no_gradient() -> None:
    head, (features, target) = make(), problem(40)
    target[:, 1] = -1
    head.loss(head(features), target).backward()  # type: ignore[no-untyped-call]
    layer = head.layers[0][0]  # type: ignore[index]
    assert layer.weight.grad[[0, 2]].abs().sum() > 0
    assert (layer.weight.grad[1] == 0).all()


def test_the_optimum_is_one_of_logistic_regressions_for_each_label() -> None:
    features, target = problem()
    found = solve_multi_label(features, target, torch.ones(3))
    for k in range(3):
        known = target[:, k] >= 0
        reference = LogisticRegression(C=1 / found.strength, tol=1e-10, max_iter=10_000)
        reference.fit(features[known].double().numpy(), target[known, k].numpy())
        assert np.allclose(found.weight[k].numpy(), reference.coef_[0], atol=2e-5)
        assert found.bias[k].item() == pytest.approx(reference.intercept_[0], abs=2e-5)
    assert found.loss is not None
    assert found.loss < 0.62, "per known label, on rows held out; tossing a coin costs 0.69"


def test_a_label_without_both_sides_stays_out_of_the_optimum() -> None:
    features, target = problem()
    wide = torch.cat([target, torch.zeros(300, 1, dtype=torch.int64), torch.ones(300, 1, dtype=torch.int64)], dim=1)
    found, without = (
        solve_multi_label(features, wide, torch.ones(5)),
        solve_multi_label(features, target, torch.ones(3)),
    )
    assert torch.allclose(found.weight[:3], without.weight, atol=1e-5)
    assert (found.weight[3:] == 0).all()
    assert found.bias[3:].sigmoid().tolist() == pytest.approx([1 / 302, 301 / 302], rel=1e-6)
    nothing = solve_multi_label(features, torch.full((300, 2), -1), torch.ones(2))
    assert nothing.bias.tolist() == [0, 0]


def test_a_weight_counts_a_row_as_several() -> None:
    features, target = problem()
    found = solve_multi_label(features, target, torch.tensor([1.0, 1.0, 5.0]))
    known = target[:, 2] >= 0
    reference = LogisticRegression(C=1 / found.strength, tol=1e-10, max_iter=10_000, class_weight={0: 1.0, 1: 5.0})
    reference.fit(features[known].double().numpy(), target[known, 2].numpy())
    assert np.allclose(found.weight[2].numpy(), reference.coef_[0], atol=5e-5)


def test_figures_agree_with_scikit_learn_and_mind_the_thresholds() -> None:
    head, (features, target) = make(), problem(200)
    head.thresholds.copy_(torch.tensor([0.5, 0.3, 0.1]))
    target[50:] = target[50:].clamp(min=0)
    output = 3 * (target.clamp(min=0) - 0.5) + features[:, :3]
    found = head.evaluate(output, target)
    truth, answers = target.numpy(), (output.sigmoid() >= head.thresholds).numpy()
    known = truth >= 0
    each = [f1_score(truth[known[:, k], k], answers[known[:, k], k]) for k in range(3)]
    assert found["macro_f1"] == pytest.approx(np.mean(each))
    assert found["micro_f1"] == pytest.approx(f1_score(truth[known], answers[known]))
    precisions = [average_precision_score(truth[known[:, k], k], output[known[:, k], k]) for k in range(3)]
    assert list(found["average_precision_by_label"].values()) == pytest.approx(precisions)
    assert found["average_precision"] == pytest.approx(np.mean(precisions))
    assert found["hamming_loss"] == pytest.approx((truth != answers)[known].mean())
    whole = known.all(1)
    assert found["subset_accuracy"] == pytest.approx(accuracy_score(truth[whole], answers[whole]))
    assert found["rows"] == int(known.any(1).sum())


@pytest.mark.parametrize("seed", range(5))
def test_a_threshold_is_the_best_there_is(seed: int) -> None:
    random = np.random.default_rng(seed)
    there = random.random(60) < 0.3
    probabilities = np.round(0.4 * there + 0.6 * random.random(60), 2)  # with equals among them
    cut = best_threshold(probabilities, there)
    best = max(f1_score(there, probabilities >= other) for other in np.unique(probabilities))
    assert f1_score(there, probabilities >= cut) == pytest.approx(best)
    assert best_threshold(probabilities, there & False) == 0.5


def test_answers_follow_the_thresholds() -> None:
    head = make(threshold="fitted")
    output = torch.tensor([[-1.0, 0.0, 5.0], [-3.0, -2.0, -5.0]])
    assert [answer["labels"] for answer in head.predict(output)] == [["b", "c"], []]
    head.fit_calibration(output, torch.tensor([[1, 1, -1], [0, 1, -1]]))
    first, second = head.predict(output)
    assert first["labels"] == ["a", "b", "c"]
    assert second["labels"] == ["b"]
    assert first["probabilities"]["a"] == pytest.approx(1 / (1 + np.e))
    fixed = make()
    fixed.fit_calibration(output, torch.tensor([[1, 1, -1], [0, 1, -1]]))
    assert fixed.thresholds.tolist() == [0.5] * 3
