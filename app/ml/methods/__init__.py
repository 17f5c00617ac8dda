"""Pretraining methods. A new kind is a file here and two lines below."""

from typing import Annotated

from pydantic import Field

from app.ml.methods.autoencoder import Autoencoder
from app.ml.methods.denoising_autoencoder import DenoisingAutoencoder
from app.ml.methods.kmeans import KMeans
from app.ml.methods.masked_autoencoder import MaskedAutoencoder
from app.ml.methods.masked_language import MaskedLanguage
from app.ml.methods.masked_steps import MaskedSteps
from app.ml.methods.next_token import NextToken
from app.ml.methods.simclr import SimClr
from app.ml.methods.variational_autoencoder import VariationalAutoencoder
from app.ml.methods.vicreg import VicReg

AnyMethod = Annotated[
    Autoencoder
    | DenoisingAutoencoder
    | KMeans
    | MaskedAutoencoder
    | VariationalAutoencoder
    | SimClr
    | VicReg
    | NextToken
    | MaskedLanguage
    | MaskedSteps,
    Field(discriminator="kind"),
]  # fmt: skip
