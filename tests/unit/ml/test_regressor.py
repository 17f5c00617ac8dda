"""A regressor's uncertainty: intervals hold as many numbers as they say, on real data and where noise grows."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_diabetes
from torch import Tensor

from app.ml.kinds.heads.regressor import Regressor, RegressorHead
from app.ml.solvers.regression import solve_regression
from app.ml.solvers.ridge import solve_ridge
from app.ml.spec import TargetSpec
from tests.support import tiny
from tests.support.texts import run_of


def make(features: int, targets: tuple[str, ...] = ("y",), **fields: Any) -> RegressorHead:
    torch.manual_seed(0)
    config = Regressor.model_validate({"target": targets[0] if len(targets) == 1 else list(targets), **fields})
    return config.build(features, tuple(TargetSpec(name=name, type="number") for name in targets))


def solved(features: Tensor, target: Tensor, **fields: Any) -> RegressorHead:
    head = make(features.shape[1], **fields)
    head.fit_target(target)
    head.solve(features, target, (features.shape[1],))
    return head


def diabetes() -> tuple[Tensor, Tensor]:
    found = load_diabetes()
    return torch.from_numpy(found.data).float(), torch.from_numpy(found.target)


@pytest.mark.parametrize("level", [0.5, 0.8, 0.9])
@torch.no_grad()
def test_intervals_of_a_solved_head_hold_what_they_say(level: float) -> None:
    """Over 40 draws: calibrated on 100 rows, and with no row to calibrate on by the leave-one-out error."""
    features, target = diabetes()
    calibrated, left_out = [], []
    for seed in range(40):
        order = torch.randperm(len(target), generator=torch.Generator().manual_seed(seed))
        train, validation, test = order[:200], order[200:300], order[300:]
        head = solved(features[train], target[train], level=level)
        left_out.append(head.evaluate(head(features[test]), target[test])["coverage"])
        head.fit_calibration(head(features[validation]), target[validation])
        calibrated.append(head.evaluate(head(features[test]), target[test])["coverage"])
    assert np.mean(calibrated) == pytest.approx(level, abs=0.03)
    assert np.mean(left_out) == pytest.approx(level, abs=0.03)
    with_few = solved(features[:200], target[:200], level=0.9)
    before = with_few.spread.item()
    with_few.fit_calibration(with_few(features[200:208]), target[200:208])
    assert with_few.spread.item() == before, "eight rows say less than 200 that were left out"


@torch.no_grad()
def test_errors_that_are_not_normal_make_no_difference_to_the_share_that_is_held() -> None:
    """By a normal distribution of their deviation, the intervals would hold 95 % of these, and 79 % of the others."""
    random = torch.Generator().manual_seed(0)
    features = torch.randn(3000, 3, generator=random)
    skewed = torch.randn(3000, generator=random).mul(1.2).exp()
    two_ways = torch.where(torch.rand(3000, generator=random) < 0.5, -1.0, 1.0)
    for noise in (skewed, two_ways + 0.01 * torch.randn(3000, generator=random)):
        target = (features[:, 0] + 2 * noise).double()
        head = solved(features[:300], target[:300])
        coverage = head.evaluate(head(features[300:]), target[300:])["coverage"]
        assert coverage == pytest.approx(0.9, abs=0.03)


def growing_noise(rows: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """x, y = 3 x + noise of deviation 0.1 to 2, and that deviation."""
    random = torch.Generator().manual_seed(seed)
    x = torch.rand(rows, 1, generator=random)
    deviation = 0.1 + 1.9 * x[:, 0]
    return x, (3 * x[:, 0] + deviation * torch.randn(rows, generator=random)).double(), deviation


def fitted(head: RegressorHead, x: Tensor, y: Tensor) -> RegressorHead:
    head.fit_features(x)
    head.fit_target(y)
    optimizer = torch.optim.Adam(head.parameters(), 0.05)
    for _ in range(200):
        optimizer.zero_grad()
        head.loss(head(x), y).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return head


def coverage_by_noise(head: RegressorHead, x: Tensor, y: Tensor) -> tuple[float, float]:
    """Where the noise is low, and where it is high."""
    quiet = x[:, 0] < 0.2
    loud = x[:, 0] > 0.8
    found = [head.evaluate(head(x[part]), y[part])["coverage"] for part in (quiet, loud)]
    return found[0], found[1]


def test_a_gaussian_head_knows_where_it_is_unsure() -> None:
    x, y, _ = growing_noise(2000, 0)
    validation_x, validation_y, _ = growing_noise(500, 1)
    test_x, test_y, deviation = growing_noise(4000, 2)
    gaussian, plain = fitted(make(1, loss="gaussian"), x, y), fitted(make(1), x, y)
    with torch.no_grad():
        for head in (gaussian, plain):
            head.fit_calibration(head(validation_x), validation_y)
            assert head.evaluate(head(test_x), test_y)["coverage"] == pytest.approx(0.9, abs=0.025)
        answers = gaussian.predict(gaussian(test_x))
        widths = np.array([high - low for low, high in (answer["interval"] for answer in answers)])
        assert np.corrcoef(widths, deviation.numpy())[0, 1] > 0.95
        assert coverage_by_noise(gaussian, test_x, test_y) == pytest.approx((0.9, 0.9), abs=0.06)
        quiet, loud = coverage_by_noise(plain, test_x, test_y)
        assert quiet > 0.97, "one width for all is too wide here"
        assert loud < 0.82, "and too narrow there"


def test_the_gaussian_loss_is_the_likelihoods() -> None:
    head = make(3, ("a", "b"), loss="gaussian")
    output = torch.randn(5, 4) * 2
    target = torch.randn(5, 2).double()
    target[0, 1] = math.nan
    head.fit_target(target)
    wanted = (target - head.target_mean) / head.target_std
    variance = (8 * (output[:, 2:] / 8).tanh()).exp().double()
    normal = torch.distributions.Normal(output[:, :2].double(), variance.sqrt())
    nats = -normal.log_prob(wanted.nan_to_num())[~target.isnan()].mean() - math.log(2 * math.pi) / 2
    assert head.loss(output, target).item() == pytest.approx(nats.item(), rel=1e-5)


@pytest.mark.parametrize("raw", [-1e30, -60.0, 60.0, 1e30])
def test_a_variance_never_runs_away(raw: float) -> None:
    head = make(1, loss="gaussian")
    output = torch.tensor([[1e3, raw]], requires_grad=True)
    loss = head.loss(output, torch.tensor([0.0], dtype=torch.float64))
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.isfinite()
    assert output.grad is not None
    assert output.grad.isfinite().all()
    low, high = head.predict(output)[0]["interval"]
    assert high > low


def test_the_interval_is_the_conformal_quantile() -> None:
    head = make(1, level=0.8)
    target = torch.arange(1.0, 10.0, dtype=torch.float64)  # errors of 1 to 9 around 0
    head.fit_calibration(torch.zeros(9, 1), target)
    assert head.predict(torch.zeros(1, 1))[0]["interval"] == [-8, 8]  # the ceil(10 * 0.8)-th
    wide = make(1, level=0.95)
    wide.fit_calibration(torch.zeros(9, 1), target)
    student = 2.2622 * math.sqrt(sum(error**2 for error in range(1, 10)) / 9)  # t of 9 degrees, at 97.5 %
    assert wide.spread.item() == pytest.approx(student, abs=1e-2), "nine rows cannot tell where 95 % end"


def test_targets_that_are_known_in_rows_of_their_own_are_solved_as_if_alone() -> None:
    random = torch.Generator().manual_seed(0)
    features = torch.randn(80, 5, generator=random)
    wanted = (features @ torch.randn(5, 3, generator=random)).double() + torch.randn(80, 3, generator=random)
    wanted[:30, 1] = math.nan
    wanted[:, 2] = math.nan
    found = solve_regression(features, wanted)
    for index, rows in ((0, slice(None)), (1, slice(30, None))):
        alone = solve_ridge(features[rows], wanted[rows, index : index + 1])
        assert torch.allclose(found.weight[index], alone.weight[0].double())
        assert found.bias[index].item() == pytest.approx(alone.bias.item())
    assert (found.weight[2] == 0).all()
    assert found.loss is not None
    together = solve_regression(features, wanted[:, :1].expand(-1, 2))
    assert torch.allclose(together.weight[0], found.weight[0])


def test_several_targets_are_answered_by_name_and_measured_apart() -> None:
    head = make(2, ("long", "wide"))
    target = torch.tensor([[10.0, 1.0], [20.0, math.nan], [30.0, 3.0]], dtype=torch.float64)
    head.fit_target(target)
    output = torch.tensor([[0.0, 1.0], [0.0, 0.0], [0.0, -1.0]])
    answers = head.predict(output)
    assert [answer["long"]["value"] for answer in answers] == [20, 20, 20]
    assert [answer["wide"]["value"] for answer in answers] == pytest.approx([3, 2, 1])
    found = head.evaluate(output, target)
    assert found["targets"]["long"]["r2"] == pytest.approx(0)
    assert found["targets"]["wide"]["mae"] == pytest.approx(2)
    assert found["r2"] == pytest.approx((0 - 3) / 2)


def test_a_run_calibrates_its_heads_on_the_validation_rows() -> None:
    request: dict[str, Any] = {
        "heads": [
            {"kind": "regressor", "target": "size", "level": 0.7},
            {"kind": "multi_label", "target": ["round", "large"], "threshold": "fitted"},
        ],
        "strategy": {"kind": "full"},
        "training": {"epochs": 2},
    }
    run = run_of(tiny.table(90), request)
    regressor, labels = run.bundle().heads.values()
    examples = run.examples("validation")
    with torch.no_grad():
        outputs = run.state.objective.eval().outputs(examples.inputs.take(None))  # type: ignore[operator]
    values = [answer["value"] for answer in regressor.predict(outputs[0])]
    errors = (torch.tensor(values, dtype=torch.float64) - examples.targets["size"]).abs().sort().values
    wanted = errors[math.ceil((len(errors) + 1) * 0.7) - 1]
    low, high = regressor.predict(outputs[0])[0]["interval"]
    assert (high - low) / 2 == pytest.approx(wanted.item(), rel=1e-6)
    assert labels.thresholds.tolist() != [0.5, 0.5]


def test_one_far_target_does_not_set_the_scale_of_huber() -> None:
    """The numbers of 59 rows follow the feature; the sixtieth is a mistake by seven decades."""
    features = torch.linspace(-2, 2, 60, dtype=torch.float64)[:, None].float()
    target = 100 + 10 * features[:, 0].double()
    target[17] = 1e9
    head = Regressor(target="price", loss="huber").build(1, (TargetSpec(name="price", type="number"),))
    assert head.far_targets(target) == {"price": 1}
    head.fit_target(target)
    assert head.target_mean.item() == pytest.approx(100, abs=1)
    assert 5 < head.target_std.item() < 30
    optimizer = torch.optim.Adam(head.parameters(), 0.05)
    for _ in range(400):
        optimizer.zero_grad()
        head.loss(head(features), target).backward()
        optimizer.step()
    answers = torch.tensor([answer["value"] for answer in head.predict(head(features))])
    others = torch.arange(60) != 17
    assert (answers - target).abs()[others].mean() < 3


def test_usual_targets_keep_mean_and_deviation() -> None:
    target = torch.randn(500, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).exp()
    for loss in ("huber", "mse"):
        head = Regressor(target="price", loss=loss).build(1, (TargetSpec(name="price", type="number"),))
        head.fit_target(target)
        assert head.far_targets(target) == {"price": 0}
        assert head.target_mean.item() == pytest.approx(target.mean().item())
    assert head.far_targets(torch.tensor([0.0] * 40 + [1e9])) == {"price": 0}, "half of them are equal"
