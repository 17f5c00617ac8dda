"""Augmentations: random changes of training rows. A new kind is a file here and two lines below."""

from typing import Annotated

from pydantic import Field

from app.ml.augmentations.noise import Noise

AnyAugmentation = Annotated[
    Noise,
    Field(discriminator="kind"),
]  # fmt: skip
