"""What labels add to a pretraining. A new kind is a file here and two lines below."""

from typing import Annotated

from pydantic import Field

from app.ml.interfaces.resolvable import ResolvedKinds
from app.ml.kinds.supervision.base import SupervisionConfig
from app.ml.kinds.supervision.contrastive import Contrastive
from app.ml.kinds.supervision.supervised import Supervised

AnySupervision = Annotated[
    Supervised
    | Contrastive,
    Field(discriminator="kind"),
]  # fmt: skip
ResolvedSupervision = Annotated[SupervisionConfig, ResolvedKinds(AnySupervision)]
