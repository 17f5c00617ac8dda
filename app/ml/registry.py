"""Every choosable kind, read from the families' unions: the one place that the catalogue and the tests ask."""

from typing import Any, get_args

from app.ml.augmentations import AnyAugmentation
from app.ml.backbones import AnyBackbone
from app.ml.balancing import AnyBalancing
from app.ml.heads import AnyHead
from app.ml.methods import AnyMethod
from app.ml.modalities import AnyModality
from app.ml.preprocessing import AnyPreprocessing
from app.ml.spec import Frozen
from app.ml.strategies import AnyStrategy
from app.ml.supervision import AnySupervision
from app.ml.training import AnyOptimizer, AnySchedule

FAMILIES: dict[str, Any] = {
    "modalities": AnyModality,
    "preprocessing": AnyPreprocessing,
    "augmentations": AnyAugmentation,
    "backbones": AnyBackbone,
    "methods": AnyMethod,
    "supervision": AnySupervision,
    "heads": AnyHead,
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
