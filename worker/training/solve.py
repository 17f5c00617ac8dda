"""Solving for linear heads: instead of the training steps, or before the first and after the last of them."""

import time
from collections.abc import Callable, Iterator, Mapping

import torch

from app.ml.data.arrays import Examples, InMemory
from app.ml.fitting.evaluation import features_of
from app.ml.models.assembly import FineTuning, stacked
from app.ml.solvers.solution import Fit
from worker.training.events import EpochDone, Evaluated, Event, Finished, Note, Started, StepDone
from worker.training.label_propagation.pseudo_labels import LabelPropagation
from worker.training.state import LoopState


def train_by_solving(
    state: LoopState,
    features: Examples,
    evaluate: Callable[[], dict[str, float]] | None,
    label_propagation: LabelPropagation | None = None,
) -> Iterator[Event]:
    """A training of a single step, which sets the heads to their optimum on the features (N, F).

    A run that is resumed from before that step solves again, one from after it evaluates again.
    """
    objective, progress = state.objective, state.progress
    assert isinstance(objective, FineTuning)
    yield Started(progress.step, 1, 1)
    if progress.step == 0:
        # The step's loss is computed after solving: unlike a gradient step's, it is that of the final weights.
        fits, notes = _solve(objective, features, label_propagation)
        progress.step, progress.epoch = 1, 1
        yield from notes
        yield StepDone(1, 0, 0.0, _losses(objective, features, fits))
    yield EpochDone(0, 1)
    if evaluate is not None:
        yield Evaluated(0, 1, evaluate(), best=True)
    yield Finished(1, "completed", 1)


def solve_heads(objective: FineTuning, examples: Examples) -> Note:
    """Set the heads to their optimum on the features that the backbone, as it is now, gives of the rows."""
    # Features (N, F) are computed anew: the backbone trains, so that none are cached.
    return _solve(objective, Examples(InMemory(features_of(objective, examples)), examples.targets))[1][-1]


def _solve(
    objective: FineTuning, features: Examples, label_propagation: LabelPropagation | None = None
) -> tuple[dict[str, Fit], tuple[Note, ...]]:
    """Set the heads to their optimum; return how by the head's key, and the notes on it."""
    began = time.monotonic()
    notes: tuple[Note, ...] = ()
    if label_propagation is None:
        fits = objective.solve(features.inputs.take(None), features.targets)
    else:
        fits, note = label_propagation.solve(objective, features)
        notes = (note,)
    _calibrate(objective, fits, features)
    seconds = time.monotonic() - began
    summary = ", ".join(f"{key} with {fit.summary}" for key, fit in fits.items())
    heads = {key: fit.as_json() for key, fit in fits.items()}
    data = {"seconds": seconds, "rows": len(features), "heads": heads}
    return fits, (*notes, Note("heads.solved", f"Solved for {summary}, in {seconds:.1f} s.", data))


@torch.no_grad()
def _calibrate(objective: FineTuning, fits: Mapping[str, Fit], examples: Examples) -> None:
    """Fit the heads' calibration on outputs for rows left out in cross-validation; validation rows may follow."""
    for config, head in zip(objective.configs, objective.each_head(), strict=True):
        held_out = fits[config.key].out_of_fold if config.key in fits else None
        if held_out is not None:
            head.fit_calibration(held_out.outputs, stacked(config, examples.targets)[held_out.rows])


@torch.no_grad()
def _losses(objective: FineTuning, features: Examples, fits: dict[str, Fit]) -> dict[str, torch.Tensor]:
    """The losses, (), of the train rows at the optimum, and the cross-validated one where every head has it."""
    losses = objective.eval().loss(features.batch(None))  # over all N rows at once
    # The cross-validated loss is comparable between penalties and layers; the train rows' own one is not.
    held_out = [fit.loss for fit in fits.values() if fit.loss is not None]
    if len(held_out) == len(fits):
        losses["held_out_loss"] = losses["loss"].new_tensor(sum(held_out))
    return losses
