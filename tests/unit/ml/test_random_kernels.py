"""Random kernels against a slow definition, step by step and weight by weight; what a row's own length and gaps do."""

import math
from itertools import combinations
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import Tensor

from app.ml.blocks.kernels import dilations_of
from app.ml.configs.learning import FineTuningConfig
from app.ml.interfaces import Encoding
from app.ml.interfaces.values import Batch
from app.ml.kinds.backbones.random_kernels import (
    RandomKernelsBackbone,
    ResolvedRandomKernels,
    draw_kernels,
)
from app.ml.resolution.fine_tuning import resolve_fine_tuning
from tests.support import tiny
from worker.training.run import prepare

STEPS, CHANNELS = 40, 3


class Rows:
    """Encoded rows in memory."""

    characters = None

    def __init__(self, inputs: Tensor) -> None:
        self.inputs = inputs
        self.targets: dict[str, Tensor] = {}

    def __len__(self) -> int:
        return len(self.inputs)

    def batch(self, indices: Tensor | None) -> Batch:
        return Batch(self.inputs if indices is None else self.inputs[indices])


def made_rows(count: int = 12) -> Tensor:
    """Random walks (count, C + 1, T): every third is shorter, every fourth lacks steps."""
    random = np.random.default_rng(0)
    values = random.normal(size=(count, CHANNELS, STEPS)).cumsum(2) / 3
    observed = np.ones((count, 1, STEPS))
    observed[::3, :, 25:] = 0
    observed[::4, :, 5:9] = 0
    observed[-1, :, 4:] = 0  # too short for any but the first dilation
    return torch.from_numpy(np.concatenate([values * observed, observed], axis=1)).float()


def fitted(inputs: Tensor, features: int = 900, views: Literal["channel", "both"] = "both") -> RandomKernelsBackbone:
    torch.manual_seed(0)
    config = ResolvedRandomKernels(features=features, views=views)
    backbone = config.build(Encoding(shape=tuple(inputs.shape[1:])))
    backbone.initialize(Rows(inputs))
    return backbone.eval()


def shares(backbone: RandomKernelsBackbone, inputs: Tensor) -> Tensor:
    """The features before they are weighted."""
    return backbone(inputs) / backbone.weights.detach()


def shares_by_definition(backbone: RandomKernelsBackbone, row: Tensor) -> list[float]:
    """The features of one row (C + 1, T), as the module's docstring has them."""
    values, observed = row[:-1].double().numpy(), row[-1].numpy() > 0
    length = int(np.flatnonzero(observed)[-1]) + 1
    seen = values[:, observed]
    own = (values - seen.mean(1, keepdims=True)) / seen.std(1, keepdims=True) * observed
    result = []
    for table in range(len(backbone.thresholds)):
        view, index = divmod(table, len(backbone.dilations))
        x, dilation = (values, own)[view], backbone.dilations[index]
        whole = [t for t in range(STEPS) if observed[t] and t - 4 * dilation >= 0 and t + 4 * dilation < length]
        padded = [t for t in range(STEPS) if observed[t]]
        for kernel in range(84):
            weights = backbone.kernels[index, kernel].numpy()
            counts = padded if kernel < 42 else whole or padded
            sums = []
            for t in counts:
                taps = [(j, t + dilation * (j - 4)) for j in range(9)]
                seen = [(j, place) for j, place in taps if 0 <= place < STEPS]
                sums.append(sum(weights[c, j] * x[c, place] for c in range(CHANNELS) for j, place in seen))
            thresholds = backbone.thresholds[table, kernel].tolist()
            result += [sum(value > threshold for value in sums) / len(counts) for threshold in thresholds]
    for channel in range(CHANNELS):
        result += [float(np.mean(values[channel][observed] > level)) for level in backbone.levels[channel].tolist()]
    return result


def test_features_are_shares_by_the_definition() -> None:
    inputs = made_rows()
    backbone = fitted(inputs)
    features = shares(backbone, inputs)
    assert features.shape == (12, backbone.features)
    for row in (0, 1, 4, 11):
        assert features[row].tolist() == pytest.approx(shares_by_definition(backbone, inputs[row]), abs=1e-6)


def test_one_view_is_what_models_of_earlier_releases_have() -> None:
    """Their manifests name no views, and their features weigh 1."""
    config = ResolvedRandomKernels.model_validate({"kind": "random_kernels", "features": 900})
    inputs = made_rows()
    backbone = config.build(Encoding(shape=tuple(inputs.shape[1:])))
    earlier = {
        "kernels": (4, 84, CHANNELS, 9),
        "thresholds": (4, 84, 2),
        "levels": (CHANNELS, 30),
        "weights": (4 * 84 * 2 + CHANNELS * 30,),
    }
    assert {name: tuple(tensor.shape) for name, tensor in backbone.state_dict().items()} == earlier
    one = fitted(inputs, views="channel")
    assert shares(one, inputs)[1].tolist() == pytest.approx(shares_by_definition(one, inputs[1]), abs=1e-6)


