"""Pretraining methods. A new kind is a file here and two lines below."""

from typing import Annotated

from pydantic import Field

from app.ml.methods.autoencoder import Autoencoder
from app.ml.methods.denoising_autoencoder import DenoisingAutoencoder
from app.ml.methods.variational_autoencoder import VariationalAutoencoder

AnyMethod = Annotated[
    Autoencoder
    | DenoisingAutoencoder
    | VariationalAutoencoder,
    Field(discriminator="kind"),
]  # fmt: skip
