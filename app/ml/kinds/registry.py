"""Every choosable kind, read from the families' unions: the one place that the catalogue and the tests ask."""

from typing import Any, get_args

from app.ml.kinds.augmentations import AnyAugmentation
from app.ml.kinds.backbones import AnyBackbone
from app.ml.kinds.balancing import AnyBalancing
from app.ml.kinds.estimators import AnyEstimator
from app.ml.kinds.heads import AnyHead
from app.ml.kinds.methods import AnyMethod
from app.ml.kinds.modalities import AnyModality
from app.ml.kinds.optimizers import AnyOptimizer
from app.ml.kinds.preprocessing import AnyPreprocessing
from app.ml.kinds.schedules import AnySchedule
from app.ml.kinds.strategies import AnyStrategy
from app.ml.kinds.supervision import AnySupervision
from app.ml.spec import Frozen

FAMILIES: dict[str, Any] = {
    "modalities": AnyModality,
    "preprocessing": AnyPreprocessing,
    "augmentations": AnyAugmentation,
    "backbones": AnyBackbone,
    "methods": AnyMethod,
    "supervision": AnySupervision,
    "heads": AnyHead,
    "estimators": AnyEstimator,
    "strategies": AnyStrategy,
    "balancing": AnyBalancing,
    "optimizers": AnyOptimizer,
    "schedules": AnySchedule,
}


def kinds(union: Any) -> dict[str, type[Frozen]]:
    """The configs of a family by kind, in the order written. `Annotated[A | B, ...]` and a lone `A` both work."""
    inner = get_args(union)[0] if hasattr(union, "__metadata__") else union
    members = get_args(inner) or (inner,)
    return {member.model_fields["kind"].default: member for member in members}
