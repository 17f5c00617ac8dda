"""Several labels, of which a row may have any: one sigmoid each, trained by binary cross-entropy.

loss = - mean over the known labels of w_k y log p + (1 - y) log (1 - p), w_k being 1, or for "balanced" the rows
without label k over those with it, in train (at most 100). Binary relevance (Boutell et al., "Learning multi-label
scene classification", 2004): given the features the labels are independent, and each may be known in other rows.
"""

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from scipy.special import expit
from torch import Tensor, nn

from app.ml.blocks.mlp import last_layer_tensors, mlp_layers, single_layer
from app.ml.blocks.shards import mean_over
from app.ml.blocks.standardize import Standardize
from app.ml.evaluation import multi_label
from app.ml.fields import Integer, Name, NameOrNames, Rate
from app.ml.interfaces import Accepts, AnswerPart, Head, HeadConfig
from app.ml.interfaces.head_answers import LabelAnswers, RawOutput, finite_numbers
from app.ml.kinds.heads.stacking import LinearOrDeep
from app.ml.solvers.multi_label import solve_multi_label
from app.ml.solvers.solution import Fit
from app.ml.spec import TargetSpec

_HALF = 0.5
_MAX_WEIGHT = 100.0


class MultiLabel(HeadConfig):
    """Predict which of several labels a row has: none, some or all."""

    accepts: ClassVar[Accepts] = "label"
    grows: ClassVar[bool] = True
    kind: Literal["multi_label"] = "multi_label"
    target: NameOrNames = Field(
        description="The column of lists whose labels are learned; or, by name, targets of two classes, no and yes "
        "(0 and 1, false and true ...), each a label."
    )
    name: Name | None = Field(None, description="The key of its answers; null takes multi_label, or the only target's.")
    hidden: tuple[Annotated[Integer, Field(ge=1, le=8192)], ...] = Field(
        (), max_length=8, description="Widths of layers before the last; none makes linear classifiers."
    )
    dropout: Rate = Field(0.0, description="Share of hidden activations dropped while training.")
    positive_weights: Literal["none", "balanced"] = Field(
        "none", description="Whether a label that is there weighs more the rarer it is; the probabilities grow with it."
    )
    threshold: Literal["half", "fitted"] = Field(
        "half",
        description="From which probability on a label is answered: a half, or what gives its best F1 on the "
        "validation rows, a half where no row there has it.",
    )

    @property
    def solvable(self) -> bool:
        """Where it has no hidden layers."""
        return not self.hidden

    def answer_parts(self, targets: tuple[TargetSpec, ...]) -> tuple[AnswerPart, ...]:
        """Whether each label is answered, and its probability."""
        labels = _labels(targets)
        shape = (len(labels),)
        return (
            AnswerPart("", "truth", shape, lambda answer: [label in answer["labels"] for label in labels], labels),
            AnswerPart(
                "probabilities", "probability", shape, lambda answer: [*answer["probabilities"].values()], labels
            ),
        )

    def build(self, features: int, targets: tuple[TargetSpec, ...]) -> "MultiLabelHead":
        """Build it with one output a label."""
        return MultiLabelHead(self, features, _labels(targets))


def _labels(targets: tuple[TargetSpec, ...]) -> tuple[str, ...]:
    """What each target is called among the answers."""
    alike = len({target.group for target in targets}) == 1
    return tuple(target.label if alike else target.name for target in targets)


