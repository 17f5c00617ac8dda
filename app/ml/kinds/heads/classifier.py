"""A classifier: softmax over the classes, trained by cross-entropy.

loss = - sum_k q_k log p_k per row, where q is the class or, with label smoothing e, (1 - e) of it and e / K of every
class (Szegedy et al., "Rethinking the Inception architecture", 2016), weighted by w_class: 1, or for "balanced"
N / (K N_class) over the train rows (King and Zeng, 2001). Answers are scaled by a temperature: see temperature.py.
"""

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from app.ml.blocks.mlp import last_layer_tensors, mlp_layers, single_layer
from app.ml.blocks.shards import mean_over
from app.ml.blocks.standardize import Standardize
from app.ml.errors import ConfigError
from app.ml.evaluation.classification import Classification
from app.ml.fields import Integer, Name, Rate
from app.ml.interfaces import Accepts, AnswerPart, Choices, HeadConfig
from app.ml.interfaces.abilities import Array, SoftLabelSolver, Stackable
from app.ml.interfaces.head_answers import ClassAnswers, Numbers, RawOutput, finite_numbers, named_classes
from app.ml.kinds.estimators import AnyEstimator
from app.ml.kinds.heads.estimating import EstimatingConfig, EstimatingHead, estimator_of, fit_estimator
from app.ml.kinds.heads.stacking import LinearOrDeep
from app.ml.kinds.heads.temperature import fitted_temperature
from app.ml.solvers.logistic import SoftLabels, solve_logistic, solve_soft
from app.ml.solvers.solution import Fit, Solution
from app.ml.spec import TargetSpec

_BINARY = 2


class Classifier(EstimatingConfig):
    """Predict which class a row belongs to."""

    accepts: ClassVar[Accepts] = "category"
    learns_soft_labels: ClassVar[bool] = True
    grows: ClassVar[bool] = True
    headline_metric: ClassVar[str | None] = "accuracy"
    kind: Literal["classifier"] = "classifier"
    target: Name = Field(description="The target to learn, by its name in the dataset.")
    name: Name | None = Field(None, description="The key of its answers; null takes the target's name.")
    hidden: tuple[Annotated[Integer, Field(ge=1, le=8192)], ...] = Field(
        (), max_length=8, description="Widths of layers before the last; none makes a linear classifier."
    )
    dropout: Rate = Field(0.0, description="Share of hidden activations dropped while training.")
    label_smoothing: Rate = Field(0.0, description="Share of certainty spread over all classes.")
    positive: Annotated[str, Field(max_length=10_000)] | None = Field(
        None,
        description="Of two classes the one that counts, by its name: average precision and curves are of it; null: "
        "the rarer one in the train rows.",
    )
    class_weights: Literal["none", "balanced"] = Field("none", description="Whether rare classes weigh more.")
    estimator: AnyEstimator | None = Field(
        None, description="What is learned on the features of a frozen backbone instead of layers; null: layers."
    )

    def settled(
        self, targets: tuple[TargetSpec, ...], class_rows: Mapping[str, Sequence[int]], rows: int
    ) -> tuple[Self, Choices]:
        """Say which of two classes counts, and settle the estimator. Raises `ConfigError` for what does not fit."""
        positive, of_positive = self._settled_positive(targets[0], class_rows)
        estimator, of_estimator = self.settled_estimator(rows, len(targets[0].classes))
        return self.model_copy(update={**positive, **estimator}), {**of_positive, **of_estimator}

    def _settled_positive(
        self, target: TargetSpec, class_rows: Mapping[str, Sequence[int]]
    ) -> tuple[dict[str, Any], Choices]:
        """The field `positive`, where it is left out of two classes; raises `ConfigError` for what is no such class."""
        classes = target.classes
        if self.positive is not None and len(classes) != _BINARY:
            msg = f"target {target.name!r} has {len(classes)} classes, and each has figures: leave this out"
            raise ConfigError(("positive",), msg)
        if self.positive is not None and self.positive not in classes:
            msg = f"target {target.name!r} has the classes {classes[0]!r} and {classes[1]!r}: name one of them"
            raise ConfigError(("positive",), msg)
        if self.positive is not None or len(classes) != _BINARY:
            return {}, {}
        positive, reason = _rarer(classes, class_rows.get(target.name))
        return {"positive": positive}, {"positive": (positive, reason)}

    def handed_on(self, targets: tuple[TargetSpec, ...]) -> Self:
        """Without the class that counts, where it is no longer one of two."""
        classes = targets[0].classes
        if len(classes) == _BINARY and self.positive in classes:
            return self
        return self.model_copy(update={"positive": None})

    @property
    def solvable(self) -> bool:
        """Where it has no hidden layers, or an estimator, which has none."""
        return not self.hidden

    def answer_parts(self, targets: tuple[TargetSpec, ...]) -> tuple[AnswerPart, ...]:
        """The class, and each class's probability."""
        classes = targets[0].classes
        return (
            AnswerPart("", "text", (1,), itemgetter("class")),
            AnswerPart(
                "probabilities",
                "probability",
                (len(classes),),
                lambda answer: [*answer["probabilities"].values()],
                classes,
            ),
        )

    def build(self, features: int, targets: tuple[TargetSpec, ...]) -> "ClassifierHead":
        """Build it for the target's classes."""
        return ClassifierHead(self, features, targets[0].classes)


