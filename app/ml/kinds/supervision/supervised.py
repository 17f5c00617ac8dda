"""A head that learns the labels while the backbone is pretrained: cross-entropy, or squared error for a number.

    L_labels = mean over the labelled rows of - log softmax(W f(x) + b)_y     or of  (w f(x) + b - (y - mean) / std)^2

The classifier on the latent variable of Kingma et al., "Semi-supervised learning with deep generative models", 2014;
Le, Patterson and White, "Supervised autoencoders", 2018. The head is thrown away afterwards.
"""

from typing import ClassVar, Literal

from torch import Tensor

from app.ml.interfaces import Head
from app.ml.kinds.heads.classifier import Classifier
from app.ml.kinds.heads.regressor import Regressor
from app.ml.kinds.supervision.base import LabelLoss, SupervisionConfig, SupervisionRequest, TargetType, Weight
from app.ml.spec import TargetSpec


class Supervised(SupervisionRequest):
    """Predict the class, or the number, by a linear head."""

    accepts: ClassVar[tuple[TargetType, ...]] = ("category", "number")
    kind: Literal["supervised"] = "supervised"

    @classmethod
    def resolved_type(cls) -> "type[ResolvedSupervised]":
        """Return the class that builds."""
        return ResolvedSupervised


class ResolvedSupervised(Supervised, SupervisionConfig):
    """The same with a known weight."""

    weight: Weight

    def build(self, features: int, target: TargetSpec) -> "SupervisedLoss":
        """A classifier or a regressor, as the target is."""
        kind = Classifier if target.type == "category" else Regressor
        return SupervisedLoss(kind(target=target.name).build(features, (target,)))


class SupervisedLoss(LabelLoss):
    """A linear head's outputs and loss."""

    def __init__(self, head: Head) -> None:
        super().__init__()
        self.head = head

    def forward(self, features: Tensor) -> Tensor:
        """(B, F) to raw outputs (B, K)."""
        return self.head(features)  # type: ignore[no-any-return]

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """The head's."""
        return self.head.loss(outputs, labels)

    def fit(self, labels: Tensor) -> None:
        """A number's mean and deviation."""
        self.head.fit_target(labels)
