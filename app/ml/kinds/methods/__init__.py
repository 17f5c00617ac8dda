"""Pretraining methods. A new kind is a file here and two lines below."""

from typing import Annotated

from pydantic import Field

from app.ml.interfaces import MethodConfig
from app.ml.interfaces.resolvable import ResolvedKinds
from app.ml.kinds.methods.autoencoder import Autoencoder
from app.ml.kinds.methods.denoising_autoencoder import DenoisingAutoencoder
from app.ml.kinds.methods.kmeans import KMeans
from app.ml.kinds.methods.masked_autoencoder import MaskedAutoencoder
from app.ml.kinds.methods.masked_language import MaskedLanguage
from app.ml.kinds.methods.masked_steps import MaskedSteps
from app.ml.kinds.methods.next_token import NextToken
from app.ml.kinds.methods.simclr import SimClr
from app.ml.kinds.methods.variational_autoencoder import VariationalAutoencoder
from app.ml.kinds.methods.vicreg import VicReg

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
ResolvedMethod = Annotated[MethodConfig, ResolvedKinds(AnyMethod)]
