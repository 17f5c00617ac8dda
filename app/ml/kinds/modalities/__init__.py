"""Modalities: how stored rows and JSON become tensors. A new kind is a file here and two lines below."""

from typing import Annotated

from pydantic import Field

from app.ml.kinds.modalities.image import Image
from app.ml.kinds.modalities.series import Series
from app.ml.kinds.modalities.table import Table
from app.ml.kinds.modalities.text import Text

AnyModality = Annotated[
    Image
    | Table
    | Series
    | Text,
    Field(discriminator="kind"),
]  # fmt: skip
