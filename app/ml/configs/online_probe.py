"""What is looked at while a backbone is pretrained; labels that only watch never move a weight."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from app.ml.fields import Integer, Name
from app.ml.spec import Frozen


class OnlineProbeConfig(Frozen):
    """At each evaluation: how much of the features is alive, and with a target how well a probe does on them."""

    __qualname__ = "Watch"  # its name in the OpenAPI document, which clients know

    target: Name | None = Field(
        None, description="The target that a linear probe answers, on labelled train rows; null: no label is looked at."
    )
    dataset: Annotated[str, Field(min_length=1, max_length=200)] | None = Field(
        None,
        description="Id or name of the dataset whose labels watch, with the same columns; null: the one pretrained on.",
    )
    rows: Integer = Field(1000, ge=10, le=2000, description="Rows that are looked at, at most; always the same ones.")
    keep: Literal["last", "best"] = Field(
        "last", description="Which weights are kept in the end: the last, or those that were best for the probe."
    )
    patience: Annotated[Integer, Field(ge=1, le=10_000)] | None = Field(
        None, description="Evaluations without a better probe before training stops; null trains to the end."
    )

    @model_validator(mode="after")
    def _a_probe_needs_a_target(self) -> Self:
        needing = {"dataset": self.dataset, "keep": self.keep == "best", "patience": self.patience}
        asked = [name for name, value in needing.items() if value]
        if self.target is None and asked:
            msg = f"{asked[0]} is about a probe: name the target that it answers, or leave this out"
            raise ValueError(msg)
        return self
