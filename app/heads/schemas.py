"""Request and response bodies of instant heads."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from app.ml.fields import NameOrNames
from app.ml.kinds.heads import AnyHead
from app.ml.kinds.strategies.linear_probe import LayerIndex
from app.ml.spec import Decision, Frozen
from app.models.refs import MAX_REF, ModelName
from app.models.schemas import Model
from app.predictions.schemas import MAX_INPUTS, Timeout, Unknown

DEFAULT_TARGET = "label"


class HeadsRequest(Frozen):
    """Fit heads on a model's backbone: on a dataset, or on rows of the request."""

    model: Annotated[str, Field(max_length=MAX_REF)] = Field(
        description="The pretrained model: an id, name, name@version or name@alias."
    )
    dataset: Annotated[str, Field(max_length=200)] | None = Field(
        None, description="Id of a ready dataset, or a name: the newest ready one of that name."
    )
    rows: Annotated[list[Any], Field(min_length=1, max_length=MAX_INPUTS)] | None = Field(
        None, description="Instead of a dataset: rows as predictions take them. They are not kept."
    )
    labels: Annotated[list[Any], Field(min_length=1, max_length=MAX_INPUTS)] | None = Field(
        None,
        description="A label of each row: a class, a number, or a list of labels; null: none. Without this, rows are "
        "objects that hold their labels under the names of the targets.",
    )
    target: NameOrNames | None = Field(
        None,
        description="The target to learn, or several, each by a head of its own; null: the dataset's only one, or for "
        "`labels` the name label.",
    )
    heads: Annotated[tuple[AnyHead, ...], Field(min_length=1, max_length=100)] | None = Field(
        None, description="Instead of target: the heads with their fields. They must be linear."
    )
    layer: Literal["last", "all"] | LayerIndex = Field(
        "last", description="Whose features the heads get: the last layer's, all layers', or one's by its index."
    )
    name: ModelName | None = Field(
        None, description="Name of the model that comes out; null: after the model and its targets."
    )
    unknown: Unknown = Field(
        "warn", description="Whether rows that hold what training did not see are warned of, or refused."
    )
    timeout: Timeout | None = Field(
        None, description="Seconds that the answer may take; by default GRAFTWORK_PREDICTION_SECONDS."
    )

    @model_validator(mode="after")
    def _is_one_question(self) -> Self:
        if (self.dataset is None) == (self.rows is None):
            msg = "give either dataset, or rows with their labels"
            raise ValueError(msg)
        if self.labels is not None and self.rows is None:
            msg = "labels are those of rows: a dataset has its own, so leave them out"
            raise ValueError(msg)
        if self.target is not None and self.heads is not None:
            msg = "give either target, or heads, which name their targets"
            raise ValueError(msg)
        if self.rows is not None and self.labels is not None and len(self.labels) != len(self.rows):
            msg = f"there are {len(self.rows)} rows and {len(self.labels)} labels: give one for each row, or null"
            raise ValueError(msg)
        return self

    @property
    def targets(self) -> tuple[str, ...]:
        """The names of the targets that the request names, each once."""
        if self.heads is not None:
            return tuple(dict.fromkeys(name for head in self.heads for name in head.targets))
        return () if self.target is None else (self.target,) if isinstance(self.target, str) else self.target


class FittedModel(Model):
    """The model that was made, which answers from now on."""

    decisions: list[Decision] = Field(description="What was decided, and why.")
