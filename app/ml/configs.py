"""The learning half of a job's request."""

from typing import Self

from pydantic import Field, model_validator

from app.ml.backbones import AnyBackbone
from app.ml.fields import Auto
from app.ml.heads import AnyHead
from app.ml.methods import AnyMethod
from app.ml.methods.autoencoder import Autoencoder
from app.ml.spec import Frozen
from app.ml.strategies import AnyStrategy
from app.ml.training import TrainingConfig


class PretrainingConfig(Frozen):
    """Learn a backbone from rows without labels."""

    backbone: Auto[AnyBackbone] = Field("auto", description="The network; auto: convnet for images, mlp for tables.")
    method: AnyMethod = Field(default_factory=Autoencoder, description="What it learns from.")
    training: TrainingConfig = Field(default_factory=TrainingConfig, description="How it is trained.")


class FineTuningConfig(Frozen):
    """Learn heads, on a pretrained backbone or from scratch."""

    heads: tuple[AnyHead, ...] = Field(min_length=1, max_length=64, description="What to predict.")
    strategy: Auto[AnyStrategy] = Field(
        "auto", description="How the backbone is adapted; auto: linear_probe with few labels, else full."
    )
    backbone: Auto[AnyBackbone] = Field("auto", description="The network, when no pretrained model is given.")
    training: TrainingConfig = Field(default_factory=TrainingConfig, description="How it is trained.")

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        keys = [head.key for head in self.heads]
        twice = sorted({key for key in keys if keys.count(key) > 1})
        if twice:
            msg = f"two heads answer under the name {twice[0]!r}: give one of them another name"
            raise ValueError(msg)
        return self
