"""Heads: one answers a target, or some together. A new kind is a file here and two lines below."""

from typing import Annotated

from pydantic import Field

from app.ml.kinds.heads.classifier import Classifier
from app.ml.kinds.heads.generator import Generator
from app.ml.kinds.heads.multi_label import MultiLabel
from app.ml.kinds.heads.regressor import Regressor

AnyHead = Annotated[
    Classifier
    | MultiLabel
    | Regressor
    | Generator,
    Field(discriminator="kind"),
]  # fmt: skip
