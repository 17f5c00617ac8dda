"""What a training's `"auto"` fields become.

The figures were chosen by trials on MNIST digits: 3,000 to pretrain on, 100 labels, and 900 others to compare on; none
of them is among the digits that any reported accuracy is measured on.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

from app.ml.configs.training import AnyOptimizer, AnySchedule, Sgd, TrainingConfig, TrainingDefaults
from app.ml.data.spec import DataSpec
from app.ml.errors import ConfigError
from app.ml.interfaces import Decision

EVALUATIONS = 20  # of a training without early stopping: enough for a curve, cheap beside the steps


Choices = dict[str, tuple[Any, str]]  # by field: the value and why
PurposeKind = Literal["pretraining", "linear_probe", "fine_tuning", "from_scratch"]


@dataclass(frozen=True, slots=True)
class Purpose:
    """What is trained on how many rows, and for a fine-tuning the targets of its heads."""

    kind: PurposeKind
    rows: int
    spec: DataSpec
    targets: tuple[str, ...] = ()
    own: TrainingDefaults | None = None  # the method's

    @property
    def defaults(self) -> TrainingDefaults:
        """What "auto" starts from."""
        return self.own or DEFAULTS[self.kind]

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


def resolve_training(config: TrainingConfig, purpose: Purpose) -> tuple[TrainingConfig, tuple[Decision, ...]]:
    """Replace every `"auto"`. Raises `ConfigError` for a choice that the data refuses."""
    _check_early_stopping(config, purpose)
    changes = _length(config, purpose)
    resolved = config.model_copy(update={name: value for name, (value, _) in changes.items()})
    changes |= _manner(resolved, purpose)
    decisions = tuple(
        Decision(field=f"training.{name}", value=value, reason=reason) for name, (value, reason) in changes.items()
    )
    optimizer, of_optimizer = _resolve_optimizer(config.optimizer, purpose)
    schedule, of_schedule = _resolve_schedule(config.schedule, purpose.defaults, resolved.total_steps(purpose.rows))
    update = {name: value for name, (value, _) in changes.items()} | {"optimizer": optimizer, "schedule": schedule}
    return config.model_copy(update=update), (*decisions, *of_optimizer, *of_schedule)


def _check_early_stopping(config: TrainingConfig, purpose: Purpose) -> None:
    if config.early_stopping is not None and purpose.validation_rows < 1:
        what = "validation rows that carry a head's target" if purpose.targets else "validation rows"
        msg = f"early stopping needs {what}, and the dataset has none: leave it out or split the dataset"
        raise ConfigError(("training", "early_stopping"), msg)


def _length(config: TrainingConfig, purpose: Purpose) -> Choices:
    """The batch and the epochs."""
    found: Choices = {}
    rows = purpose.rows
    batch_size = config.batch_size
    if batch_size == "auto":
        batch_size = _batch_size(purpose.defaults, rows)
        found["batch_size"] = (batch_size, f"{rows} rows to train on")
    if config.epochs == "auto":
        epochs = _epochs(purpose.defaults, rows, batch_size)
        found["epochs"] = (epochs, f"{rows} rows in batches of {min(batch_size, rows)}")
    return found


def _manner(config: TrainingConfig, purpose: Purpose) -> Choices:
    """What can only be said once the length is known: how often to measure; and in which arithmetic."""
    found: Choices = {}
    if config.evaluate_every == "auto":
        epochs = math.ceil(config.total_steps(purpose.rows) / config.steps_per_epoch(purpose.rows))
        found["evaluate_every"] = _evaluate_every(config, epochs)
    if config.precision == "auto":
        native = purpose.defaults.precision == "native"
        reason = "bfloat16 where the worker has it: this loses nothing" if native else "exact, and no slower here"
        found["precision"] = (purpose.defaults.precision, reason)
    return found


def _batch_size(defaults: TrainingDefaults, rows: int) -> int:
    """A power of two near rows / batches."""
    wanted: int = 2 ** round(math.log2(max(rows / defaults.batches, 1)))
    return max(1, min(rows, defaults.max_batch_size, max(_MIN_BATCH, wanted)))


def _epochs(defaults: TrainingDefaults, rows: int, batch_size: int) -> int:
    steps_per_epoch = math.ceil(rows / batch_size)
    return max(defaults.min_epochs, min(defaults.max_epochs, round(defaults.steps / steps_per_epoch)))


def _evaluate_every(config: TrainingConfig, epochs: int) -> tuple[int, str]:
    if config.early_stopping is not None:
        return 1, "early stopping looks after every epoch"
    return max(1, epochs // EVALUATIONS), f"about {EVALUATIONS} measurements on the validation split"


def _resolve_schedule(
    schedule: AnySchedule, defaults: TrainingDefaults, total_steps: int
) -> tuple[AnySchedule, tuple[Decision, ...]]:
    """A warm-up as long as the training would never reach the full rate. Raises `ConfigError`."""
    if schedule.warmup_steps != "auto":
        if schedule.warmup_steps >= max(total_steps, 1) and schedule.warmup_steps > 0:
            msg = (
                f"the warm-up takes {schedule.warmup_steps} steps and the whole training {total_steps}: "
                "warm up for less, or train for longer"
            )
            raise ConfigError(("training", "schedule", "warmup_steps"), msg)
        return schedule, ()
    steps = int(defaults.warmup * total_steps)
    reason = f"{defaults.warmup:.0%} of {total_steps} steps" if steps else "none is needed here"
    decision = Decision(field="training.schedule.warmup_steps", value=steps, reason=reason)
    return schedule.model_copy(update={"warmup_steps": steps}), (decision,)


def _resolve_optimizer(optimizer: AnyOptimizer, purpose: Purpose) -> tuple[AnyOptimizer, tuple[Decision, ...]]:
    found: dict[str, tuple[float, str]] = {}
    if optimizer.lr == "auto":
        found["lr"] = _lr(optimizer, purpose)
    if optimizer.weight_decay == "auto":
        found["weight_decay"] = _weight_decay(purpose)
    decisions = tuple(
        Decision(field=f"training.optimizer.{name}", value=value, reason=reason)
        for name, (value, reason) in found.items()
    )
    return optimizer.model_copy(update={name: value for name, (value, _) in found.items()}), decisions


def _lr(optimizer: AnyOptimizer, purpose: Purpose) -> tuple[float, str]:
    if not isinstance(optimizer, Sgd):
        return purpose.defaults.lr, f"the usual rate of {optimizer.kind} for {purpose.kind.replace('_', ' ')}"
    if purpose.defaults.sums_values:
        return 0.1 / math.prod(purpose.spec.shape), "0.1 over a row's dimensions, over which the loss sums"
    return 0.01, "the usual rate of sgd"


def _weight_decay(purpose: Purpose) -> tuple[float, str]:
    """A fixed prior on the weights weighs as 1 / rows against a mean loss."""
    if purpose.kind == "linear_probe":
        return min(1.0, max(1e-4, 100 / purpose.rows)), f"100 over {purpose.rows} labelled rows: few need much"
    decay = purpose.defaults.weight_decay
    return decay, "the usual decay of adamw" if decay else "the method itself says how weights shrink"
