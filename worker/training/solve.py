"""Solving for linear heads: instead of the loop as one step, or before its first and after its last."""

import time
from collections.abc import Callable, Iterator

import torch

from app.ml.data.arrays import Examples, InMemory
from app.ml.models.assembly import FineTuning
from app.ml.solvers.solution import Solution
from worker.training.evaluation import features_of
from worker.training.events import EpochDone, Evaluated, Event, Finished, Noted, Started, StepDone
from worker.training.label_propagation.pseudo_labels import Unlabelled
from worker.training.state import LoopState

_DIGITS = 6


def train_by_solving(
    state: LoopState,
    features: Examples,
    evaluate: Callable[[], dict[str, float]] | None,
    unlabelled: Unlabelled | None = None,
) -> Iterator[Event]:
    """A training of one step, which is the solution. A run resumed before it solves again, after it measures again."""
    objective, progress = state.objective, state.progress
    assert isinstance(objective, FineTuning)
    yield Started(progress.step, 1, 1)
    if progress.step == 0:
        found, notes = _solved(objective, features, unlabelled)
        progress.step, progress.epoch = 1, 1
        yield from notes
        yield StepDone(1, 0, 0.0, _losses(objective, features, found))
    yield EpochDone(0, 1)
    if evaluate is not None:
        yield Evaluated(0, 1, evaluate(), best=True)
    yield Finished(1, "completed")


def solve_heads(objective: FineTuning, examples: Examples) -> Noted:
    """Set the heads to their optimum on the features of rows as they are now."""
    return _solved(objective, Examples(InMemory(features_of(objective, examples)), examples.targets))[1][-1]


def _solved(
    objective: FineTuning, features: Examples, unlabelled: Unlabelled | None = None
) -> tuple[dict[str, Solution], tuple[Noted, ...]]:
    """What was found by the head's key, and what is told of it."""
    began = time.monotonic()
    told: tuple[Noted, ...] = ()
    if unlabelled is None:
        found = objective.solve(features.inputs.take(None), features.targets)
    else:
        found, note = unlabelled.solve(objective, features)
        told = (note,)
    seconds = time.monotonic() - began
    words = ", ".join(f"{key} with an L2 penalty of {one.strength:.3g}" for key, one in found.items())
    data = {"seconds": seconds, "rows": len(features), "heads": {key: _as_json(one) for key, one in found.items()}}
    return found, (*told, Noted("heads.solved", f"Solved for {words}, in {seconds:.1f} s.", data))


def _as_json(found: Solution) -> dict[str, object]:
    scores = [
        {"strength": one.strength, "loss": round(one.loss, _DIGITS), "standard_error": round(one.error, _DIGITS)}
        for one in found.scores
    ]
    return {"strength": found.strength, "held_out_loss": found.loss, "scores": scores}


@torch.no_grad()
def _losses(objective: FineTuning, features: Examples, found: dict[str, Solution]) -> dict[str, torch.Tensor]:
    """The train rows' loss after the solution, and the cross-validated one."""
    losses = objective.eval().loss(features.batch(None))
    held_out = [one.loss for one in found.values() if one.loss is not None]
    if len(held_out) == len(found):
        losses["held_out_loss"] = losses["loss"].new_tensor(sum(held_out))
    return losses
