"""ROCKET against a slow definition, step by step; what a row's own length, gaps and scale do."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from app.ml.interfaces import Encoding
from app.ml.kinds.backbones.rocket import ResolvedRocket, RocketBackbone
from tests.unit.ml.test_random_kernels import CHANNELS, STEPS, Rows, made_rows


def built(inputs: Tensor, kernels: int = 120) -> RocketBackbone:
    torch.manual_seed(0)
    return ResolvedRocket(kernels=kernels).build(Encoding(shape=tuple(inputs.shape[1:]))).eval()


def by_definition(backbone: RocketBackbone, row: Tensor) -> list[float]:
    """The features of one row (C + 1, T), as the module's docstring has them."""
    values, observed = row[:-1].double().numpy(), row[-1].numpy() > 0
    seen = values[:, observed]
    own = (values - seen.mean(1, keepdims=True)) / seen.std(1, keepdims=True) * observed
    steps = np.flatnonzero(observed)
    result = []
    for table in range(len(backbone.kernels)):
        view, index = divmod(table, len(backbone.dilations))
        x, dilation = (values, own)[view], backbone.dilations[index]
        greatest, shares = [], []
        for weights, bias in zip(
            backbone.kernels[table].double().numpy(), backbone.biases[table].tolist(), strict=True
        ):
            answers = [
                bias
                + sum(
                    weights[channel, tap] * x[channel, step + dilation * (tap - 5)]
                    for channel in range(CHANNELS)
                    for tap in range(11)
                    if 0 <= step + dilation * (tap - 5) < STEPS
                )
                for step in steps
            ]
            greatest.append(max(answers))
            shares.append(sum(answer > 0 for answer in answers) / len(answers))
        result += greatest + shares
    return result


def test_features_are_the_greatest_answers_and_the_shares_of_positive_ones() -> None:
    inputs = made_rows()
    backbone = built(inputs)
    features = backbone(inputs)
    assert features.shape == (12, backbone.features)
    for row in (0, 1, 4):
        assert features[row].tolist() == pytest.approx(by_definition(backbone, inputs[row]), abs=2e-3)


def test_kernels_have_three_lengths_no_level_and_mostly_few_channels() -> None:
    kernels = built(torch.zeros(1, 13, STEPS), kernels=3000).kernels.flatten(0, 1)  # (N, 12, 11)
    assert kernels.sum(2).abs().max() < 1e-5
    lengths = (kernels.abs().sum(1) > 0).sum(1)
    assert sorted(lengths.unique().tolist()) == [7, 9, 11]
    assert (lengths == 7).sum() == (lengths == 11).sum()
    used = (kernels.abs().sum(2) > 0).sum(1)
    assert used.min() == 1
    assert used.max() == 12
    assert (used <= 3).float().mean() > 0.5


def test_what_is_behind_the_end_changes_nothing() -> None:
    inputs = made_rows()
    backbone = built(inputs)
    assert torch.allclose(backbone(torch.nn.functional.pad(inputs, (0, 60))), backbone(inputs), atol=1e-6)


def test_features_are_the_same_in_any_batch_bit_for_bit() -> None:
    inputs = made_rows(50)
    backbone = built(inputs, 3000)
    together = backbone(inputs)
    assert all(torch.equal(backbone(inputs[row : row + 1])[0], together[row]) for row in range(50))


def test_half_of_the_kernels_do_not_see_a_rows_level_and_scale() -> None:
    inputs = made_rows()
    other = inputs.clone()
    other[:, :-1] = (4 * inputs[:, :-1] + 8) * inputs[:, -1:]
    backbone = built(inputs)
    difference = (backbone(other) - backbone(inputs)).abs().amax(0)
    half = len(difference) // 2
    assert (difference[:half] > 0.1).float().mean() > 0.9
    assert difference[half:].max() < 1e-3


def test_flat_and_empty_rows_are_finite() -> None:
    inputs = torch.zeros(3, CHANNELS + 1, STEPS)
    inputs[0, -1] = 1
    backbone = built(inputs)
    backbone.initialize(Rows(inputs))
    assert backbone(inputs).isfinite().all()


def test_features_vary_alike_once_it_has_seen_train_rows() -> None:
    inputs = made_rows(300)
    backbone = built(inputs, 600)
    before = backbone(inputs).std(0)
    backbone.initialize(Rows(inputs))
    after = backbone(inputs).std(0, correction=0)
    assert before.max() / before.median() > 3
    assert after.median().item() == pytest.approx(1, abs=1e-3)
    assert after.max().item() == pytest.approx(1, abs=1e-3)


def test_a_pattern_anywhere_in_noise_is_found_from_few_rows() -> None:
    """A bump up or down at a random place: the greatest answers tell them apart, and shares of steps hardly."""
    random = np.random.default_rng(0)
    values = random.normal(size=(600, 1, 100)) * 0.5
    labels = np.arange(600) % 2
    for row, label in enumerate(labels):
        place = random.integers(0, 90)
        values[row, 0, place : place + 10] += (2 * label - 1) * 2 * np.sin(np.linspace(0, 2 * math.pi, 10))
    inputs = torch.from_numpy(np.concatenate([values, np.ones_like(values)], axis=1)).float()
    backbone = built(inputs, 2000)
    backbone.initialize(Rows(inputs[:40]))
    features, signs = backbone(inputs).double(), torch.from_numpy(2.0 * labels - 1)
    train = features[:40] - features[:40].mean(0)
    weights = train.T @ torch.linalg.solve(train @ train.T + torch.eye(40) * 100, signs[:40])
    answers = (features[40:] - features[:40].mean(0)) @ weights
    assert ((answers > 0) == (signs[40:] > 0)).double().mean() > 0.9
