"""Transforms of skewed targets.

Each is a case of Yeo and Johnson's ("A new family of power transformations", 2000):

    g(y) = p(z) for z = (y - centre) / unit >= 0, and -p'(-z) below, with p(z) = ((z + 1)^power - 1) / power,
    p' the same for 2 - power

log is the power 0 and sqrt the power 1/2, both from 0 on in units of 1 where numbers are counts, else of the small ones
among them. yeo_johnson takes median and quartiles for centre and unit, and the power of the largest likelihood.

The mean of y is not g^-1 of the mean of g(y): it is the mean of g^-1 over the errors of rows that were left out, 32
quantiles of them (Duan, "Smearing estimate: a nonparametric retransformation method", 1983).
"""

import math
from collections.abc import Sequence
from types import ModuleType
from typing import Any, Literal

import torch
from torch import Tensor, nn

Kind = Literal["log", "sqrt", "yeo_johnson"]
KINDS: tuple[Kind, ...] = ("log", "sqrt", "yeo_johnson")
_ALMOST_0 = 1e-6  # the power of a logarithm, to six digits
_POWERS = {"log": _ALMOST_0, "sqrt": 0.5}
_CANDIDATES = [power / 10 for power in range(1, 20)] + [_ALMOST_0, 2 - _ALMOST_0]  # beyond, inverses have poles
_ERRORS = 32
_SMALL = 0.05  # the quantile of positive numbers that is their unit
_QUARTILES = 1.349  # between those of a normal distribution of deviation 1
_MAX_SAMPLED = 10_000
_MIN_VARIANCE = 1e-12
_BEYOND, _FAR_BEYOND = 1.0, 3.0  # deviations beyond the train rows' that a value, and an interval, may reach


class TargetTransform(nn.Module):
    """Of T targets; all buffers are float64."""

    centre: Tensor  # (T,)
    unit: Tensor  # (T,)
    power: Tensor  # (T,)
    deviation: Tensor  # (T,) of the targets themselves
    bounds: Tensor  # (T, 2): the least and greatest transformed target
    errors: Tensor  # (T, 32): quantiles of standardised errors

    def __init__(self, kind: Kind, targets: int) -> None:
        super().__init__()
        self.kind = kind
        for name in ("unit", "deviation"):
            self.register_buffer(name, torch.ones(targets, dtype=torch.float64))
        self.register_buffer("centre", torch.zeros(targets, dtype=torch.float64))
        self.register_buffer("power", torch.full((targets,), _POWERS.get(kind, 1.0), dtype=torch.float64))
        self.register_buffer("bounds", torch.zeros(targets, 2, dtype=torch.float64))
        self.register_buffer("errors", torch.zeros(targets, _ERRORS, dtype=torch.float64))

    def fit(self, index: int, numbers: Tensor) -> None:
        """Take what it needs from the known numbers (n,) of a target."""
        self.deviation[index] = numbers.std(correction=0)
        sample = numbers[:: -(-len(numbers) // _MAX_SAMPLED)].double()
        if self.kind == "yeo_johnson":
            low, middle, high = torch.quantile(sample, sample.new_tensor([0.25, 0.5, 0.75]))
            unit = (high - low) / _QUARTILES
            self.centre[index], self.unit[index] = middle, unit if unit > 0 else numbers.std(correction=0)
            self.power[index] = _likeliest_power((sample - self.centre[index]) / self.unit[index])
        elif len(positive := sample[sample > 0]) and bool((sample != sample.round()).any()):
            self.unit[index] = torch.quantile(positive, _SMALL)
        transformed = self(numbers[:, None].expand(-1, len(self.unit)))[:, index]
        self.bounds[index, 0], self.bounds[index, 1] = transformed.min(), transformed.max()

    def fit_errors(self, index: int, errors: Tensor) -> None:
        """Keep quantiles of the standardised errors (n,) of a target."""
        shares = (torch.arange(_ERRORS, dtype=torch.float64, device=errors.device) + 0.5) / _ERRORS
        self.errors[index] = torch.quantile(errors[:: -(-len(errors) // _MAX_SAMPLED)], shares)

    def forward(self, targets: Tensor) -> Tensor:
        """(B, T) to transformed ones; NaN stays NaN."""
        z = (targets - self.centre) / self.unit
        return _raised(z.clamp(min=0), self.power) - _raised((-z).clamp(min=0), 2 - self.power)

    def in_units(self, xp: ModuleType, prediction: Any, deviation: Any, half: Any, scale: Sequence[Any]) -> list[Any]:
        """Return low ends, values and high ends (B, T) in the targets' units.

        `prediction` (B, T), `deviation` of each row's error and `half` the width of its interval are standardised by
        `scale`, mean and deviation (T,) of transformed targets; all are of `xp`, which is torch or NumPy.
        """
        centre, unit, power, bounds, errors = self._buffers_as(xp)
        mean, std = scale
        floor = 0.0 if self.kind in _POWERS else -math.inf  # g(0) = 0

        def inverse(values: Any, beyond: Any, of: Any) -> Any:
            low, high = bounds[:, 0] - beyond * std, bounds[:, 1] + beyond * std
            values = xp.clip(values * of(std) + of(mean), of(xp.clip(low, floor, None)), of(high))
            above, below = xp.clip(values, 0, None), xp.clip(-values, 0, None)
            return (_lowered(above, of(power)) - _lowered(below, of(2 - power))) * of(unit) + of(centre)

        low, high = (inverse(prediction + sign * half, _FAR_BEYOND, lambda parameter: parameter) for sign in (-1, 1))
        spread = prediction[:, :, None] + deviation[:, :, None] * errors
        value = inverse(spread, _BEYOND, lambda parameter: parameter[:, None]).mean(-1)
        return [xp.minimum(low, value), value, xp.maximum(high, value)]

    def _buffers_as(self, xp: ModuleType) -> list[Any]:
        buffers = [self.centre, self.unit, self.power, self.bounds, self.errors]
        return buffers if xp is torch else [buffer.numpy(force=True) for buffer in buffers]


def _raised(z: Tensor, power: Tensor) -> Tensor:
    """p(z) for z >= 0."""
    return ((z + 1) ** power - 1) / power


def _lowered(transformed: Any, power: Any) -> Any:
    """Return z of p(z) >= 0."""
    return (power * transformed + 1) ** (1 / power) - 1


def _likeliest_power(z: Tensor) -> float:
    """The power by which numbers (n,) become the most normal."""

    def log_likelihood(power: float) -> float:
        powers = torch.tensor(power, dtype=torch.float64)
        transformed = _raised(z.clamp(min=0), powers) - _raised((-z).clamp(min=0), 2 - powers)
        jacobian = (z.sign() * z.abs().log1p()).sum().item()
        variance = transformed.var(correction=0).clamp(min=_MIN_VARIANCE).item()
        return (power - 1) * jacobian - len(z) / 2 * math.log(variance)

    return max(_CANDIDATES, key=log_likelihood)
