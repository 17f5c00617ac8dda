"""How to train: the amount, the optimizer, the schedule and when to stop. Pure pydantic, no torch."""

import math
from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from app.ml.configs.fields import Auto, Integer, Rate, Real
from app.ml.data.spec import Frozen

Lr = Annotated[Real, Field(gt=0, le=100)]
Decay = Annotated[Real, Field(ge=0, le=100)]
Warmup = Annotated[Integer, Field(ge=0, le=10_000_000)]
Epochs = Annotated[Integer, Field(ge=1, le=100_000)]
BatchSize = Annotated[Integer, Field(ge=1, le=1_000_000)]
_WARMUP = "Steps in which the rate rises linearly."


class Adam(Frozen):
    """Adam (Kingma and Ba, 2015), as torch.optim.Adam."""

    kind: Literal["adam"] = "adam"
    lr: Auto[Lr] = Field("auto", description="Learning rate.")
    betas: tuple[Rate, Rate] = Field((0.9, 0.999), description="Decay rates of the two running moments.")
    weight_decay: Decay = Field(0.0, description="L2 penalty, added to the gradient.")


class AdamW(Frozen):
    """AdamW (Loshchilov and Hutter, 2019), as torch.optim.AdamW."""

    kind: Literal["adamw"] = "adamw"
    lr: Auto[Lr] = Field("auto", description="Learning rate.")
    betas: tuple[Rate, Rate] = Field((0.9, 0.999), description="Decay rates of the two running moments.")
    weight_decay: Auto[Decay] = Field("auto", description="Decoupled weight decay, relative to the learning rate.")


class Sgd(Frozen):
    """Stochastic gradient descent (Robbins and Monro, 1951; Sutskever et al., 2013), as torch.optim.SGD."""

    kind: Literal["sgd"] = "sgd"
    lr: Auto[Lr] = Field("auto", description="Learning rate.")
    momentum: Rate = Field(0.9, description="Share of the last step that is kept.")
    nesterov: bool = Field(
        default=False, strict=True, description="Look ahead along the momentum (needs momentum > 0)."
    )
    weight_decay: Decay = Field(0.0, description="L2 penalty, added to the gradient.")

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> Self:
        if self.nesterov and self.momentum == 0:
            msg = "nesterov needs a momentum above 0"
            raise ValueError(msg)
        return self


class ResolvedAdam(Adam):
    """Adam at a known rate."""

    lr: Lr


class ResolvedAdamW(AdamW):
    """AdamW at a known rate and decay."""

    lr: Lr
    weight_decay: Decay


class ResolvedSgd(Sgd):
    """Stochastic gradient descent at a known rate."""

    lr: Lr


AnyOptimizer = Annotated[
    Adam
    | AdamW
    | Sgd,
    Field(discriminator="kind"),
]  # fmt: skip


ResolvedOptimizer = Annotated[ResolvedAdam | ResolvedAdamW | ResolvedSgd, Field(discriminator="kind")]


class Constant(Frozen):
    """The rate stays, after a linear warm-up."""

    kind: Literal["constant"] = "constant"
    warmup_steps: Auto[Warmup] = Field("auto", description=_WARMUP)


class Cosine(Frozen):
    """Half a cosine from the full rate to its end (Loshchilov and Hutter, 2017), after a linear warm-up."""

    kind: Literal["cosine"] = "cosine"
    warmup_steps: Auto[Warmup] = Field("auto", description=_WARMUP)
    final_fraction: Real = Field(0.01, ge=0, le=1, description="The last step's rate, as a share of the full one.")


class ResolvedConstant(Constant):
    """A constant rate after a known warm-up."""

    warmup_steps: Warmup


class ResolvedCosine(Cosine):
    """Half a cosine after a known warm-up."""

    warmup_steps: Warmup


AnySchedule = Annotated[
    Constant
    | Cosine,
    Field(discriminator="kind"),
]  # fmt: skip


ResolvedSchedule = Annotated[ResolvedConstant | ResolvedCosine, Field(discriminator="kind")]


@dataclass(frozen=True, slots=True)
class TrainingDefaults:
    """Starting values for what is left "auto": the batch is near `rows / batches`, at least 32 and at most the largest.

    A pretraining method may have its own.
    """

    lr: float  # of adam and adamw
    batches: int
    steps: int  # roughly this many optimizer steps ...
    min_epochs: int  # ... but at least so many passes
    max_epochs: int
    max_batch_size: int = 256
    weight_decay: float = 0.01  # of adamw
    warmup: float = 0.0  # share of the steps
    precision: Literal["float32", "native"] = "float32"
    sums_values: bool = False  # whether a row's loss is a sum over its values, and with it sgd's gradient


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

    def steps_per_epoch(self, rows: int) -> int:
        """Optimizer steps of one pass over `rows`; the last may take fewer rows."""
        return math.ceil(rows / self.batch_size)

    def total_steps(self, rows: int) -> int:
        """Optimizer steps: as configured, or those of all epochs over `rows`."""
        return self.steps or (self.epochs or 0) * self.steps_per_epoch(rows)
