"""What a sweep's row keeps."""

from typing import Any

from app.ml.interfaces import Decision
from app.ml.spec import Frozen
from app.sweeps.space import AnyAlgorithm, AnyRange, Direction


class SweepConfig(Frozen):
    """A sweep's request with nothing left open."""

    base: dict[str, Any]
    space: dict[str, AnyRange]
    algorithm: AnyAlgorithm
    trials: int
    parallel: int
    metric: str
    direction: Direction
    seed: int
    decisions: tuple[Decision, ...] = ()

    @property
    def maximize(self) -> bool:
        """Whether more is better."""
        return self.direction == "maximize"
