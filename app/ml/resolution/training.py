"""From the request of a training to its resolved config.

The figures were chosen by trials on MNIST digits: 3,000 to pretrain on, 100 labels, and 900 others to compare on; none
of them is among the digits that any reported accuracy is measured on.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from app.ml.configs.training import MAX_EPOCHS, ResolvedTraining, TrainingConfig
from app.ml.errors import ConfigError
from app.ml.interfaces import Choices, Decision, Decisions
from app.ml.interfaces.resolvable import filled
from app.ml.interfaces.values import TrainingDefaults
from app.ml.kinds.optimizers import Adam, AnyOptimizer, ResolvedAdam, ResolvedAdamW, ResolvedOptimizer, ResolvedSgd, Sgd
from app.ml.kinds.schedules import AnySchedule, Constant, ResolvedConstant, ResolvedCosine, ResolvedSchedule
from app.ml.spec import DataSpec

EVALUATIONS = 20  # of a training without early stopping: enough for a curve, cheap compared with the steps

PurposeKind = Literal["pretraining", "linear_probe", "fine_tuning", "from_scratch"]


@dataclass(frozen=True, slots=True)
class Purpose:
    """What is trained on how many rows, and for a fine-tuning the targets of its heads."""

    kind: PurposeKind
    rows: int
    spec: DataSpec
    targets: tuple[str, ...] = ()
    own_defaults: TrainingDefaults | None = None  # the method's
    least_rows: int = 1  # that a batch, and the validation split, must have
    max_steps: Callable[[int], int] | None = None  # of so many rows, by default, so that they end in minutes

    @property
    def defaults(self) -> TrainingDefaults:
        """What "auto" starts from."""
        return self.own_defaults or DEFAULTS[self.kind]

    @property
    def validation_rows(self) -> int:
        """Rows that the validation loss looks at: those that carry one of the targets, at least so many."""
        counts = [self.spec.labelled.get(target, self.spec.rows) for target in self.targets] or [self.spec.rows]
        return max(rows.get("validation", 0) for rows in counts)


DEFAULTS: dict[PurposeKind, TrainingDefaults] = {
    "pretraining": TrainingDefaults(lr=1e-3, batches=100, steps=1000, min_epochs=10, max_epochs=300),
    "linear_probe": TrainingDefaults(lr=1e-2, batches=8, steps=400, min_epochs=10, max_epochs=100),
    # The heads' rate; Full moves a pretrained backbone at a tenth of it.
    "fine_tuning": TrainingDefaults(lr=1e-2, batches=8, steps=400, min_epochs=10, max_epochs=100),
    "from_scratch": TrainingDefaults(lr=1e-3, batches=8, steps=400, min_epochs=10, max_epochs=100),
}
_MIN_BATCH = 32
_MIN_STEPS = 100  # of a training that is shortened: batches become smaller first
_PRECISION_REASONS = {
    "native": "bfloat16 where the worker has it: this loses nothing",
    "float32": "exact, and no slower here",
}


def resolve_training(config: TrainingConfig, purpose: Purpose) -> tuple[ResolvedTraining, Decisions]:
    """Replace every `"auto"`. Raises `ConfigError` for a choice that the data refuses."""
    _check_early_stopping(config, purpose)
    defaults, rows = purpose.defaults, purpose.rows
    batch_size, of_batch = _batch_size(config, purpose)
    steps_per_epoch = math.ceil(rows / batch_size)
    of_length: Decisions = ()
    epochs = _epochs(defaults, steps_per_epoch) if config.epochs == "auto" else config.epochs
    if config.epochs == "auto" and purpose.max_steps is not None:
        config, epochs, of_length = _shortened(
            config, epochs, steps_per_epoch, max(_MIN_STEPS, purpose.max_steps(min(batch_size, rows)))
        )
    total_steps: int = config.steps or (epochs or 0) * steps_per_epoch
    optimizer, of_optimizer = _resolve_optimizer(config.optimizer, purpose)
    schedule, of_schedule = _resolve_schedule(config.schedule, defaults, total_steps)
    choices: Choices = {
        "batch_size": (batch_size, of_batch),
        "epochs": (epochs, f"{rows} rows in batches of {min(batch_size, rows)}"),
        "evaluate_every": _evaluate_every(config, math.ceil(total_steps / steps_per_epoch)),
        "precision": (defaults.precision, _PRECISION_REASONS[defaults.precision]),
    }
    known = config.model_copy(update={"optimizer": optimizer, "schedule": schedule})
    training, decisions = filled(known, ResolvedTraining, choices, "training.")
    return training, (*of_length, *decisions, *of_optimizer, *of_schedule)


def _check_early_stopping(config: TrainingConfig, purpose: Purpose) -> None:
    if config.early_stopping is not None and purpose.validation_rows < purpose.least_rows:
        what = "validation rows that carry a head's target" if purpose.targets else "validation rows"
        count = purpose.validation_rows or "none"
        msg = f"early stopping needs {what}, and the dataset has {count}: leave it out or split the dataset"
        raise ConfigError(("training", "early_stopping"), msg)


def _batch_size(config: TrainingConfig, purpose: Purpose) -> tuple[int, str]:
    """A power of two near rows / batches, or less where the network is so large that hardly a step would fit."""
    if config.batch_size != "auto":
        return config.batch_size, ""
    defaults, rows = purpose.defaults, purpose.rows
    near: int = 2 ** round(math.log2(max(rows / defaults.batches, 1)))
    size = max(1, min(rows, defaults.max_batch_size, max(_MIN_BATCH, near)))
    reason = f"{rows} rows to train on"
    if config.epochs == "auto" and purpose.max_steps is not None:
        while size > _MIN_BATCH and purpose.max_steps(size) < _MIN_STEPS:
            size, reason = max(_MIN_BATCH, size // 2), "steps of this network would take long on a processor"
    return size, reason


def _epochs(defaults: TrainingDefaults, steps_per_epoch: int) -> int:
    """Passes that make about as many steps as is usual."""
    return max(defaults.min_epochs, min(defaults.max_epochs, round(defaults.steps / steps_per_epoch)))


def _shortened(
    config: TrainingConfig, epochs: int | None, steps_per_epoch: int, most: int
) -> tuple[TrainingConfig, int | None, Decisions]:
    """Shorten what would take longer than minutes to at most so many steps, be it a part of an epoch."""
    usual = (epochs or 0) * steps_per_epoch
    if usual <= most:
        return config, epochs, ()
    fewer = most // steps_per_epoch
    reason = f"{usual} steps of this network would take long on a processor: about {most} end in minutes"
    if fewer * steps_per_epoch >= _MIN_STEPS:
        decision = Decision(field="training.epochs", value=fewer, reason=reason)
        return config.model_copy(update={"epochs": fewer}), fewer, (decision,)
    decision = Decision(field="training.steps", value=most, reason=reason)
    return config.model_copy(update={"epochs": None, "steps": most}), None, (decision,)


def _evaluate_every(config: TrainingConfig, epochs: int) -> tuple[int, str]:
    if config.early_stopping is not None:
        return 1, "early stopping looks after every epoch"
    return min(max(1, epochs // EVALUATIONS), MAX_EPOCHS), f"about {EVALUATIONS} measurements on the validation split"


def _resolve_schedule(
    schedule: AnySchedule, defaults: TrainingDefaults, total_steps: int
) -> tuple[ResolvedSchedule, Decisions]:
    """Raises `ConfigError` for a warm-up as long as the training, which would never reach the full rate."""
    given = schedule.warmup_steps
    if given != "auto" and 0 < given >= max(total_steps, 1):
        msg = (
            f"the warm-up takes {given} steps and the whole training {total_steps}: warm up for less, or train for "
            "longer"
        )
        raise ConfigError(("training", "schedule", "warmup_steps"), msg)
    steps = int(defaults.warmup * total_steps)
    reason = f"{defaults.warmup:.0%} of {total_steps} steps" if steps else "none is needed here"
    kind = ResolvedConstant if isinstance(schedule, Constant) else ResolvedCosine
    return filled(schedule, kind, {"warmup_steps": (steps, reason)}, "training.schedule.")


def _resolve_optimizer(optimizer: AnyOptimizer, purpose: Purpose) -> tuple[ResolvedOptimizer, Decisions]:
    kind = ResolvedAdam if isinstance(optimizer, Adam) else ResolvedSgd if isinstance(optimizer, Sgd) else ResolvedAdamW
    choices = {"lr": _lr(optimizer, purpose), "weight_decay": _weight_decay(purpose)}
    return filled(optimizer, kind, choices, "training.optimizer.")


def _lr(optimizer: AnyOptimizer, purpose: Purpose) -> tuple[float, str]:
    if not isinstance(optimizer, Sgd):
        return purpose.defaults.lr, f"the usual rate of {optimizer.kind} for {purpose.kind.replace('_', ' ')}"
    if purpose.defaults.sums_values:
        return 0.1 / math.prod(purpose.spec.shape), "0.1 over a row's dimensions, over which the loss sums"
    return 0.01, "the usual rate of sgd"


def _weight_decay(purpose: Purpose) -> tuple[float, str]:
    """The decay of adamw: a fixed prior on the weights weighs as 1 / rows against a mean loss."""
    if purpose.kind == "linear_probe":
        return min(1.0, max(1e-4, 100 / purpose.rows)), f"100 over {purpose.rows} labelled rows: few need much"
    decay = purpose.defaults.weight_decay
    return decay, "the usual decay of adamw" if decay else "the method itself says how weights shrink"
