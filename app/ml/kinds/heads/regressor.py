"""A regressor: numbers, trained on standardised targets and answered in the targets' own units, each with an interval.

With t = (y - mean) / std over the train rows, of a skewed target after a transform of y, the loss is mse (t - o)^2,
huber, which is 1/2 (t - o)^2 near 0 and |t - o| - 1/2 beyond 1 (Huber, "Robust estimation of a location parameter",
1964), or gaussian, in which the head also says how sure it is (Nix and Weigend, "Estimating the mean and variance of
the target probability distribution", 1994):

    1/2 (log v + (t - o)^2 / v),   log v = 8 tanh(a / 8) of a second output a, so that no row's weight runs away

The interval is o +- q s, s being sqrt(v), or 1 without a variance. q is the ceil((n + 1) level)-th smallest of
|t - o| / s over n rows that the head has not learned from (Lei et al., "Distribution-free predictive inference for
regression", 2018): it holds a new row's number with at least that probability. These are the validation rows (split
conformal prediction); or train rows, each left out once: by their leave-one-out errors where the head was solved for
(the jackknife), else by cross-fitting. Where n is so small that there is no such rank, q is what Student's t gives of
the root mean square of these errors, and not below the largest of them. A head that was never compared with a row has
intervals by the target's own deviation.
"""

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from statistics import NormalDist
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from scipy.special import stdtrit
from torch import Tensor, nn

from app.ml.blocks.mlp import mlp_layers, single_layer
from app.ml.blocks.shards import mean_over
from app.ml.blocks.standardize import Standardize
from app.ml.errors import ConfigError
from app.ml.evaluation.regression import Regression, Regressions
from app.ml.fields import Integer, Name, NameOrNames, Rate, Real
from app.ml.interfaces import Accepts, AnswerPart, Choices, HeadConfig
from app.ml.interfaces.head_answers import NumberAnswers, RawOutput, finite_numbers
from app.ml.kinds.estimators import AnyEstimator
from app.ml.kinds.heads.estimating import EstimatingConfig, EstimatingHead, fit_estimator
from app.ml.kinds.heads.far_numbers import count_far, robust_scale
from app.ml.kinds.heads.stacking import LinearOrDeep
from app.ml.kinds.heads.target_transforms import TargetTransform
from app.ml.kinds.heads.transform_choice import choose_transform
from app.ml.solvers.regression import solve_regression
from app.ml.solvers.solution import EstimatorFit, Fit, Solution
from app.ml.spec import TargetSpec

_MIN_DEVIATION = 1e-7  # relative to the mean, as in tables; targets may be in any unit, so none is absolute
_ROUNDING = 1e-9
_MAX_LOG_VARIANCE = 8.0  # deviations from 0.02 to 55 of the target's

_ENDS = ("low", "high")


