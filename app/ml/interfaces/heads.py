"""Heads: networks from features to the answers of targets."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from app.ml.evaluation.outcomes import Outcomes
from app.ml.interfaces.abilities import Ability
from app.ml.interfaces.answers import AnswerPart
from app.ml.interfaces.backbones import Backbone
from app.ml.interfaces.head_answers import Answering
from app.ml.interfaces.resolvable import Choices, Config
from app.ml.interfaces.values import Accepts, CategoryFeatures, ExampleSource
from app.ml.solvers.solution import Fit
from app.ml.spec import ModalityKind, TargetSpec


class Head(nn.Module, Answering, ABC):
    """Predicts a target from features (B, F). `fit_*` set buffers from the train split before training."""

    @abstractmethod
    def forward(self, features: Tensor) -> Tensor:
        """(B, F) to raw outputs (B, K); a head that takes sequences (B, T, F) to (B, T, K)."""

    def read(self, features: Tensor, inputs: Tensor) -> Tensor:
        """Return raw outputs for rows (B, *shape) with these features; heads that learn from the rows use both."""
        return self(features)  # type: ignore[no-any-return]

    @abstractmethod
    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the mean loss () of outputs (B, K) over the rows that carry the target; 0 where none does.

        `target` is (B,), or for T targets (B, T).
        """

    @abstractmethod
    def outcomes(self, output: Tensor, target: Tensor) -> Outcomes:
        """Return the outcomes of the rows that carry the target: metrics, intervals and curves follow from them."""

    def evaluate(self, output: Tensor, target: Tensor) -> dict[str, Any]:
        """Return metrics over the rows that carry the target: JSON, null where one is undefined."""
        return self.outcomes(output, target).metrics()

    @property
    def score(self) -> str:
        """The name of `row_scores`, whose mean over rows models are compared by."""
        return "negative_loss"

    def row_scores(self, output: Tensor, target: Tensor) -> Tensor:
        """Return a score for each row, float64 (B,): more is better, NaN where its label is missing.

        By default its loss, negated.
        """
        known = target.isfinite() if target.is_floating_point() else target >= 0
        rows = [-self.loss(output[row : row + 1], target[row : row + 1]) for row in range(len(output))]
        scores = torch.stack(rows).double() if rows else output.new_zeros(0, dtype=torch.float64)
        return torch.where(known.flatten(1).any(1) if known.ndim > 1 else known, scores, torch.nan)

    @abstractmethod
    def fit_features(self, features: Tensor) -> None:
        """Set the standardisation of inputs from the train split's features (N, F)."""

    scales_targets: ClassVar[bool] = False  # whether `fit_target` sets the unit of its outputs

    @abstractmethod
    def fit_target(self, target: Tensor) -> None:
        """Set what the loss needs from the train split's labels (N,): balance of classes, mean, deviation."""

    def settled_by_labels(self, features: Callable[[], Tensor], target: Tensor) -> "tuple[HeadConfig, str] | None":
        """Return the config with what the train labels (N,) decide of it, and why; None where that is nothing.

        `features` computes those of the rows (N, F), as far as they are known before the training.
        """
        return None

    def settled_by_features(self, categories: Sequence[CategoryFeatures]) -> "tuple[HeadConfig, Choices] | None":
        """Return the config with what the features of columns of categories decide, and why; None where it is nothing.

        Raises:
            ConfigError: the config names other features.
        """
        return None

    def settle(self, config: "HeadConfig") -> None:
        """Go on with a config that `settled_by_labels` or `settled_by_features` returned."""

    def far_targets(self, target: Tensor) -> Mapping[str, int]:
        """Return how many labels (N,) or (N, T) of each target lie so far from the others that they rule the scale."""
        return {}

    def solve(self, features: Tensor, target: Tensor, widths: Sequence[int]) -> Fit | None:
        """Set standardisation and weights to the optimum on the train split's features (N, F) and labels (N,).

        A head that learns an estimator fits it. `widths` are those of the layers that the features come from. None
        where the head cannot be solved for.
        """
        return None

    def fit_examples(self, examples: ExampleSource) -> None:
        """Do the same as `fit_target` for a head that learns from the rows themselves, which have no labels."""

    def inherit(self, learned: Mapping[str, Tensor], backbone: Backbone) -> None:
        """Start from the `learned` tensors of a parent's pretraining method; by default nothing is used."""

    @property
    def output_names(self) -> tuple[str, ...]:
        """The classes or labels of its outputs, in order; none where outputs cannot come or go."""
        return ()

    @property
    def output_tensors(self) -> frozenset[str]:
        """Names of the tensors of which each row belongs to an output."""
        return frozenset()

    def fits(self, other: "Head") -> bool:
        """Return whether the weights of another head fit, but for those of outputs that only one of them has."""
        own, theirs = (
            {name: tuple(value.shape) for name, value in head.state_dict().items()} for head in (self, other)
        )
        cut = {name: 1 if name in self.output_tensors else 0 for name in own}
        return own.keys() == theirs.keys() and all(own[name][cut[name] :] == theirs[name][cut[name] :] for name in own)

    @torch.no_grad()
    def take_over(self, other: "Head") -> None:
        """Copy the weights of another head that fits; outputs of the same name mean the same, and new ones stay new."""
        shared = [name for name in self.output_names if name in other.output_names]
        rows = [self.output_names.index(name) for name in shared]
        their_rows = [other.output_names.index(name) for name in shared]
        theirs = other.state_dict()
        for name, own in self.state_dict().items():
            if name in self.output_tensors:
                own[rows] = theirs[name][their_rows].to(own)
            else:
                own.copy_(theirs[name])

    def fit_calibration(self, output: Tensor, target: Tensor) -> None:
        """Set calibration buffers after training, from the validation split's raw outputs (N, K) and labels (N,)."""


