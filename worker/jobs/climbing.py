"""What a fine-tuning does that climbs on from an instant head: it moves the alias where its model is proven better.

The alias moves in the transaction that registers the model and ends the job: once, or not at all.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from app import events
from app.aliases.conditional import move_if_unchanged
from app.aliases.repository import AliasKey
from app.heads.climbing import Climb, climb_of
from app.jobs.repository import JobRow
from app.ml.errors import CorruptModelError
from app.ml.kinds.strategies.base import StrategyConfig
from app.ml.models.predictor import load_bundle
from app.models.repository import ModelRow
from worker.training.run import Run
from worker.training.selected import Selected


@dataclass(frozen=True, slots=True)
class Ascent:
    """What was selected, how it compares with the instant head, and why the alias must stay, if it must."""

    climb: Climb
    selected: Selected
    obstacle: str | None

    def end(self, session: Session, job: JobRow, model: ModelRow) -> dict[str, Any]:
        """Move the alias to the registered model, or let it stay; return the metric that says so, and why."""
        climb, gain = self.climb, self.selected.gain
        reason = self.obstacle
        if reason is None:
            key = AliasKey(job.project_id, model.name, climb.alias)
            reason = move_if_unchanged(session, key, climb.revision, model.id)
        scores = {
            "instant_head": {"model": climb.model, "score": gain and gain.baseline_score},
            "winner": {"model": model.id, "candidate": self.selected.candidate, "score": gain and gain.score},
            "gain": gain and gain.model_dump(mode="json", include={"difference", "low", "high", "rows"}),
        }
        moved = reason is None
        metric = {**scores, "alias": climb.alias, "moved": moved, "reason": reason or _measured(self.selected)}
        place = f"{model.name}@{climb.alias}"
        message = f"{place} means version {model.version} now" if moved else f"{place} stays as it is"
        kind = "alias.moved" if moved else "alias.stays"
        events.append(session, job.id, kind, f"{message}: {metric['reason']}.", metric)
        return {"climb": metric}


def baseline_of(job: JobRow) -> StrategyConfig | None:
    """Return how the instant head learned that the job climbs on from; None where it does not climb."""
    climb = climb_of(job.config)
    return None if climb is None else climb.strategy


def ascent_of(job: JobRow, training: Run, folder: Path) -> Ascent | None:
    """Say whether the trained model (files in `folder`) may have the alias; None for a job that does not climb.

    It may where the interval of its gain lies above 0, and it answers its golden rows.
    """
    climb, selected = climb_of(job.config), training.selected
    if climb is None or selected is None:
        return None
    obstacle = None
    if selected.gain is None:
        obstacle = "the gain was not measured: too few rows, or too few seconds, to compare what was selected"
    elif selected.gain.low <= 0:
        obstacle = _measured(selected)
    else:
        try:
            load_bundle(folder)
        except CorruptModelError as error:
            obstacle = f"the model does not answer as when it was made: {error}"
    return Ascent(climb, selected, obstacle)


def _measured(selected: Selected) -> str:
    gain = selected.gain
    assert gain is not None
    verdict = "above 0" if gain.low > 0 else "not above 0"
    return (
        f"on {gain.rows} train rows held out {selected.candidate} scores {gain.score:.3f} and the instant head "
        f"{gain.baseline_score:.3f}, and the interval of the gain, {gain.low:.3f} to {gain.high:.3f}, lies {verdict}"
    )
