"""How to train: the amount, the optimizer, the schedule and when to stop. Pure pydantic, no torch."""

import math
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from app.ml.fields import Auto, Integer, Real
from app.ml.kinds.optimizers import AdamW, AnyOptimizer, ResolvedOptimizer
from app.ml.kinds.schedules import AnySchedule, Cosine, ResolvedSchedule
from app.ml.spec import Frozen

MAX_EPOCHS = 100_000
Epochs = Annotated[Integer, Field(ge=1, le=MAX_EPOCHS)]
BatchSize = Annotated[Integer, Field(ge=1, le=1_000_000)]


class EarlyStopping(Frozen):
    """Stop when the validation loss no longer falls, and return to the best weights."""

    patience: Integer = Field(5, ge=1, le=10_000, description="Evaluations without improvement before stopping.")
    min_delta: Real = Field(0.0, ge=0, le=1e6, description="An improvement is a fall by more than this.")


class TrainingConfig(Frozen):
    """How to train. Give `epochs` or `steps`, not both; the defaults suit a hundred to some ten thousand rows."""

    epochs: Auto[Epochs] | None = Field(None, description="Passes over the train rows.")
    steps: Annotated[Integer, Field(ge=1, le=100_000_000)] | None = Field(
        None, description="Optimizer steps, instead of epochs."
    )
    batch_size: Auto[BatchSize] = Field("auto", description="Rows per step; more than there are means all of them.")
    optimizer: AnyOptimizer = Field(default_factory=AdamW, description="What moves the weights.")
    schedule: AnySchedule = Field(default_factory=Cosine, description="How the learning rate changes.")
    clip_grad_norm: Annotated[Real, Field(gt=0, le=1e6)] | None = Field(
        None, description="Longest allowed gradient; null leaves it."
    )
    precision: Literal["auto", "float32", "bfloat16", "native"] = Field(
        "auto",
        description="Arithmetic of matrix products and convolutions while training; weights stay float32. "
        "native: bfloat16 where the worker's processor or GPU multiplies it in hardware, else float32.",
    )
    seed: Integer = Field(0, ge=0, le=2**63 - 1, description="Starts every random choice.")
    early_stopping: EarlyStopping | None = Field(None, description="When to stop early; null trains to the end.")
    evaluate_every: Auto[Epochs] = Field("auto", description="Epochs between two measurements on the validation split.")
    checkpoint_seconds: Real = Field(30, ge=1, le=86_400, description="Seconds between two checkpoints.")
    checkpoint_steps: Annotated[Integer, Field(ge=1, le=100_000_000)] | None = Field(
        None, description="Also write one every so many steps; null does not."
    )

    @property
    def says_how(self) -> bool:
        """Whether anything is said of how a network is to be trained: not where it starts, nor what is saved."""
        fields = {"epochs", "steps", "batch_size", "optimizer", "schedule", "clip_grad_norm", "early_stopping"}
        usual = TrainingConfig()
        return any(getattr(self, name) != getattr(usual, name) for name in fields)

    @model_validator(mode="before")
    @classmethod
    def _one_length(cls, values: object) -> object:
        if not isinstance(values, dict) or values.get("epochs") is not None:
            return values
        return values if values.get("steps") is not None else {**values, "epochs": "auto"}

    @model_validator(mode="after")
    def _not_both(self) -> Self:
        if self.epochs is not None and self.steps is not None:
            msg = "give epochs or steps, not both"
            raise ValueError(msg)
        return self


class ResolvedTraining(TrainingConfig):
    """A training whose length and manner are known."""

    epochs: Epochs | None
    batch_size: BatchSize
    optimizer: ResolvedOptimizer
    schedule: ResolvedSchedule
    precision: Literal["float32", "bfloat16", "native"]
    evaluate_every: Epochs

    def without_evaluations(self) -> Self:
        """Return the same training, evaluated at its end alone."""
        return self.model_copy(update={"evaluate_every": MAX_EPOCHS})

    def steps_per_epoch(self, rows: int) -> int:
        """Optimizer steps of one pass over `rows`; the last may take fewer rows."""
        return math.ceil(rows / self.batch_size)

    def total_steps(self, rows: int) -> int:
        """Optimizer steps: as configured, or those of all epochs over `rows`."""
        return self.steps or (self.epochs or 0) * self.steps_per_epoch(rows)
