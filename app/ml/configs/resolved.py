"""What a job learns once everything is resolved: the fields of the request, none of which can be "auto".

The JSON is that of the request's config, so that a stored job reads as either.
"""

from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from app.ml.configs.label_propagation import LabelPropagationConfig
from app.ml.configs.learning import Augmentations
from app.ml.configs.online_probe import OnlineProbeConfig
from app.ml.configs.training import ResolvedTraining
from app.ml.configs.transfer_report import ResolvedTransferReport
from app.ml.errors import Location
from app.ml.fields import Name
from app.ml.interfaces import Decisions
from app.ml.kinds.backbones import ResolvedBackbone
from app.ml.kinds.balancing import AnyBalancing
from app.ml.kinds.heads import AnyHead
from app.ml.kinds.methods import ResolvedMethod
from app.ml.kinds.preprocessing import ResolvedPreprocessing
from app.ml.kinds.strategies import ResolvedStrategy
from app.ml.kinds.supervision import ResolvedSupervision
from app.ml.spec import Frozen


class ResolvedPretraining(Frozen):
    """A `PretrainingConfig` without any "auto"."""

    preprocessing: ResolvedPreprocessing
    backbone: ResolvedBackbone
    method: ResolvedMethod
    augmentations: Augmentations
    labels: ResolvedSupervision | None = None
    watch: OnlineProbeConfig | None = None
    training: ResolvedTraining

    @property
    def auxiliary_dataset(self) -> tuple[Location, str] | None:
        """The field that names another dataset, and its id."""
        return (("watch", "dataset"), self.watch.dataset) if self.watch and self.watch.dataset else None


class ResolvedFineTuning(Frozen):
    """A `FineTuningConfig` without any "auto"."""

    heads: tuple[AnyHead, ...]
    inherited_heads: tuple[Name, ...] = ()
    strategy: ResolvedStrategy
    preprocessing: ResolvedPreprocessing
    backbone: ResolvedBackbone
    loading: Literal["strict", "partial"] = "strict"
    balancing: AnyBalancing
    augmentations: Augmentations = ()
    unlabelled: LabelPropagationConfig | None = None
    training: ResolvedTraining
    transfer_report: ResolvedTransferReport | None = None

    @property
    def targets(self) -> tuple[str, ...]:
        """The targets of all heads, each once."""
        return tuple(dict.fromkeys(name for head in self.heads for name in head.targets))

    @property
    def auxiliary_dataset(self) -> tuple[Location, str] | None:
        """The field that names another dataset, and its id."""
        chosen = self.unlabelled
        return (("unlabelled", "dataset"), chosen.dataset) if chosen and chosen.dataset else None


AnyResolved = TypeVar("AnyResolved", ResolvedPretraining, ResolvedFineTuning)


@dataclass(frozen=True, slots=True)
class Resolved(Generic[AnyResolved]):
    """A config without any "auto", and what was decided on the way."""

    config: AnyResolved
    decisions: Decisions
