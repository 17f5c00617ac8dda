"""Refitting: once the test rows have measured a model, it is learned again from the labelled rows of all splits.

Of few labels each is worth more as one to learn from than as one to measure with. What the model is worth is known by
then: by cross-validation on the train rows, and by the test rows. The refitted heads have seen a few rows more, so that
both err on the careful side. Their calibration is that of rows held out in the selection.

Of very few rows the selection itself is repeated, as far as its budget goes: what the test rows have measured is then
the way to a model rather than the model. Else what was selected is solved for again.
"""

import math

from app.ml.kinds.strategies.automatic import ResolvedAutomatic
from app.ml.models.assembly import FineTuning
from app.ml.models.bundle import Bundle
from app.ml.spec import SPLITS
from worker.training import run as training
from worker.training.cross_validation import with_all_rows_in_train
from worker.training.model_selection import automatic
from worker.training.model_selection.ladder import FEW_ROWS
from worker.training.run import Run
from worker.training.selected import Selected


def refit(measured: Run, parent: Bundle | None, most_seconds: float = math.inf) -> Run | None:
    """Prepare what a measured run learns again from all labelled rows; None where it is not to, or cannot.

    `parent` is the model that was given; selecting, both times together, takes `most_seconds` of CPU at most. The
    caller trains what is returned. Its `selected` is another than the measured run's where the selection was repeated.
    """
    config = measured.requested
    if config is None or measured.selected is None or not isinstance(config.strategy, ResolvedAutomatic):
        return None
    # Without train rows held out nothing could calibrate: validation rows are learned from.
    if config.strategy.refit == "no" or config.unlabelled is not None or not measured.state.held_out:
        return None
    again = _selected_again(measured, parent, most_seconds) or _solved_again(measured, parent)
    if again is not None:
        again.learned_splits = tuple(split for split in SPLITS if len(measured.examples(split)))
    return again


def _selected_again(measured: Run, parent: Bundle | None, most_seconds: float) -> Run | None:
    """Select among the candidates on all labelled rows; None where they are many, or the budget is spent."""
    config, selected = measured.requested, measured.selected
    assert config is not None
    assert selected is not None
    assert isinstance(config.strategy, ResolvedAutomatic)
    data = with_all_rows_in_train(measured.data)
    spent = sum(rung.cpu_seconds for rung in selected.ladder)
    left = min(config.strategy.budget_seconds, most_seconds) - spent
    # Who climbs on from an instant head was compared with it on the train rows.
    if len(data.positions("train", config.targets)) > FEW_ROWS or left < spent or selected.gain is not None:
        return None
    again = automatic.prepare(
        config, data, device=measured.state.device, parent=parent, cache=measured.cache, most_seconds=left
    )
    # Whether the model helps has been said, and is its lineage; and nothing may win because the budget left others out.
    complete = again.selected is not None and _compared(selected) <= _compared(again.selected)
    return again if complete and again.starts_from_model == measured.starts_from_model else None


def _compared(selected: Selected) -> set[str]:
    return {rung.candidate for rung in selected.ladder if rung.score is not None and rung.candidate != "blend"}


def _solved_again(measured: Run, parent: Bundle | None) -> Run | None:
    """Solve for what was selected; None where it was trained by steps, which would have to end without validation."""
    objective, selected = measured.state.objective, measured.selected
    assert isinstance(objective, FineTuning)
    assert selected is not None
    if objective.strategy.solving != "only":
        return None
    again = training.prepare(
        selected.config,
        with_all_rows_in_train(measured.data),
        device=measured.state.device,
        parent=parent if selected.pretrained else None,
        strategy=objective.strategy,
        cache=measured.cache,
    )
    again.selected, again.requested = selected, measured.requested
    again.state.held_out = measured.state.held_out
    return again
