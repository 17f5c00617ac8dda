"""Request and response bodies of instant heads."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.ml.fields import NameOrNames
from app.ml.kinds.heads import AnyHead
from app.ml.kinds.strategies.linear_probe import LayerIndex
from app.ml.spec import Decision, Frozen
from app.models.refs import MAX_REF, AliasName, ModelName
from app.models.schemas import Model
from app.predictions.schemas import MAX_INPUTS, Timeout, Unknown

DEFAULT_TARGET = "label"


class HeadsRequest(Frozen):
    """Fit heads on a model's backbone: on a dataset, or on rows of the request."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"model": "flower-features", "dataset": "flowers", "target": "kind", "name": "flower-heads"},
                {
                    "model": "flower-features",
                    "rows": [[1.4, 3.2], [1.5, 3.0], [4.7, 2.9], [4.9, 3.1]],
                    "labels": ["small", "small", "large", "large"],
                },
            ]
        }
    )

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
    climb: bool = Field(
        False,  # noqa: FBT003 - a field's default
        description="Whether a job goes on: a fine_tuning with the strategy automatic on the same dataset and targets, "
        "which moves the alias to its model where that answers rows left out better, by a 95 % interval above 0.",
    )
    alias: AliasName | None = Field(
        None,
        description="The alias of the new model that climbing may move: it means this head at once. null: best, which "
        "must be free.",
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
        if self.climb and self.rows is not None:
            msg = (
                "climb is a job, which reads a dataset, and rows of a request are not kept: upload them with their "
                "labels (POST /v1/datasets), and name the dataset instead of rows"
            )
            raise ValueError(msg)
        if self.alias is not None and not self.climb:
            msg = "alias is what climbing moves: give climb: true, or set it with PUT /v1/models/{name}/aliases/{alias}"
            raise ValueError(msg)
        return self

    @property
    def targets(self) -> tuple[str, ...]:
        """The names of the targets that the request names, each once."""
        if self.heads is not None:
            return tuple(dict.fromkeys(name for head in self.heads for name in head.targets))
        return () if self.target is None else (self.target,) if isinstance(self.target, str) else self.target


class Climbing(BaseModel):
    """The job that goes on up the ladder, and the alias that it may move."""

    job: str = Field(description="Its metrics.climb tells the scores, the gain, and whether the alias was moved.")
    alias: str
    revision: int = Field(description="Of the alias: the job moves it only while it is at this one.")
    url: str = Field(description="Of the job.")


class FittedModel(Model):
    """The model that was made, which answers from now on."""

    decisions: list[Decision] = Field(description="What was decided, and why.")
    climb: Climbing | None = Field(None, description="What goes on; null: nothing was asked for.")
