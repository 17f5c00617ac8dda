"""Strategies: how a backbone is adapted to heads. A new kind is a file here and two lines below."""

from typing import Annotated

from pydantic import Field

from app.ml.strategies.full import Full
from app.ml.strategies.linear_probe import LinearProbe

AnyStrategy = Annotated[
    LinearProbe
    | Full,
    Field(discriminator="kind"),
]  # fmt: skip
