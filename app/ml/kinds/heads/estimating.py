"""What heads have in common that can learn an estimator on fixed features instead of layers."""

from abc import ABC
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pydantic import ValidationInfo, field_validator
from torch import Tensor, nn

from app.ml.blocks.standardize import Standardize
from app.ml.errors import ConfigError
from app.ml.interfaces import Choices, Head, HeadConfig
from app.ml.interfaces.values import CategoryFeatures
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

    def encoding_categories(
        self, categories: Sequence[CategoryFeatures], outputs: int
    ) -> tuple["EstimatingConfig", Choices] | None:
        """Return the config with an estimator that knows which columns it encodes; None where it encodes none."""
        if self.estimator is None:
            return None
        estimator, columns = self.estimator.settled_by_features(categories, outputs)
        if not columns:
            return None
        counts = ", ".join(str(column.end - column.first - 1) for column in columns)
        reason = f"of so many categories ({counts}) each has few rows: they are encoded by what they predict"
        choices = {"estimator.target_encoding": ([column.name for column in columns], reason)}
        return self.model_copy(update={"estimator": estimator}), choices


class EstimatingHead(Head, ABC):
    """A head of K outputs whose `layers` may be an estimator."""

    config: EstimatingConfig
    standardize: Standardize
    layers: nn.Sequential
    outputs: int

    def settled_by_features(self, categories: Sequence[CategoryFeatures]) -> tuple[HeadConfig, Choices] | None:
        """Let an estimator encode columns of many categories."""
        return self.config.encoding_categories(categories, self.outputs)

    def fit_features(self, features: Tensor) -> None:
        """Standardise by (N, F); an estimator takes features as they are."""
        if estimator_of(self.layers) is None:
            self.standardize.fit(features)


def estimator_of(layers: nn.Sequential) -> Estimator | None:
    """Return the estimator that stands in the place of a head's layers."""
    return next((layer for layer in layers if isinstance(layer, Estimator)), None)


def fit_estimator(layers: nn.Sequential, features: Tensor, target: Tensor, weights: Tensor) -> EstimatorFit:
    """Fit the estimator of a head."""
    estimator = estimator_of(layers)
    assert estimator is not None
    return estimator.fit(features, target, weights)