class Regressor(EstimatingConfig):
    """Predict a number, or several, each with an interval that is likely to hold it."""

    accepts: ClassVar[Accepts] = "number"
    squared_error: ClassVar[bool] = True
    headline_metric: ClassVar[str | None] = "rmse"
    kind: Literal["regressor"] = "regressor"
    target: NameOrNames = Field(description="The target to learn, by its name in the dataset, or a list of them.")
    name: Name | None = Field(None, description="The key of its answers; null takes the target's name, or regressor.")
    hidden: tuple[Annotated[Integer, Field(ge=1, le=8192)], ...] = Field(
        (), max_length=8, description="Widths of layers before the last; none makes a linear regressor."
    )
    dropout: Rate = Field(0.0, description="Share of hidden activations dropped while training.")
    loss: Literal["mse", "huber", "gaussian"] = Field(
        "mse",
        description="Squared error; huber, which outliers move less; or gaussian, which learns for every row how far "
        "off it will be.",
    )
    level: Annotated[Real, Field(ge=0.01, le=0.999)] = Field(
        0.9,
        description="Share of numbers that the intervals are to hold; their width is measured on the validation rows, "
        "or where these are too few on train rows, each left out once.",
    )
    transform: Literal["auto", "best", "none", "log", "sqrt", "yeo_johnson"] = Field(
        "auto",
        description="What of the target is learned: its logarithm, square root, or Yeo and Johnson's power of it; "
        "answers and intervals are in its own units. best (auto) compares them where train labels are skewed, by the "
        "squared error in these units on rows left out, and takes none unless one is better by a standard error.",
    )
    estimator: AnyEstimator | None = Field(
        None, description="What is learned on the features of a frozen backbone instead of layers; null: layers."
    )

    def settled(
        self, targets: tuple[TargetSpec, ...], class_rows: Mapping[str, Sequence[int]], rows: int
    ) -> tuple[Self, Choices]:
        """Settle the estimator, and leave the transform to the trainer. Raises `ConfigError` for what does not fit."""
        del class_rows
        changes, choices = self.settled_estimator(rows, len(targets))
        if self.transform == "auto":
            changes = {**changes, "transform": "best"}
            choices = {**choices, "transform": ("best", "chosen in the trainer where the train labels are skewed")}
        return self.model_copy(update=changes), choices

    @property
    def solvable(self) -> bool:
        """Where it has no hidden layers and the loss is the squared error."""
        return not self.hidden and self.loss == "mse"

    @property
    def robust(self) -> bool:
        """Under huber."""
        return self.loss == "huber"

    @property
    def min_calibration_rows(self) -> int:
        """The fewest of which an error is the conformal quantile: 9 for intervals that are to hold 90 %."""
        return math.ceil(self.level / (1 - self.level) - _ROUNDING)

    @property
    def signed(self) -> bool:
        """Where it is a log likelihood."""
        return self.loss == "gaussian"

    def answer_parts(self, targets: tuple[TargetSpec, ...]) -> tuple[AnswerPart, ...]:
        """The values of all targets, and the ends of their intervals."""
        names = tuple(target.name for target in targets)
        if len(names) == 1:
            return (
                AnswerPart("", "number", (1,), itemgetter("value")),
                AnswerPart("interval", "number", (2,), itemgetter("interval"), _ENDS),
            )
        return (
            AnswerPart("", "number", (len(names),), lambda answer: [answer[name]["value"] for name in names], names),
            AnswerPart(
                "interval",
                "number",
                (len(names), 2),
                lambda answer: [answer[name]["interval"] for name in names],
                _ENDS,
            ),
        )

    def build(self, features: int, targets: tuple[TargetSpec, ...]) -> "RegressorHead":
        """Build it with an output, or two, for every target."""
        return RegressorHead(self, features, tuple(target.name for target in targets))


