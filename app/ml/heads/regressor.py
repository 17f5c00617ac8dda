"""A regressor: one number, trained on the standardised target and answering in the target's own unit.

With t = (y - mean) / std over the train rows, the loss is mse (t - o)^2 or huber, which is 1/2 (t - o)^2 near 0 and
|t - o| - 1/2 beyond 1 (Huber, "Robust estimation of a location parameter", 1964).
"""

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows
from pydantic import Field
from torch import Tensor, nn

from app.ml.blocks.perceptron import perceptron_layers, single_layer
from app.ml.blocks.standardize import Standardize
from app.ml.evaluation.regression import Regression
from app.ml.fields import Integer, Name, Rate
from app.ml.interfaces import Accepts, Head, HeadConfig
from app.ml.solvers.ridge import solve_ridge
from app.ml.solvers.solution import Solution
from app.ml.spec import TargetSpec

_LEAST_DEVIATION = 1e-7  # relative to the mean, as in tables; targets may be in any unit, so none is absolute


class Regressor(HeadConfig):
    """A number that belongs to a row."""

    accepts: ClassVar[Accepts] = "number"
    kind: Literal["regressor"] = "regressor"
    target: Name = Field(description="The target to learn, by its name in the dataset.")
    name: Name | None = Field(None, description="The key of its answers; null takes the target's name.")
    hidden: tuple[Annotated[Integer, Field(ge=1, le=8192)], ...] = Field(
        (), max_length=8, description="Widths of layers before the last; none makes a linear regressor."
    )
    dropout: Rate = Field(0.0, description="Share of hidden activations dropped while training.")
    loss: Literal["mse", "huber"] = Field("mse", description="Squared error, or huber, which outliers move less.")

    @property
    def solvable(self) -> bool:
        """Where it has no hidden layers and the loss is the squared error."""
        return not self.hidden and self.loss == "mse"

    def build(self, features: int, targets: tuple[TargetSpec, ...]) -> "RegressorHead":  # noqa: ARG002 - a number has no classes
        """Build it."""
        return RegressorHead(self, features)


class RegressorHead(Head):
    """(B, F) to (B, 1), in deviations from the train rows' mean."""

    target_mean: Tensor
    target_std: Tensor

    def __init__(self, config: Regressor, features: int) -> None:
        super().__init__()
        self.config = config
        self.standardize = Standardize(features)
        sizes = (features, *config.hidden, 1)
        self.layers = nn.Sequential(*perceptron_layers(sizes, "relu", config.dropout, last_is_linear=True))
        self.register_buffer("target_mean", torch.zeros((), dtype=torch.float64))
        self.register_buffer("target_std", torch.ones((), dtype=torch.float64))

    def forward(self, features: Tensor) -> Tensor:
        """(B, F) to (B, 1)."""
        return self.layers(self.standardize(features))  # type: ignore[no-any-return]

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Mean over rows whose number is known (not NaN)."""
        known = ~target.isnan()
        wanted = ((target - self.target_mean) / self.target_std).nan_to_num().to(output.dtype)
        loss = F.mse_loss if self.config.loss == "mse" else F.huber_loss
        errors = loss(output[:, 0], wanted, reduction="none") * known
        return errors.sum() / known.sum().clamp(min=1)

    def predict(self, output: Tensor) -> list[dict[str, Any]]:
        """{"value"} in the target's unit, finite."""
        return [{"value": value} for value in self._values(output).tolist()]

    def outcomes(self, output: Tensor, target: Tensor) -> Regression:
        """Values of the rows whose number is known, in the target's unit."""
        known = ~target.isnan()
        return Regression(self._values(output[known]).cpu().numpy(), target[known].cpu().numpy())

    def fit_features(self, features: Tensor) -> None:
        """Standardise by (N, F)."""
        self.standardize.fit(features)

    def solve(self, features: Tensor, target: Tensor, widths: Sequence[int]) -> Solution | None:
        """Ridge regression on the rows whose number is known."""
        if not self.config.solvable:
            return None
        known = ~target.isnan()
        self.standardize.fit_together(features[known], widths)
        wanted = (target[known] - self.target_mean) / self.target_std
        found = solve_ridge(self.standardize(features[known]), wanted[:, None])
        found.put_into(single_layer(self.layers))
        return found

    def fit_target(self, target: Tensor) -> None:
        """Take mean and deviation of the known numbers of (N,); a constant's deviation counts as 1."""
        known = target[~target.isnan()]
        if len(known):
            mean, std = known.mean(), known.std(correction=0)
            # Rounding gives a constant a tiny deviation: seven times 0.1 has 1.4e-17.
            constant = std <= _LEAST_DEVIATION * mean.abs()
            self.target_mean.copy_(mean)
            self.target_std.copy_(torch.where(constant, torch.ones_like(std), std))

    def _values(self, output: Tensor) -> Tensor:
        return torch.nan_to_num(output[:, 0].detach().double() * self.target_std + self.target_mean)
