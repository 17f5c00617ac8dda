"""What a fine-tuning may ask for in addition to its model: proof that the pretrained weights help."""

from typing import Literal

from pydantic import Field

from app.ml.configs.training import ResolvedTraining, TrainingConfig
from app.ml.fields import Auto, Integer, Real
from app.ml.spec import Frozen


class TransferReport(Frozen):
    """Train the controls as well, and tell what pretraining is worth on these labels."""

    budget_seconds: Real = Field(
        60.0,
        gt=0,
        le=86_400,
        description="CPU seconds of the job that the comparison may take, on a GPU wall seconds; what does not fit in "
        "is null, with the reason and the budget that it needs.",
    )
    rounds: Integer = Field(
        10,
        ge=2,
        le=20,
        description="How often everything is trained at most, each time with another seed and other folds; fewer where "
        "more could not change the verdict.",
    )
    measured_on: Literal["auto", "folds", "test", "validation"] = Field(
        "auto",
        description="What is compared: answers to the labelled train rows by cross-validation (folds), or to those of "
        "a split; auto: the test or validation split where it has many labelled rows, else folds.",
    )
    folds: Integer = Field(
        5,
        ge=2,
        le=10,
        description="Parts of the train rows, each held out once a round; down to 3 where the budget needs it.",
    )
    scratch: Auto[TrainingConfig] = Field(
        "auto",
        description="How the same network is trained from scratch; auto: as the model is, but what was left to auto "
        "there becomes what suits new weights.",
    )


class ResolvedTransferReport(TransferReport):
    """The same once it is known what is compared on, and how the network from scratch is trained."""

    measured_on: Literal["folds", "test", "validation"]
    scratch: ResolvedTraining