class RegressorHead(EstimatingHead, LinearOrDeep):
    """(B, F) to (B, T), or with variances (B, 2 T), in deviations from the train rows' means; labels (B,) or (B, T)."""

    config: Regressor
    scales_targets: ClassVar[bool] = True
    target_mean: Tensor
    target_std: Tensor
    spread: Tensor

    def __init__(self, config: Regressor, features: int, names: tuple[str, ...]) -> None:
        super().__init__()
        self.config = config
        self.names, self.outputs = names, len(names)
        self.transform = _transform(config, len(names))
        self.standardize = Standardize(features)
        self.layers = _layers(config, features, len(names))
        quantile = NormalDist().inv_cdf((1 + config.level) / 2)
        self.register_buffer("target_mean", torch.zeros(len(names), dtype=torch.float64))
        self.register_buffer("target_std", torch.ones(len(names), dtype=torch.float64))
        self.register_buffer("spread", torch.full((len(names),), quantile, dtype=torch.float64))
        self._calibration_rows = [0] * len(names)  # how many errors each spread is from

    def forward(self, features: Tensor) -> Tensor:
        """(B, F) to (B, T) or (B, 2 T)."""
        return self.layers(self.standardize(features))  # type: ignore[no-any-return]

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Mean over the numbers that are known (not NaN)."""
        # In deviations of the train rows, so that a rate suits any unit; each number may be missing in other rows.
        targets = self._standardised(target)
        known = ~targets.isnan()
        losses = self._losses(output, targets.nan_to_num().to(output.dtype)) * known
        return mean_over(losses.sum(), known.sum())

    def _losses(self, output: Tensor, targets: Tensor) -> Tensor:
        """(B, T)."""
        prediction = output[:, : len(self.names)]
        if self.config.loss == "gaussian":
            log_variance = self._log_variance(output)
            # The negative log likelihood of a normal distribution, without its constant.
            return (log_variance + (targets - prediction).square() * (-log_variance).exp()) / 2
        return (F.mse_loss if self.config.loss == "mse" else F.huber_loss)(prediction, targets, reduction="none")

    def answer(self, output: RawOutput) -> NumberAnswers:
        """Values and intervals in the targets' units, finite."""
        numbers = finite_numbers(output)
        mean, units, spread = (of.numpy(force=True) for of in (self.target_mean, self.target_std, self.spread))
        count = len(self.names)
        deviation: Any = 1.0
        if self.config.loss == "gaussian":
            log_variance = _MAX_LOG_VARIANCE * np.tanh(numbers[:, count:] / _MAX_LOG_VARIANCE)
            deviation = np.exp(log_variance / 2)
        if self.transform is None:
            values, half = numbers[:, :count] * units + mean, deviation * (spread * units)
            parts = [values - half, values, values + half]
        else:
            prediction = numbers[:, :count]
            deviation = deviation * np.ones_like(prediction)
            parts = self.transform.in_units(np, prediction, deviation, deviation * spread, (mean, units))
            units = self.transform.deviation.numpy(force=True)
        low, value, high = (np.nan_to_num(ends, copy=False) for ends in parts)
        return NumberAnswers(self.names, value, low, high, self.config.level, units)

    def answers(self, output: Tensor) -> dict[str, Tensor]:
        """{"value", "low", "high"}, each (B, T), in the targets' units."""
        return dict(zip(("value", "low", "high"), self._intervals(output), strict=True))

    def answer_details(self) -> dict[str, Any]:
        """The share of rows whose number lies between low and high."""
        return {"level": self.config.level}

    def outcomes(self, output: Tensor, target: Tensor) -> Regression | Regressions:
        """Values and intervals, in the targets' units, of the rows where any number is known."""
        known = ~self._table(target).isnan().all(1)
        columns = (*self._intervals(output[known]), self._table(target)[known])
        values, low, high, truth = (column.cpu().numpy().T for column in columns)
        regressions = [Regression(values[k], truth[k], low[k], high[k]) for k in range(len(self.names))]
        return regressions[0] if len(regressions) == 1 else Regressions(dict(zip(self.names, regressions, strict=True)))

    @property
    def score(self) -> str:
        """The share of the variance that is explained."""
        return "r2"

    def row_scores(self, output: Tensor, target: Tensor) -> Tensor:
        """1 - (error / the train labels' deviation)^2, so that their mean is about r2; over the numbers known."""
        deviation = self.target_std if self.transform is None else self.transform.deviation
        errors = (self._table(target) - self._intervals(output)[0]) / deviation
        return (1 - errors.square()).nanmean(1)

    def settled_by_labels(self, features: Callable[[], Tensor], target: Tensor) -> tuple[HeadConfig, str] | None:
        """Choose the transform of a skewed target, by leave-one-out errors of ridge regressions; of trees none."""
        chosen = None
        if self.config.transform in ("auto", "best") and self.config.estimator is None:
            chosen = choose_transform(features, self._table(target))
        if chosen is None:
            return None
        kind, reason = chosen
        return self.config.model_copy(update={"transform": kind}), reason

    def settle(self, config: HeadConfig) -> None:
        """Take the config that `settled_by_labels` or `settled_by_features` returned."""
        assert isinstance(config, Regressor)
        self.config = config
        if config.estimator is not None:
            layers = _layers(config, len(self.standardize.mean), len(self.names))
            self.layers = layers.to(self.target_mean.device)
        self.transform = _transform(config, len(self.names))
        if self.transform is not None:
            self.transform.to(self.target_mean.device)

    def solve(self, features: Tensor, target: Tensor, widths: Sequence[int]) -> Fit | None:
        """Fit the estimator, or ridge regression, on the rows where a number is known."""
        if not self.config.solvable:
            return None
        targets = self._standardised(target)
        known = ~targets.isnan().all(1)
        solution: Solution | EstimatorFit
        if self.config.estimator is not None:
            weights = torch.ones_like(targets[known, 0])
            solution = fit_estimator(self.layers, features[known], targets[known], weights)
        else:
            self.standardize.fit_together(features[known], widths)
            solution = solve_regression(self.standardize(features[known]), targets[known])
            solution.copy_to(single_layer(self.layers))
        if solution.left_out is not None:
            self._fit_spread(solution.left_out)
        return solution

    def far_targets(self, target: Tensor) -> dict[str, int]:
        """Return how many numbers (N,) or (N, T) of each target lie a hundred times as far out as the usual ones."""
        columns = zip(self.names, self._table(target).T, strict=True)
        return {name: count_far(numbers[~numbers.isnan()]) for name, numbers in columns}

    def fit_target(self, target: Tensor) -> None:
        """Take mean and deviation of the known numbers; a constant's deviation counts as 1.

        Under huber, where a few far numbers would set both, the median and the quartiles take their place.
        """
        table = self._table(target)
        for index, numbers in enumerate(table.T if self.transform is None else self._transformed(table).T):
            known = numbers[~numbers.isnan()]
            if len(known):
                mean, std = known.mean(), known.std(correction=0)
                if self.config.robust and count_far(known):
                    mean, std = robust_scale(known)
                # Rounding gives a constant a tiny deviation: seven times 0.1 has 1.4e-17.
                constant = std <= _MIN_DEVIATION * mean.abs()
                self.target_mean[index] = mean
                self.target_std[index] = torch.where(constant, torch.ones_like(std), std)

    def _transformed(self, table: Tensor) -> Tensor:
        """Fit the transform to the known numbers of (N, T), and return these transformed."""
        assert self.transform is not None
        for index, numbers in enumerate(table.T):
            known = numbers[~numbers.isnan()]
            if len(known) and known.min() < 0 and self.config.transform in {"log", "sqrt"}:
                msg = f"target {self.names[index]!r} holds {known.min().item():g}, and {self.config.transform} takes"
                remedy = 'no number below 0: send "transform": "yeo_johnson", "none" or "auto"'
                raise ConfigError(("heads",), f"{msg} {remedy}")
            if len(known):
                self.transform.fit(index, known)
        return self.transform(table)  # type: ignore[no-any-return]

    def fit_calibration(self, output: Tensor, target: Tensor) -> None:
        """Take the intervals' width from how far off these rows are; too few do not replace more train rows."""
        prediction, deviation = self._normal(output)
        self._fit_spread((self._standardised(target) - prediction) / deviation)

    def _fit_spread(self, errors: Tensor) -> None:
        """Set the spreads from the errors (N, T) of rows that were not learned from, NaN where unknown."""
        for index, of_target in enumerate(errors.double().T):
            signed = of_target[~of_target.isnan()]
            known = signed.abs().sort().values
            if len(known) >= self.config.min_calibration_rows or len(known) > self._calibration_rows[index]:
                self.spread[index] = _half_width(known, self.config.level)
                self._calibration_rows[index] = len(known)
                if self.transform is not None and len(known):
                    self.transform.fit_errors(index, signed)

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *others: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *others)
        spread = state_dict.get(f"{prefix}spread")
        if isinstance(spread, Tensor) and spread.shape == (len(self.names),):
            # How many errors a spread is from is not kept: one that was measured gives way to enough rows alone.
            measured = spread != NormalDist().inv_cdf((1 + self.config.level) / 2)
            self._calibration_rows = [sys.maxsize if of_target else 0 for of_target in measured.tolist()]

    def _table(self, target: Tensor) -> Tensor:
        """(B, T), or (B,) of one target, to (B, T)."""
        return target.reshape(len(target), len(self.names))

    def _standardised(self, target: Tensor) -> Tensor:
        """(B, T) in deviations from the mean."""
        table = self._table(target) if self.transform is None else self.transform(self._table(target))
        return (table - self.target_mean) / self.target_std

    def _log_variance(self, output: Tensor) -> Tensor:
        """Log variances (B, T), bounded by a tanh, which has a gradient everywhere."""
        raw = output[:, len(self.names) :].float() / _MAX_LOG_VARIANCE
        return _MAX_LOG_VARIANCE * raw.tanh()

    def _normal(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """Middle and deviation float64 (B, T), of the standardised target."""
        output = torch.nan_to_num(output.detach())
        prediction = output[:, : len(self.names)].double()
        if self.config.loss != "gaussian":
            return prediction, torch.ones_like(prediction)
        return prediction, (self._log_variance(output).double() / 2).exp()

    def _intervals(self, output: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Values, and the intervals' lower and upper ends, (B, T) in the targets' units."""
        prediction, deviation = self._normal(output)
        if self.transform is None:
            values = prediction * self.target_std + self.target_mean
            half = deviation * self.spread * self.target_std
            parts = [values - half, values, values + half]
        else:
            scale = (self.target_mean, self.target_std)
            parts = self.transform.in_units(torch, prediction, deviation, deviation * self.spread, scale)
        low, value, high = (torch.nan_to_num(ends) for ends in parts)
        return value, low, high


def _layers(config: Regressor, features: int, targets: int) -> nn.Sequential:
    if config.estimator is not None:
        return nn.Sequential(config.estimator.resolved().build_regressor(features, targets))
    sizes = (features, *config.hidden, targets * (2 if config.loss == "gaussian" else 1))
    return nn.Sequential(*mlp_layers(sizes, "relu", config.dropout, last_is_linear=True))


def _transform(config: Regressor, targets: int) -> TargetTransform | None:
    """Models of earlier releases say nothing, and learned targets as they are."""
    kind = config.transform
    if kind == "auto" or kind == "best" or kind == "none":  # noqa: PLR1714 - mypy narrows it
        return None
    return TargetTransform(kind, targets)


def _half_width(errors: Tensor, level: float) -> float:
    """The conformal quantile of absolute errors (n,), ascending; of too few for one what Student's t gives."""
    rank = math.ceil((len(errors) + 1) * level - _ROUNDING)
    if rank <= len(errors):
        return errors[rank - 1].item()
    rms = errors.square().mean().sqrt().item()
    return max(errors[-1].item(), float(stdtrit(len(errors), (1 + level) / 2)) * rms)
