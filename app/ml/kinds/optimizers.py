"""Optimizers: the choices, and what they are once resolved. Pure pydantic, no torch.

`moments` says how many values an optimizer keeps of each weight.
"""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from app.ml.fields import Auto, Rate, Real
from app.ml.spec import Frozen

Lr = Annotated[Real, Field(gt=0, le=100)]
Decay = Annotated[Real, Field(ge=0, le=100)]


class Adam(Frozen):
    """Adam (Kingma and Ba, 2015), as torch.optim.Adam."""

    moments: ClassVar[int] = 2
    kind: Literal["adam"] = "adam"
    lr: Auto[Lr] = Field("auto", description="Learning rate.")
    betas: tuple[Rate, Rate] = Field((0.9, 0.999), description="Decay rates of the two running moments.")
    weight_decay: Decay = Field(0.0, description="L2 penalty, added to the gradient.")


class AdamW(Frozen):
    """AdamW (Loshchilov and Hutter, 2019), as torch.optim.AdamW."""

    moments: ClassVar[int] = 2
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

    @property
    def moments(self) -> int:
        """None without momentum."""
        return 1 if self.momentum else 0


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
