"""What was selected for a fine-tuning that chooses among candidates, and the ladder of all that were tried."""

from typing import Any

from app.ml.configs.resolved import ResolvedFineTuning, ResolvedPretraining
from app.ml.kinds.strategies.automatic import CandidateName, ResolvedAutomatic
from app.ml.kinds.strategies.base import StrategyConfig
from app.ml.spec import Frozen


class Rung(Frozen):
    """A candidate's cross-validated score, its 95 % interval, and what it cost; or why it was not tried."""

    candidate: CandidateName
    score: float | None = None
    low: float | None = None
    high: float | None = None
    rows: int = 0
    folds: int = 0
    cpu_seconds: float = 0.0
    reason: str | None = None


class Gain(Frozen):
    """How much better the selected candidate answers train rows left out than a baseline does, with its interval.

    Both are paired by row. The interval holds for all candidates at once (Bonferroni), since the selected one is the
    best of them.
    """

    score: float
    baseline_score: float
    difference: float
    low: float
    high: float
    rows: int


class Selected(Frozen):
    """The config that was selected. It is kept with checkpoints, which belong to that choice."""

    candidate: CandidateName
    config: ResolvedFineTuning
    pretrained: bool
    ladder: tuple[Rung, ...] = ()
    gain: Gain | None = None  # over a baseline, where there was one and rows enough


def selected_of(
    stored: Any, config: ResolvedPretraining | ResolvedFineTuning, strategy: StrategyConfig
) -> Selected | None:
    """Read what a checkpoint says of the selection; those of earlier releases have the strategy alone.

    Then the candidates were strategies for the pretrained model.
    """
    if stored is not None:
        return Selected.model_validate(stored)
    if not isinstance(config, ResolvedFineTuning) or not isinstance(config.strategy, ResolvedAutomatic):
        return None
    candidate: CandidateName = strategy.kind if strategy.kind in ("lp_ft", "full") else "linear_probe"  # type: ignore[assignment]
    return Selected(candidate=candidate, config=config.model_copy(update={"strategy": strategy}), pretrained=True)
