"""Requests and answers of Label Studio's contract. Fields that it adds in later versions are ignored."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.predictions.schemas import MAX_INPUTS

# The labelling config of the examples.
LABELLING = """<View><Text name="text" value="$text"/>
  <Choices name="kind" toName="text"><Choice value="complaint"/><Choice value="praise"/></Choices></View>"""
LabelConfig = Annotated[str, Field(max_length=1 << 20)]


class SetupRequest(BaseModel):
    """A project that is connected."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"project": "1.1700000000", "schema": LABELLING}]})

    project: str | None = None
    label_schema: LabelConfig | None = Field(None, alias="schema")


class Task(BaseModel):
    """A task: its data are what people see."""

    id: int | str | None = None
    data: dict[str, Any] | None = None


class PredictRequest(BaseModel):
    """Tasks to answer."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "tasks": [{"id": 1, "data": {"text": "the parcel was late"}}],
                    "project": "1.1700000000",
                    "label_config": LABELLING,
                }
            ]
        }
    )

    tasks: Annotated[list[Task], Field(min_length=1, max_length=MAX_INPUTS)]
    project: str | None = None
    label_config: LabelConfig


class Annotation(BaseModel):
    """What a person said of a task."""

    id: int | str | None = None
    result: list[dict[str, Any]] | None = None
    was_cancelled: bool | None = None


class LabellingProject(BaseModel):
    """The project that an event is of."""

    id: int | str
    label_config: LabelConfig | None = None


class WebhookEvent(BaseModel):
    """An event. Label Studio sends all; those that say nothing of labels are answered, and no more."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"action": "START_TRAINING", "project": {"id": 1, "label_config": LABELLING}}]}
    )

    action: Annotated[str, Field(max_length=100)]
    project: LabellingProject | None = None
    task: Task | None = None
    annotation: Annotation | list[Annotation] | None = None
    annotations: list[Annotation] | None = None
    tasks: list[Task] | None = None


class BackendHealth(BaseModel):
    """That the model is there."""

    status: Literal["UP"] = "UP"
    model_class: str = "Graftwork"


class Version(BaseModel):
    """The version that answers."""

    model_version: str


class Versions(BaseModel):
    """The versions of the name."""

    versions: list[str]


class Result(BaseModel):
    """One answer, as Label Studio keeps it."""

    from_name: str
    to_name: str
    type: Literal["choices"] = "choices"
    value: dict[str, list[str]]
    score: float


class TaskPrediction(BaseModel):
    """The answers to a task: none where the model has no head yet, or answers what is no choice of the project."""

    result: list[Result]
    score: float
    model_version: str


class PredictResponse(BaseModel):
    """One prediction per task, in order; `warnings` are our own addition."""

    results: list[TaskPrediction]
    model_version: str
    warnings: list[str] = []


class WebhookResponse(BaseModel):
    """What became of an event."""

    action: str
    rows: int | None = Field(None, description="Labelled rows of the project.")
    model_version: str | None = Field(None, description="The version that has learned them; null: none was made.")
    reason: str | None = Field(None, description="Why nothing was learned; null: it was.")
    warnings: list[str] = []
