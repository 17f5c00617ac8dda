"""What a training's `"auto"` fields become.

The figures were chosen by trials on MNIST digits: 3,000 to pretrain on, 100 labels, and 900 others to compare on; none
of them is among the digits that any reported accuracy is measured on.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

from app.ml.errors import ConfigError
from app.ml.interfaces import Decision
from app.ml.spec import DataSpec
from app.ml.training import AnyOptimizer, Sgd, TrainingConfig

EVALUATIONS = 20  # of a training without early stopping: enough for a curve, cheap beside the steps


PurposeKind = Literal["pretraining", "linear_probe", "fine_tuning", "from_scratch"]


@dataclass(frozen=True, slots=True)
class Purpose:
    """What is trained on how many rows, and for a fine-tuning the targets of its heads."""

    kind: PurposeKind
    rows: int
    spec: DataSpec
    targets: tuple[str, ...] = ()

    @property
    def validation_rows(self) -> int:
        """Rows that the validation loss looks at: those that carry one of the targets, at least so many."""
        counts = [self.spec.labelled.get(target, self.spec.rows) for target in self.targets] or [self.spec.rows]
        return max(rows.get("validation", 0) for rows in counts)


@dataclass(frozen=True, slots=True)
class Recipe:
    """Starting values for one purpose: the batch is near `rows / batches`, between 32 and 256."""

    lr: float
    batches: int
    steps: int  # roughly this many optimizer steps ...
    fewest_epochs: int  # ... but at least so many passes
    most_epochs: int


RECIPES: dict[PurposeKind, Recipe] = {
    "pretraining": Recipe(lr=1e-3, batches=100, steps=1000, fewest_epochs=10, most_epochs=300),
    "linear_probe": Recipe(lr=1e-2, batches=8, steps=400, fewest_epochs=10, most_epochs=100),
    # The heads' rate; Full moves a pretrained backbone at a tenth of it.
    "fine_tuning": Recipe(lr=1e-2, batches=8, steps=400, fewest_epochs=10, most_epochs=100),
    "from_scratch": Recipe(lr=1e-3, batches=8, steps=400, fewest_epochs=10, most_epochs=100),
}
_SMALLEST_BATCH, _LARGEST_BATCH = 32, 256
_USUAL_DECAY = 0.01


def settle_training(config: TrainingConfig, purpose: Purpose) -> tuple[TrainingConfig, tuple[Decision, ...]]:
    """Replace every `"auto"`. Raises `ConfigError` for a choice that the data refuses."""
    if config.early_stopping is not None and purpose.validation_rows < 1:
        what = "validation rows that carry a head's target" if purpose.targets else "validation rows"
        msg = f"early stopping needs {what}, and the dataset has none: leave it out or split the dataset"
        raise ConfigError(("training", "early_stopping"), msg)
    recipe = RECIPES[purpose.kind]
    changes: dict[str, Any] = {}
    decisions: list[Decision] = []

    def decide(field: str, value: Any, reason: str) -> None:
        changes[field] = value
        decisions.append(Decision(field=f"training.{field}", value=value, reason=reason))

    if config.batch_size == "auto":
        decide("batch_size", _batch_size(recipe, purpose.rows), f"{purpose.rows} rows to train on")
    batch_size = changes.get("batch_size", config.batch_size)
    if config.epochs == "auto":
        epochs = _epochs(recipe, purpose.rows, batch_size)
        decide("epochs", epochs, f"{purpose.rows} rows in batches of {min(batch_size, purpose.rows)}")
    if config.evaluate_every == "auto":
        steps_per_epoch = math.ceil(purpose.rows / batch_size)
        epochs = changes.get("epochs", config.epochs) or math.ceil((config.steps or 1) / steps_per_epoch)
        decide("evaluate_every", *_evaluate_every(config, epochs))
    optimizer, more = _settle_optimizer(config.optimizer, recipe, purpose)
    changes["optimizer"] = optimizer
    return config.model_copy(update=changes), (*decisions, *more)


def _batch_size(recipe: Recipe, rows: int) -> int:
    """A power of two near rows / batches."""
    wanted: int = 2 ** round(math.log2(max(rows / recipe.batches, 1)))
    return max(1, min(rows, max(_SMALLEST_BATCH, min(_LARGEST_BATCH, wanted))))


def _epochs(recipe: Recipe, rows: int, batch_size: int) -> int:
    steps_per_epoch = math.ceil(rows / batch_size)
    return max(recipe.fewest_epochs, min(recipe.most_epochs, round(recipe.steps / steps_per_epoch)))


def _evaluate_every(config: TrainingConfig, epochs: int) -> tuple[int, str]:
    if config.early_stopping is not None:
        return 1, "early stopping looks after every epoch"
    return max(1, epochs // EVALUATIONS), f"about {EVALUATIONS} measurements on the validation split"


def _settle_optimizer(
    optimizer: AnyOptimizer, recipe: Recipe, purpose: Purpose
) -> tuple[AnyOptimizer, tuple[Decision, ...]]:
    found: dict[str, tuple[float, str]] = {}
    if optimizer.lr == "auto":
        found["lr"] = _lr(optimizer, recipe, purpose)
    if optimizer.weight_decay == "auto":
        found["weight_decay"] = _weight_decay(purpose)
    decisions = tuple(
        Decision(field=f"training.optimizer.{name}", value=value, reason=reason)
        for name, (value, reason) in found.items()
    )
    return optimizer.model_copy(update={name: value for name, (value, _) in found.items()}), decisions


def _lr(optimizer: AnyOptimizer, recipe: Recipe, purpose: Purpose) -> tuple[float, str]:
    if not isinstance(optimizer, Sgd):
        return recipe.lr, f"the usual rate of {optimizer.kind} for {purpose.kind.replace('_', ' ')}"
    if purpose.kind == "pretraining":
        # The loss of a row is a sum over its dimensions, and so is the gradient.
        return 0.1 / math.prod(purpose.spec.shape), "0.1 over a row's dimensions, over which the loss sums"
    return 0.01, "the usual rate of sgd"


def _weight_decay(purpose: Purpose) -> tuple[float, str]:
    """A fixed prior on the weights weighs as 1 / rows against a mean loss."""
    if purpose.kind != "linear_probe":
        return _USUAL_DECAY, "the usual decay of adamw"
    return min(1.0, max(1e-4, 100 / purpose.rows)), f"100 over {purpose.rows} labelled rows: few need much"
