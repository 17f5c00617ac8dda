"""The loop, for pretraining and fine-tuning alike. Whoever iterates it decides when to report, save or stop."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch

from app.ml.configs.training import TrainingConfig
from app.ml.data.arrays import Examples
from worker.training.batches import epoch_batches
from worker.training.events import EpochDone, Evaluated, Event, Finished, Started, StepDone
from worker.training.micro_batches import DeviceMemoryError, backward, with_less_memory
from worker.training.online_probe import Watcher
from worker.training.optimizer import set_rate
from worker.training.schedule import rate_factor
from worker.training.state import LoopState

Metrics = dict[str, float]
VALIDATION_LOSS = "val/loss"


@dataclass(frozen=True, slots=True)
class Plan:
    """How long a training is, known before it starts."""

    config: TrainingConfig
    rows: int
    solves: bool = False  # then all there is is one step over all rows

    @property
    def batch_size(self) -> int:
        """Rows per step."""
        assert self.config.batch_size != "auto"
        return self.rows if self.solves else min(self.config.batch_size, self.rows)

    @property
    def steps_per_epoch(self) -> int:
        """The last of them may take fewer rows."""
        return 1 if self.solves else self.config.steps_per_epoch(self.rows)

    @property
    def total_steps(self) -> int:
        """As configured, or the epochs' steps."""
        return 1 if self.solves else self.config.total_steps(self.rows)

    def lr(self, step: int) -> float:
        """The rate of step `step`, counted from 0."""
        assert self.config.optimizer.lr != "auto"
        return self.config.optimizer.lr * rate_factor(self.config.schedule, step, self.total_steps)

    def evaluates(self, epoch: int, step: int) -> bool:
        """Whether to measure after this epoch: every so many, and at the end."""
        assert self.config.evaluate_every != "auto"
        return (epoch + 1) % self.config.evaluate_every == 0 or step >= self.total_steps


def train(
    state: LoopState,
    examples: Examples,
    plan: Plan,
    evaluate: Callable[[], Metrics] | None,
    watcher: Watcher | None = None,
) -> Iterator[Event]:
    """Train from where `state` is to the end of the plan.

    A run resumed from a save repeats the events after the one it was saved at, EpochDone and Evaluated at most
    once more, and its steps give the same losses bit for bit (on the CPU, with as many threads).
    """
    progress, config = state.progress, plan.config
    yield Started(progress.step, plan.total_steps, plan.steps_per_epoch)
    while (progress.step < plan.total_steps or progress.position > 0) and not progress.stopped_early:
        state.objective.train()
        for indices in epoch_batches(plan.rows, plan.batch_size, config.seed, progress.epoch, progress.position):
            if progress.step >= plan.total_steps:
                break
            yield from _fitting_step(state, examples, plan, indices)
        yield EpochDone(progress.epoch, progress.step)
        evaluated = _measure(state, plan, evaluate, watcher) if plan.evaluates(progress.epoch, progress.step) else None
        progress.epoch, progress.position = progress.epoch + 1, 0
        if evaluated:
            yield evaluated
    state.restore_best()
    if watcher and watcher.chooses and progress.best_step is not None:
        yield watcher.told(progress)
    yield Finished(progress.step, "early_stopping" if progress.stopped_early else "completed")


def _fitting_step(state: LoopState, examples: Examples, plan: Plan, indices: torch.Tensor | None) -> Iterator[Event]:
    """A step, in pieces small enough for the device's memory."""
    while (done := _step(state, examples, plan, indices)) is None:
        yield with_less_memory(state, plan.rows if indices is None else len(indices))
    yield done


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
    """Rate, forward, backward, clip, step, count; None, and no weight has changed, where the memory was too little.

    Nothing here reads a value: on a GPU that would wait for it.
    """
    progress, optimizer = state.progress, state.optimizer
    lr = plan.lr(progress.step) * progress.rate
    set_rate(optimizer, lr)
    state.objective.begin(progress.step, plan.total_steps)
    if state.ranks is not None:
        indices = state.ranks.shard(progress.step, indices, plan.rows)
    losses = backward(state, examples, indices, plan.config)
    if losses is None:
        return None
    if state.ranks is not None:
        losses = state.ranks.average(optimizer, losses)
    if plan.config.clip_grad_norm is not None:
        parameters = (parameter for group in optimizer.param_groups for parameter in group["params"])
        torch.nn.utils.clip_grad_norm_(parameters, plan.config.clip_grad_norm)
    optimizer.step()
    progress.step += 1
    progress.position += 1
    return StepDone(progress.step, progress.epoch, lr, losses)


def _measure(
    state: LoopState, plan: Plan, evaluate: Callable[[], Metrics] | None, watcher: Watcher | None
) -> Evaluated | None:
    """The validation split's losses, and what is watched; None where there is neither."""
    metrics = evaluate() if evaluate else {}
    best = bool(metrics) and _judge(state, plan, metrics)
    if watcher is not None:
        metrics = {**metrics, **watcher.look(state)}
    return Evaluated(state.progress.epoch, state.progress.step, metrics, best) if metrics else None


def _judge(state: LoopState, plan: Plan, metrics: Metrics) -> bool:
    """Tell whether the loss is the lowest so far. Counts what brought no gain, keeps the best weights, may stop."""
    progress, stopping = state.progress, plan.config.early_stopping
    loss = metrics[VALIDATION_LOSS]
    delta = stopping.min_delta if stopping else 0.0
    # A loss that is not a number is no gain.
    better = math.isfinite(loss) and (progress.best_loss is None or loss < progress.best_loss - delta)
    if better:
        progress.best_loss, progress.evaluations_without_gain = loss, 0
    else:
        progress.evaluations_without_gain += 1
    if stopping is not None:
        if better:
            state.keep_best()
        progress.stopped_early = progress.evaluations_without_gain >= stopping.patience
    return better
