"""What the prediction endpoints take and answer."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

MAX_INPUTS = 4096


class Inputs(BaseModel):
    """Rows to answer, in the form of the model's modality: lists, objects by column, or images in base64."""

    model_config = ConfigDict(extra="forbid")

    inputs: Annotated[list[Any], Field(min_length=1, max_length=MAX_INPUTS)]


class ModelName(BaseModel):
    """Which model has answered."""

    id: str
    name: str
    version: int


class Predictions(BaseModel):
    """One prediction per input, in order; in each one key per head."""

    model: ModelName
    predictions: list[dict[str, Any]]


class Embeddings(BaseModel):
    """One embedding per input, in order."""

    model: ModelName
    embeddings: list[list[float]]
