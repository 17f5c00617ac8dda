"""Balancing: how several heads share a backbone. A new kind is a file here and two lines below."""

from typing import Annotated

from pydantic import Field

from app.ml.kinds.balancing.fixed import Fixed
from app.ml.kinds.balancing.gradnorm import GradNorm
from app.ml.kinds.balancing.pcgrad import PcGrad
from app.ml.kinds.balancing.uncertainty import Uncertainty

AnyBalancing = Annotated[
    Fixed
    | Uncertainty
    | GradNorm
    | PcGrad,
    Field(discriminator="kind"),
]  # fmt: skip
