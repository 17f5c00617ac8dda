"""The training loop, for pretraining and fine-tuning alike. Its caller decides when to report, save or stop."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch

from app.ml.configs.training import ResolvedTraining
from app.ml.data.arrays import Examples
from worker.training.batches import count_batches, epoch_batches
from worker.training.events import EpochDone, Evaluated, Event, Finished, Reason, Started, StepDone
from worker.training.micro_batches import DeviceMemoryError, backward, split_further
from worker.training.online_probe import OnlineProbe
from worker.training.optimizer import set_rate
from worker.training.schedule import rate_factor
from worker.training.state import LoopState

Metrics = dict[str, float]
VALIDATION_LOSS = "val/loss"


@dataclass(frozen=True, slots=True)
class Plan:
    """How long a training is, known before it starts."""

    config: ResolvedTraining
    rows: int
    solves: bool = False  # then the training is a single step over all rows
    least_rows: int = 1  # of a step

    @property
    def batch_size(self) -> int:
        """Rows per step."""
        return self.rows if self.solves else min(self.config.batch_size, self.rows)

    @property
    def steps_per_epoch(self) -> int:
        """Steps of an epoch, the last of which may take fewer rows."""
        return 1 if self.solves else count_batches(self.rows, self.batch_size, self.least_rows)

    @property
    def total_steps(self) -> int:
        """Steps of the whole training: as configured, or the epochs' steps."""
        if self.solves:
            return 1
        return self.config.steps or (self.config.epochs or 0) * self.steps_per_epoch

    def lr(self, step: int) -> float:
        """The learning rate of step `step`, counted from 0."""
        return self.config.optimizer.lr * rate_factor(self.config.schedule, step, self.total_steps)

    def evaluates(self, epoch: int, step: int) -> bool:
        """Whether to evaluate after this epoch, counted from 0: every `evaluate_every` epochs, and at the end."""
        return (epoch + 1) % self.config.evaluate_every == 0 or step >= self.total_steps


def train(
    state: LoopState,
    examples: Examples,
    plan: Plan,
    evaluate: Callable[[], Metrics] | None,
    probe: OnlineProbe | None = None,
) -> Iterator[Event]:
    """Train from where `state` is to the end of the plan.

    A run resumed from a save repeats the events after the one it was saved at, EpochDone and Evaluated at most
    once more, and its steps give the same losses bit for bit (on the CPU, with as many threads).
    """
    progress, config = state.progress, plan.config
    yield Started(progress.step, plan.total_steps, plan.steps_per_epoch)
    # A position above 0 at the last step: the run was saved before the epoch ended, whose evaluation is still to come.
    while (progress.step < plan.total_steps or progress.position > 0) and not progress.stopped_early:
        state.objective.train()
        # Only the rows after `position` are left of an epoch within which the run was saved.
        place = (progress.epoch, progress.position)
        order = (plan.rows, plan.batch_size, config.seed, *place, plan.least_rows, examples.shards)
        for indices in epoch_batches(*order):
            if progress.step >= plan.total_steps:
                break
            while (done := _step(state, examples, plan, indices)) is None:
                # Too little memory: nothing has changed yet, so the same step is taken again in smaller pieces.
                yield split_further(state, plan.rows if indices is None else len(indices))
            yield done
        yield EpochDone(progress.epoch, progress.step)
        evaluated = None
        if plan.evaluates(progress.epoch, progress.step):
            evaluated = _evaluate(state, plan, evaluate, probe)
        # The epoch is counted before the caller sees the evaluation: what it saves then resumes at the next epoch.
        progress.epoch, progress.position = progress.epoch + 1, 0
        if evaluated:
            warning = probe.warning(progress, evaluated.metrics, plan.total_steps) if probe else None
            if warning is not None:
                yield warning
            yield evaluated
    # Early stopping, or the online probe, has kept the best weights; without either there are none to restore.
    state.restore_best()
    if probe and probe.selects_weights and progress.best_step is not None:
        yield probe.kept_note(progress)
    reason: Reason = "early_stopping" if progress.stopped_early else "completed"
    yield Finished(progress.step, reason, _kept_step(state, probe))


def _kept_step(state: LoopState, probe: OnlineProbe | None) -> int:
    """The step whose weights the training ended with."""
    progress, chosen = state.progress, None
    if state.best is not None:
        by_probe = probe is not None and probe.selects_weights
        chosen = progress.best_step if by_probe else progress.best_loss_step
    return progress.step if chosen is None else chosen


def follow(state: LoopState, examples: Examples, plan: Plan, steps: Iterable[tuple[int, torch.Tensor]]) -> None:
    """Take part in the steps (number, rows (B,)) that another rank leads.

    Raises:
        DeviceMemoryError: the device has too little memory for its share.
    """
    for step, indices in steps:
        state.progress.step = step
        state.objective.train()
        if _step(state, examples, plan, indices) is None:
            raise DeviceMemoryError(len(indices), state.progress.pieces)


def _step(state: LoopState, examples: Examples, plan: Plan, indices: torch.Tensor | None) -> StepDone | None:
    """Take a step on rows `indices` (B,), None being all: rate, forward, backward, clip, step, count.

    None where the device had too little memory; then no weight has changed. Nothing here reads a value from the
    device: on a GPU that would wait until all that is queued there has run.
    """
    progress, optimizer = state.progress, state.optimizer
    lr = plan.lr(progress.step) * progress.rate  # the rate is below 1 after a divergence
    set_rate(optimizer, lr)
    state.objective.begin(progress.step, plan.total_steps)  # what is warmed up or unfrozen, by the step's number
    if state.ranks is not None:
        indices = state.ranks.announce(progress.step, indices, plan.rows)
        state.ranks.begin(state, plan.total_steps)
    losses = backward(state, examples, indices, plan.config)
    if losses is None:
        return None
    if state.ranks is not None:
        state.ranks.take_gradients()
    if plan.config.clip_grad_norm is not None:
        state.clip_gradients(plan.config.clip_grad_norm)
    optimizer.step()
    progress.step += 1
    progress.position += 1
    return StepDone(progress.step, progress.epoch, lr, losses)


def _evaluate(
    state: LoopState, plan: Plan, evaluate: Callable[[], Metrics] | None, probe: OnlineProbe | None
) -> Evaluated | None:
    """Evaluate the validation split and the online probe; None where there is neither."""
    state.gather()
    # The validation loss decides on early stopping before the probe does: either may end the training.
    metrics = evaluate() if evaluate else {}
    best = bool(metrics) and _update_best(state, plan, metrics[VALIDATION_LOSS])
    if probe is not None:
        metrics = {**metrics, **probe.evaluate(state)}
    return Evaluated(state.progress.epoch, state.progress.step, metrics, best) if metrics else None


def _update_best(state: LoopState, plan: Plan, loss: float) -> bool:
    """Whether the loss is the lowest so far; with early stopping, keep the best weights and stop once patience ends."""
    progress, stopping = state.progress, plan.config.early_stopping
    delta = stopping.min_delta if stopping else 0.0
    # A loss that is no number, or infinite, is never better.
    better = math.isfinite(loss) and (progress.best_loss is None or loss < progress.best_loss - delta)
    if better:
        progress.best_loss, progress.evaluations_without_gain = loss, 0
        progress.best_loss_step = progress.step
    else:
        progress.evaluations_without_gain += 1
    if stopping is not None:
        if better:
            state.keep_best()
        progress.stopped_early = progress.evaluations_without_gain >= stopping.patience
    return better
