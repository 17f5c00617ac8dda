"""What a training's `"auto"` fields become. The figures were chosen on validation rows, see docs/log.md."""

import math
from dataclasses import dataclass
from typing import Any, Literal

from app.ml.errors import ConfigError
from app.ml.interfaces import Decision
from app.ml.spec import DataSpec
from app.ml.training import AnyOptimizer, Sgd, TrainingConfig

EVALUATIONS = 20  # of a training without early stopping: enough for a curve, cheap beside the steps


@dataclass(frozen=True, slots=True)
class Purpose:
    """What is trained on how many rows."""

    kind: Literal["pretraining", "linear_probe", "full"]
    rows: int
    spec: DataSpec


@dataclass(frozen=True, slots=True)
class Recipe:
    """Starting values for one purpose: the batch is `rows / batches`, within its bounds."""

    lr: float
    batches: int
    smallest_batch: int
    largest_batch: int
    steps: int  # roughly this many optimizer steps ...
    fewest_epochs: int  # ... but at least so many passes
    most_epochs: int


RECIPES: dict[str, Recipe] = {
    "pretraining": Recipe(
        lr=1e-3, batches=16, smallest_batch=32, largest_batch=256, steps=600, fewest_epochs=10, most_epochs=300
    ),
    "linear_probe": Recipe(
        lr=1e-2, batches=8, smallest_batch=32, largest_batch=256, steps=400, fewest_epochs=10, most_epochs=100
    ),
    "full": Recipe(
        lr=1e-3, batches=8, smallest_batch=32, largest_batch=256, steps=400, fewest_epochs=10, most_epochs=100
    ),
}


def settle_training(config: TrainingConfig, purpose: Purpose) -> tuple[TrainingConfig, tuple[Decision, ...]]:
    """Replace every `"auto"`. Raises `ConfigError` for a choice that the data refuses."""
    if config.early_stopping is not None and purpose.spec.rows.get("validation", 0) < 1:
        msg = "early stopping needs validation rows, and the dataset has none: leave it out or split the dataset"
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
        every, reason = _evaluate_every(config, changes.get("epochs", config.epochs))
        decide("evaluate_every", every, reason)
    if config.optimizer.lr == "auto":
        lr, reason = _lr(config.optimizer, recipe, purpose)
        changes["optimizer"] = config.optimizer.model_copy(update={"lr": lr})
        decisions.append(Decision(field="training.optimizer.lr", value=lr, reason=reason))
    return config.model_copy(update=changes), tuple(decisions)


def _batch_size(recipe: Recipe, rows: int) -> int:
    """A power of two near rows / batches."""
    wanted: int = 2 ** round(math.log2(max(rows / recipe.batches, 1)))
    return max(1, min(rows, max(recipe.smallest_batch, min(recipe.largest_batch, wanted))))


def _epochs(recipe: Recipe, rows: int, batch_size: int) -> int:
    steps_per_epoch = math.ceil(rows / batch_size)
    return max(recipe.fewest_epochs, min(recipe.most_epochs, round(recipe.steps / steps_per_epoch)))


def _evaluate_every(config: TrainingConfig, epochs: int | None) -> tuple[int, str]:
    if config.early_stopping is not None:
        return 1, "early stopping looks after every epoch"
    if epochs is None:
        return 1, "the length is given in steps"
    return max(1, epochs // EVALUATIONS), f"about {EVALUATIONS} measurements on the validation split"


def _lr(optimizer: AnyOptimizer, recipe: Recipe, purpose: Purpose) -> tuple[float, str]:
    if not isinstance(optimizer, Sgd):
        return recipe.lr, f"the usual rate of {optimizer.kind} for {purpose.kind.replace('_', ' ')}"
    if purpose.kind == "pretraining":
        # The loss of a row is a sum over its dimensions, and so is the gradient.
        return 0.1 / math.prod(purpose.spec.shape), "0.1 over a row's dimensions, over which the loss sums"
    return 0.01, "the usual rate of sgd"