class HeadConfig(Config, ABC):
    """A choice of head for one target, or for several."""

    accepts: ClassVar[Accepts]
    modalities: ClassVar[tuple[ModalityKind, ...]] = ("image", "table", "series", "text")  # of the rows
    needs: ClassVar[frozenset[Ability]] = frozenset()  # {"sequence"}: it takes features of every step
    causal: ClassVar[bool] = False
    generates: ClassVar[bool] = False  # whether its model can continue texts
    grows: ClassVar[bool] = False  # whether outputs can be added to a trained head
    squared_error: ClassVar[bool] = False  # whether its loss is a squared distance; else it is in nats
    learns_soft_labels: ClassVar[bool] = False  # whether its Head is a `SoftLabelSolver`
    headline_metric: ClassVar[str | None] = None  # what a lone head for one target is judged by; None: its loss
    target: str | tuple[str, ...] | None
    name: str | None

    @property
    def key(self) -> str:
        """The name of this head's answers, unique in a model."""
        return self.name or (self.target if isinstance(self.target, str) else None) or self.kind

    @property
    def needs_labels(self) -> bool:
        """Whether it learns from labels; else from the rows themselves."""
        return self.accepts != "inputs"

    @property
    def solvable(self) -> bool:
        """Whether it is fitted at once on fixed features: it is linear and its loss convex, or it has an estimator."""
        return False

    @property
    def needs_fixed_features(self) -> bool:
        """Whether nothing else can fit it: no gradient reaches the backbone through it."""
        return False

    def fitting_seconds(self, rows: int, features: int, outputs: int) -> float:
        """Return about how many CPU seconds of one core fitting an estimator takes; 0 for heads without one."""
        return 0.0

    @property
    def robust(self) -> bool:
        """Whether a few labels far from the others hardly move it."""
        return False

    @property
    def min_calibration_rows(self) -> int:
        """How many rows that it has not learned from its calibration cannot do without; 0: it needs none."""
        return 0

    @property
    def signed(self) -> bool:
        """Whether its loss may be below 0."""
        return False

    @property
    def targets(self) -> tuple[str, ...]:
        """The targets that it answers; none where it learns from the rows themselves."""
        if self.target is None:
            return ()
        return (self.target,) if isinstance(self.target, str) else self.target

    def settled(
        self, targets: tuple[TargetSpec, ...], class_rows: Mapping[str, Sequence[int]], rows: int
    ) -> tuple[Self, Choices]:
        """Fill fields that the dataset decides, and return them with their reasons; by default there are none.

        `class_rows` are the train rows of each class by target, `rows` those that carry a target. Raises `ConfigError`
        for what the targets refuse.
        """
        return self, {}

    def handed_on(self, targets: tuple[TargetSpec, ...]) -> Self:
        """Return the config with which its head goes on with another dataset's `targets`; by default the same."""
        del targets
        return self

    @abstractmethod
    def answer_parts(self, targets: tuple[TargetSpec, ...]) -> tuple[AnswerPart, ...]:
        """Return the parts of its head's answers that have one shape for every row, the answer itself first."""

    @abstractmethod
    def build(self, features: int, targets: tuple[TargetSpec, ...]) -> Head:
        """Build it for `features` inputs, with fresh weights from torch's global generator.

        `targets` are those of the dataset that it answers; for one that learns from texts themselves there is a single
        one, whose classes are the vocabulary's tokens.
        """