def test_half_of_the_thresholds_do_not_see_a_rows_level_and_scale() -> None:
    inputs = made_rows()
    other = inputs.clone()
    other[:, :-1] = (4 * inputs[:, :-1] + 8) * inputs[:, -1:]
    backbone = fitted(inputs)
    difference = (shares(backbone, other) - shares(backbone, inputs)).abs().amax(0)
    half = backbone.thresholds.numel() // 2
    assert (difference[:half] > 0.02).float().mean() > 0.5
    assert (difference[half : 2 * half] > 0.02).float().mean() < 0.01


def test_the_kernels_are_all_choices_of_three_of_nine_on_few_channels() -> None:
    torch.manual_seed(0)
    kernels = draw_kernels(4, 12)
    expected = set(combinations(range(9), 3))
    for dilation in range(4):
        seen = set()
        for kernel in kernels[dilation]:
            used = kernel[kernel.abs().sum(1) > 0]
            assert 1 <= len(used) <= 9
            assert used[0].sum() == 0
            assert all(torch.equal(channel, used[0]) for channel in used)
            seen.add(tuple(torch.nonzero(used[0] > 0).flatten().tolist()))
        assert seen == expected
    counts = (kernels.abs().sum(3) > 0).sum(2)
    assert counts.unique().tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9]


@pytest.mark.parametrize("steps", [1, 2, 8, 9, 17, 150, 1344])
def test_the_widest_kernel_is_no_longer_than_the_series(steps: int) -> None:
    dilations = dilations_of(steps, 9, 100)
    assert dilations[0] == 1
    assert dilations == sorted(set(dilations))
    assert dilations[-1] <= max(1, (steps - 1) / 8)
    assert dilations[-1] >= math.floor((steps - 1) / 8)
    assert len(dilations_of(steps, 9, 2)) <= 2


def test_thresholds_cut_the_train_rows_evenly() -> None:
    """Over all kernels a share is as often below as above one half; one that is always 0 or 1 tells nothing."""
    inputs = made_rows(200)
    features = shares(fitted(inputs, 3000), inputs)
    assert features.mean().item() == pytest.approx(0.5, abs=0.05)
    assert (features.std(0) > 0.01).float().mean() > 0.95


def test_what_is_behind_the_end_or_missing_changes_nothing() -> None:
    """A row in a longer frame has the same features."""
    inputs = made_rows()
    backbone = fitted(inputs)
    longer = torch.nn.functional.pad(inputs, (0, 60))
    assert torch.allclose(backbone(longer), backbone(inputs), atol=1e-6)


def test_features_are_the_same_in_any_batch_bit_for_bit() -> None:
    inputs = made_rows(50)
    backbone = fitted(inputs, 10_000)
    together = backbone(inputs)
    assert all(torch.equal(backbone(inputs[row : row + 1])[0], together[row]) for row in range(50))


def test_a_level_is_seen_although_kernels_sum_to_zero() -> None:
    inputs = made_rows()
    higher = inputs.clone()
    higher[:, 0] += inputs[:, -1]
    backbone = fitted(torch.cat([inputs, higher]))
    levels = backbone.levels.numel()
    assert (shares(backbone, higher)[:, -levels:] - shares(backbone, inputs)[:, -levels:]).mean() > 0.05


def test_flat_and_empty_rows_are_finite() -> None:
    inputs = torch.zeros(3, CHANNELS + 1, STEPS)
    inputs[0, -1] = 1
    features = fitted(inputs)(inputs)
    assert features.isfinite().all()
    assert (features == 0).all()


@pytest.mark.parametrize("backbone", [{"kind": "random_kernels"}, {"kind": "rocket", "kernels": 300}])
@pytest.mark.parametrize("head", [{"kind": "classifier", "target": "label"}, {"kind": "regressor", "target": "size"}])
def test_heads_are_solved_on_random_kernels(backbone: dict[str, Any], head: dict[str, str]) -> None:
    data = tiny.series(60)
    request = {"backbone": backbone, "heads": [head]}
    resolved = resolve_fine_tuning(FineTuningConfig.model_validate(request), data.spec, None)
    assert resolved.config.strategy.kind == "linear_probe"
    run = prepare(resolved.config, data)
    for _ in run.train():
        pass
    measured = run.evaluate("test")
    assert measured is not None
    (scores,) = measured.heads.values()
    score = scores.get("accuracy", scores.get("r2"))
    assert isinstance(score, float)
    assert score > 0.8
