"""Skewed targets: learned after a transform where that errs less in their own units, with intervals that still hold."""

import math
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor

from app.ml.errors import ConfigError
from app.ml.kinds.heads.regressor import Regressor, RegressorHead
from app.ml.kinds.heads.target_transforms import KINDS, Kind, TargetTransform
from app.ml.spec import TargetSpec


def prices(rows: int, seed: int) -> tuple[Tensor, Tensor]:
    """Features (N, 3), and numbers whose logarithm follows them, in thousands."""
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, 3, generator=random)
    return x, 1000 * (1 + x[:, 0] - 0.5 * x[:, 1] + 0.6 * torch.randn(rows, generator=random)).exp().double()


def head_of(features: Tensor, targets: Tensor, **fields: Any) -> RegressorHead:
    names = ["price", "other"][: 1 if targets.ndim == 1 else 2]
    config = Regressor.model_validate({"target": names[0] if len(names) == 1 else names, **fields})
    torch.manual_seed(0)
    head = config.build(features.shape[1], tuple(TargetSpec(name=name, type="number") for name in names))
    settled = head.settled_by_labels(lambda: features, targets)
    if settled is not None:
        head.settle(settled[0])
    head.fit_target(targets)
    head.solve(features, targets, (features.shape[1],))
    return head


@pytest.mark.parametrize("power", [0.0, 0.3, 1.0, 1.7])
def test_the_formula_is_yeo_and_johnsons(power: float) -> None:
    transform = TargetTransform("yeo_johnson", 1)
    z = np.linspace(-3, 5, 50)
    transform.power[0] = power or 1e-6
    transformed = transform(torch.from_numpy(z)[:, None])[:, 0].numpy()
    assert transformed == pytest.approx(scipy.stats.yeojohnson(z, power), rel=1e-4)
    numbers = scipy.stats.lognorm(0.5).rvs(2000, random_state=0)
    transform.fit(0, torch.from_numpy(numbers))
    scaled = (numbers - transform.centre.item()) / transform.unit.item()
    assert transform.power.item() == pytest.approx(scipy.stats.yeojohnson_normmax(scaled), abs=0.11)


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_transformed_comes_back(kind: Kind) -> None:
    for numbers in (torch.arange(40).double(), torch.linspace(1e-9, 5e-7, 30).double() ** 2, prices(99, 0)[1]):
        transform = TargetTransform(kind, 1)
        transform.fit(0, numbers)
        ones, zeros = torch.ones(len(numbers), 1).double(), torch.zeros(len(numbers), 1).double()
        scale = (torch.zeros(1).double(), torch.ones(1).double())
        transformed = transform(numbers[:, None])
        low, value, high = transform.in_units(torch, transformed, ones, zeros, scale)
        for back in (low, value, high):
            assert torch.allclose(back[:, 0], numbers, rtol=1e-6, atol=1e-6 * numbers.max().item())


@torch.no_grad()
def test_a_skewed_target_is_learned_better_and_its_intervals_are_lopsided_and_hold() -> None:
    (features, target), (test_features, test_target) = prices(200, 1), prices(4000, 2)
    plain, chosen = head_of(features, target, transform="none"), head_of(features, target)
    assert chosen.config.transform in {"log", "yeo_johnson"}
    before, after = (head.evaluate(head(test_features), test_target) for head in (plain, chosen))
    assert after["r2"] > before["r2"] + 0.1
    assert after["interval_width"] < 0.8 * before["interval_width"]
    assert after["coverage"] == pytest.approx(0.9, abs=0.04)
    answers = chosen.predict(chosen(test_features))
    below, above = ([abs(end - row["value"]) for row in answers for end in row["interval"][k : k + 1]] for k in (0, 1))
    assert np.mean(above) > 1.5 * np.mean(below)
    assert np.mean([row["value"] for row in answers]) == pytest.approx(test_target.mean().item(), rel=0.15), "no median"
    scores = chosen.row_scores(chosen(test_features), test_target)
    variance = (test_target.var() / target.var()).item()
    assert scores.mean().item() == pytest.approx(1 - (1 - after["r2"]) * variance, abs=0.02)


@torch.no_grad()
@pytest.mark.parametrize("loss", ["mse", "gaussian"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_way_to_answer_says_the_same(kind: Kind, loss: str) -> None:
    features, target = prices(60, 3)
    targets = torch.stack((target, target.sqrt()), dim=1)
    targets[:7, 1] = math.nan
    head = head_of(features, targets, transform=kind, loss=loss)
    head.fit_calibration(head(features), targets)
    output = torch.cat((head(features), torch.full((1, 2 * (1 + (loss == "gaussian"))), 1e30)))
    by_arrays, by_tensors = head.answer(output.numpy()), head.answers(output)
    for name, numbers in (("value", by_arrays.numbers), ("low", by_arrays.low), ("high", by_arrays.high)):
        assert np.isfinite(numbers).all()
        assert numbers == pytest.approx(by_tensors[name].numpy(), rel=1e-5, abs=1e-3), name  # variances are float32
    assert (by_arrays.low <= by_arrays.numbers).all()
    assert (by_arrays.numbers <= by_arrays.high).all()


def test_what_is_not_skewed_or_too_few_stays_as_it_is() -> None:
    features, target = prices(300, 4)
    for numbers in (target.log(), target[:15], torch.full_like(target, 3.0)):
        head = head_of(features[: len(numbers)], numbers)
        assert head.config.transform in ("auto", "best")
        assert head.transform is None


def test_a_logarithm_takes_no_number_below_0() -> None:
    features, target = prices(50, 5)
    with pytest.raises(ConfigError, match=r"'price' holds -\d+.*yeo_johnson"):
        head_of(features, target - target.median(), transform="log")
