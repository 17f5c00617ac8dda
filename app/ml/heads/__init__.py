"""Heads: one answers one target. A new kind is a file here and two lines below."""

from typing import Annotated

from pydantic import Field

from app.ml.heads.classifier import Classifier
from app.ml.heads.generator import Generator
from app.ml.heads.regressor import Regressor

AnyHead = Annotated[
    Classifier
    | Regressor
    | Generator,
    Field(discriminator="kind"),
]  # fmt: skip
