"""Schedules of the learning rate: the choices, and what they are once resolved. Pure pydantic, no torch."""

from typing import Annotated, Literal

from pydantic import Field

from app.ml.fields import Auto, Integer, Real
from app.ml.spec import Frozen

Warmup = Annotated[Integer, Field(ge=0, le=10_000_000)]
_WARMUP = "Steps in which the rate rises linearly."


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
