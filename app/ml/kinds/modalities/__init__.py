"""Modalities: how stored rows and JSON become tensors. A new kind is a file here and two lines below."""

from typing import Annotated

from pydantic import Field

from app.ml.kinds.modalities.image import ImageModality
from app.ml.kinds.modalities.series import SeriesModality
from app.ml.kinds.modalities.table import TableModality
from app.ml.kinds.modalities.text import TextModality

AnyModality = Annotated[
    ImageModality
    | TableModality
    | SeriesModality
    | TextModality,
    Field(discriminator="kind"),
]  # fmt: skip
