"""What heads have in common that can learn an estimator on fixed features instead of layers."""

from abc import ABC
from typing import TYPE_CHECKING, Any

from pydantic import ValidationInfo, field_validator
from torch import Tensor, nn

from app.ml.errors import ConfigError
from app.ml.interfaces import Choices, HeadConfig
from app.ml.kinds.estimators import AnyEstimator
from app.ml.kinds.estimators.base import Estimator, EstimatorContext
from app.ml.solvers.solution import EstimatorFit

_OF_LAYERS = ("hidden", "dropout", "label_smoothing", "loss")


class EstimatingConfig(HeadConfig, ABC):
    """A head with a field `estimator`, declared after those that say how layers learn."""

    if TYPE_CHECKING:  # a field of this class would be read before those that it is checked against
        estimator: AnyEstimator | None

    @field_validator("estimator", check_fields=False)
    @classmethod
    def _is_alone(cls, estimator: AnyEstimator | None, info: ValidationInfo) -> AnyEstimator | None:
        """Refuse fields that an estimator cannot heed."""
        for name in _OF_LAYERS:
            field = cls.model_fields.get(name)
            if estimator is not None and field is not None and info.data.get(name, field.default) != field.default:
                msg = f"{name} is for layers, and {estimator.kind} has none: leave {name} out, or this"
                raise ValueError(msg)
        return estimator

    @property
    def needs_fixed_features(self) -> bool:
        """With an estimator."""
        return self.estimator is not None

    def fitting_seconds(self, rows: int, features: int, outputs: int) -> float:
        """Return about how many CPU seconds fitting the estimator takes; 0 without one."""
        return 0.0 if self.estimator is None else self.estimator.resolved().seconds(rows, features, outputs)

    def settled_estimator(self, rows: int, outputs: int) -> tuple[dict[str, Any], Choices]:
        """Return the field `estimator` with nothing left to choose, and what was chosen. Raises `ConfigError`."""
        if self.estimator is None:
            return {}, {}
        context = EstimatorContext(rows, outputs, classifies=self.accepts == "category")
        try:
            estimator, choices = self.estimator.settled(context)
        except ConfigError as error:
            raise ConfigError(("estimator", *error.loc), error.msg) from error
        return {"estimator": estimator}, {f"estimator.{name}": choice for name, choice in choices.items()}


def estimator_of(layers: nn.Sequential) -> Estimator | None:
    """Return the estimator that stands in the place of a head's layers."""
    return next((layer for layer in layers if isinstance(layer, Estimator)), None)


def fit_estimator(layers: nn.Sequential, features: Tensor, target: Tensor, weights: Tensor) -> EstimatorFit:
    """Fit the estimator of a head."""
    estimator = estimator_of(layers)
    assert estimator is not None
    return estimator.fit(features, target, weights)