def _rarer(classes: tuple[str, ...], rows: Sequence[int] | None) -> tuple[str, str]:
    """The class with fewer train rows, and why."""
    if rows is None:
        return classes[1], "the second class: a dataset of an earlier release does not tell how many rows each has"
    code = 0 if rows[0] < rows[1] else 1
    return classes[code], f"the rarer class: {rows[code]} of {sum(rows)} labelled train rows"


class ClassifierHead(EstimatingHead, SoftLabelSolver, LinearOrDeep):
    """(B, F) to logits (B, K)."""

    config: Classifier
    class_weight: Tensor
    temperature: Tensor  # (), float64

    def __init__(self, config: Classifier, features: int, classes: tuple[str, ...]) -> None:
        super().__init__()
        self.config = config
        self.classes, self.outputs = classes, len(classes)
        self.standardize = Standardize(features)
        self.layers = _layers(config, features, len(classes))
        self.register_buffer("class_weight", torch.ones(len(classes)))
        self.register_buffer("temperature", torch.ones((), dtype=torch.float64))

    @property
    def output_names(self) -> tuple[str, ...]:
        """The classes."""
        return self.classes

    @property
    def output_tensors(self) -> frozenset[str]:
        """The last layer and the classes' weights; an estimator's outputs are in all of its tensors."""
        if estimator_of(self.layers) is not None:
            return frozenset()
        return last_layer_tensors(self.layers, "layers") | {"class_weight"}

    def forward(self, features: Tensor) -> Tensor:
        """(B, F) to (B, K)."""
        return self.layers(self.standardize(features))  # type: ignore[no-any-return]

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Weighted mean cross-entropy over rows whose class is known (not -1)."""
        # The sum over known rows over their weights: torch's own mean would be 0 / 0 where no row is known.
        summed = F.cross_entropy(
            output,
            target,
            self.class_weight,
            ignore_index=-1,
            reduction="sum",
            label_smoothing=self.config.label_smoothing,
        )
        # A missing class (-1) is clamped to be an index, and then weighs 0.
        weights = self.class_weight[target.clamp(min=0)] * (target >= 0)
        return mean_over(summed, weights.sum(), torch.finfo(output.dtype).tiny)

    def answer(self, output: RawOutput) -> ClassAnswers:
        """The probabilities are finite and sum to 1."""
        return ClassAnswers(self.classes, _softmax(finite_numbers(output) / self.temperature.item()))

    def answer_stacked(self, heads: Sequence[Stackable], counts: Sequence[int], outputs: Array) -> list[dict[str, Any]]:
        """As `predict`, each row by its head's temperature and classes."""
        pairs = list(zip(heads, counts, strict=True))
        each = [head for head, count in pairs for _ in range(count) if isinstance(head, ClassifierHead)]
        temperatures = np.array([head.temperature.item() for head in each])
        probabilities = _softmax(finite_numbers(outputs) / temperatures[:, None])
        return named_classes([head.classes for head in each], probabilities)

    def answers(self, output: Tensor) -> dict[str, Tensor]:
        """{"probabilities": (B, K)}, float64."""
        return {"probabilities": _probabilities(output, self.temperature)}

    def answer_details(self) -> dict[str, Any]:
        """The classes, in the order of the probabilities."""
        return {"classes": list(self.classes)}

    def outcomes(self, output: Tensor, target: Tensor) -> Classification:
        """Probabilities of the rows whose class is known."""
        known = target >= 0
        unscaled, scaled = (_probabilities(output[known], by).cpu().numpy() for by in (None, self.temperature))
        return Classification(scaled, target[known].cpu().numpy(), self.classes, unscaled, self.config.positive)

    @property
    def score(self) -> str:
        """The share of right answers."""
        return "accuracy"

    def row_scores(self, output: Tensor, target: Tensor) -> Tensor:
        """1 where the prediction is right, 0 where it is wrong, NaN without a label."""
        right = (output.argmax(1) == target).double()
        return torch.where(target >= 0, right, torch.nan)

    def settle(self, config: HeadConfig) -> None:
        """Take the config that `settled_by_features` returned, with its estimator."""
        assert isinstance(config, Classifier)
        self.config = config
        self.layers = _layers(config, len(self.standardize.mean), len(self.classes)).to(self.class_weight.device)

    def fit_calibration(self, output: Tensor, target: Tensor) -> None:
        """Fit the temperature on (N, K) and (N,); few rows leave it 1."""
        known = target >= 0
        self.temperature.fill_(fitted_temperature(_finite(output[known]), target[known]))

    def solve(self, features: Tensor, target: Tensor, widths: Sequence[int]) -> Fit | None:
        """Fit the estimator, or multinomial logistic regression, on the rows whose class is known."""
        if not self.config.solvable:
            return None
        known = target >= 0
        if self.config.estimator is not None:
            classes = target[known]
            return fit_estimator(self.layers, features[known], classes, self.class_weight[classes])
        # One scale per layer: the penalty must not treat features that hardly vary like all others.
        self.standardize.fit_together(features[known], widths)
        rows = self.standardize(features[known])
        solution = solve_logistic(rows, target[known], self.class_weight, self.config.label_smoothing)
        solution.copy_to(single_layer(self.layers))
        return solution.of_rows(known)

    def solve_soft(
        self, features: Tensor, rows: SoftLabels, trials: Sequence[tuple[SoftLabels, Tensor]], widths: Sequence[int]
    ) -> Solution:
        """The same on rows (N, F) with soft classes; each trial holds rows (N,) out."""
        self.standardize.fit_together(features, widths)
        solution = solve_soft(self.standardize(features), rows, trials, self.class_weight)
        solution.copy_to(single_layer(self.layers))
        return solution

    def fit_target(self, target: Tensor) -> None:
        """Set class weights to N / (K N_class) of (N,) where balanced; a class without rows keeps 1."""
        if self.config.class_weights == "none":
            return
        counts = torch.bincount(target[target >= 0], minlength=len(self.classes))
        # N / (K N_class): the classes together weigh as much as N rows.
        weights = counts.sum() / (len(self.classes) * counts.clamp(min=1))
        self.class_weight.copy_(torch.where(counts > 0, weights, 1.0))


def _layers(config: Classifier, features: int, classes: int) -> nn.Sequential:
    if config.estimator is not None:
        return nn.Sequential(config.estimator.resolved().build_classifier(features, classes))
    sizes = (features, *config.hidden, classes)
    return nn.Sequential(*mlp_layers(sizes, "relu", config.dropout, last_is_linear=True))


def _softmax(logits: Numbers) -> Numbers:
    """(B, K) to (B, K), in place."""
    logits -= np.maximum.reduce(logits, 1, keepdims=True)
    np.exp(logits, out=logits)
    logits /= np.add.reduce(logits, 1, keepdims=True)
    return logits


def _probabilities(output: Tensor, temperature: Tensor | None) -> Tensor:
    """(B, K) to float64 (B, K); infinite logits count as the largest finite ones."""
    logits = _finite(output)
    return (logits if temperature is None else logits / temperature).softmax(1)


def _finite(output: Tensor) -> Tensor:
    """As float64, with the largest number of its type for infinity, so that scaling keeps it finite."""
    return torch.nan_to_num(output.detach()).double()
