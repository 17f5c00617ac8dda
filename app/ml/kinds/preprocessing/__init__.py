"""What may be chosen of preprocessing, one kind per modality. A new kind is a file here and two lines below."""

from typing import Annotated

from pydantic import Field

from app.ml.interfaces import PreprocessingConfig
from app.ml.interfaces.resolvable import ResolvedKinds
from app.ml.kinds.preprocessing.image import ImagePreprocessing
from app.ml.kinds.preprocessing.series import SeriesPreprocessing
from app.ml.kinds.preprocessing.table import TablePreprocessing
from app.ml.kinds.preprocessing.text import TextPreprocessing

AnyPreprocessing = Annotated[
    ImagePreprocessing
    | TablePreprocessing
    | SeriesPreprocessing
    | TextPreprocessing,
    Field(discriminator="kind"),
]  # fmt: skip
ResolvedPreprocessing = Annotated[PreprocessingConfig, ResolvedKinds(AnyPreprocessing)]