class MultiLabelHead(Head, LinearOrDeep):
    """(B, F) to logits (B, K); its labels are (B, K), or (B,) for one."""

    positive_weight: Tensor
    thresholds: Tensor

    def __init__(self, config: MultiLabel, features: int, names: tuple[str, ...]) -> None:
        super().__init__()
        self.config = config
        self.names = names
        self.standardize = Standardize(features)
        sizes = (features, *config.hidden, len(names))
        self.layers = nn.Sequential(*mlp_layers(sizes, "relu", config.dropout, last_is_linear=True))
        self.register_buffer("positive_weight", torch.ones(len(names)))
        self.register_buffer("thresholds", torch.full((len(names),), _HALF, dtype=torch.float64))

    @property
    def output_names(self) -> tuple[str, ...]:
        """The labels."""
        return self.names

    @property
    def output_tensors(self) -> frozenset[str]:
        """The last layer, and the labels' weights and thresholds."""
        return last_layer_tensors(self.layers, "layers") | {"positive_weight", "thresholds"}

    def forward(self, features: Tensor) -> Tensor:
        """(B, F) to (B, K)."""
        return self.layers(self.standardize(features))  # type: ignore[no-any-return]

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Mean binary cross-entropy over the labels that are known (not -1)."""
        labels = self._table(target)
        known = labels >= 0  # (B, K): each label may be missing in other rows
        losses = F.binary_cross_entropy_with_logits(
            output, labels.clamp(min=0).to(output.dtype), pos_weight=self.positive_weight, reduction="none"
        )
        return mean_over((losses * known).sum(), known.sum())

    def answer(self, output: RawOutput) -> LabelAnswers:
        """Every label's probability, finite, and from which on it is answered."""
        return LabelAnswers(self.names, expit(finite_numbers(output)), self.thresholds.numpy(force=True))

    def answers(self, output: Tensor) -> dict[str, Tensor]:
        """{"probabilities": (B, K)}, float64."""
        return {"probabilities": _probabilities(output)}

    def answer_details(self) -> dict[str, Any]:
        """The labels, in the order of the probabilities, and from which probability on each is answered."""
        return {"labels": list(self.names), "thresholds": self.thresholds.tolist()}

    def outcomes(self, output: Tensor, target: Tensor) -> multi_label.MultiLabel:
        """Probabilities of the rows of which any label is known."""
        labels = self._table(target)
        known = (labels >= 0).any(1)
        truth = torch.where(labels >= 0, labels.double(), torch.nan)[known].cpu().numpy()
        probabilities = _probabilities(output[known]).cpu().numpy()
        return multi_label.MultiLabel(probabilities, truth, self.names, self.thresholds.cpu().numpy())

    @property
    def score(self) -> str:
        """The share of right labels."""
        return "label_accuracy"

    def row_scores(self, output: Tensor, target: Tensor) -> Tensor:
        """The share of a row's known labels that are answered right."""
        labels = self._table(target)
        right = ((_probabilities(output) >= self.thresholds) == (labels == 1)).double()
        return torch.where(labels >= 0, right, torch.nan).nanmean(1)

    def fit_features(self, features: Tensor) -> None:
        """Standardise by (N, F)."""
        self.standardize.fit(features)

    def fit_target(self, target: Tensor) -> None:
        """Set positive weights to negatives / positives where balanced; a label that all rows or none have keeps 1."""
        if self.config.positive_weights == "none":
            return
        labels = self._table(target)
        positives, negatives = (labels == 1).sum(0), (labels == 0).sum(0)
        weights = (negatives / positives.clamp(min=1)).clamp(max=_MAX_WEIGHT)
        self.positive_weight.copy_(torch.where((positives > 0) & (negatives > 0), weights, 1.0))

    def solve(self, features: Tensor, target: Tensor, widths: Sequence[int]) -> Fit | None:
        """A logistic regression for every label, on the rows where any is known."""
        if not self.config.solvable:
            return None
        labels = self._table(target)
        known = (labels >= 0).any(1)
        self.standardize.fit_together(features[known], widths)
        solution = solve_multi_label(self.standardize(features[known]), labels[known], self.positive_weight)
        solution.copy_to(single_layer(self.layers))
        return solution

    def fit_calibration(self, output: Tensor, target: Tensor) -> None:
        """Set each label's threshold to the best F1 of the validation rows, where `threshold` is fitted."""
        if self.config.threshold == "half":
            return
        probabilities, labels = _probabilities(output).cpu().numpy(), self._table(target).cpu().numpy()
        for k in range(len(self.names)):
            known = labels[:, k] >= 0
            self.thresholds[k] = best_threshold(probabilities[known, k], labels[known, k] == 1)

    def _table(self, target: Tensor) -> Tensor:
        """(B, K), or (B,) of one label, to (B, K)."""
        return target.reshape(len(target), len(self.names))


def best_threshold(probabilities: np.ndarray[Any, Any], positive: np.ndarray[Any, Any]) -> float:
    """The threshold on (n,) with the best F1, midway between two probabilities; 0.5 where no row is positive."""
    if not positive.any():
        return _HALF
    order = np.argsort(-probabilities, kind="stable")
    ranked = probabilities[order]
    # Answering the k most probable rows: F1 = 2 hits / (k + positives), for every k at once.
    f1 = 2 * positive[order].cumsum() / (np.arange(1, len(order) + 1) + positive.sum())
    below = np.append(ranked[1:], 0.0)
    f1[ranked == below] = -1.0  # no threshold separates equal probabilities
    best = int(f1.argmax())
    return float((ranked[best] + below[best]) / 2)


def _probabilities(output: Tensor) -> Tensor:
    """(B, K) to float64 (B, K)."""
    return torch.nan_to_num(output.detach().double()).sigmoid()
