"""Request and response bodies of aliases. Every field is present, null if empty."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.kit.clock import Timestamp
from app.ml.fields import Integer
from app.models.refs import MAX_REF

Action = Literal["set", "rolled_back", "deleted"]


class AliasRequest(BaseModel):
    """The version that an alias is to point at."""

    model_config = ConfigDict(extra="forbid")

    model: Annotated[str, Field(min_length=1, max_length=MAX_REF, description="Reference to a version of the model.")]


class RollbackRequest(BaseModel):
    """Where an alias goes back to."""

    model_config = ConfigDict(extra="forbid")

    revision: Annotated[Integer, Field(ge=1, le=2**53)] | None = Field(
        None, description="The revision of its history to go back to; null: the one before, as far as it differs."
    )


class Alias(BaseModel):
    """A movable name for one version of a model."""

    object: Literal["alias"] = "alias"
    name: str
    alias: str
    model: str
    version: int
    revision: int = Field(1, description="Counts its changes; also its ETag, for `If-Match`.")
    updated_at: Timestamp


class AliasList(BaseModel):
    """The aliases of a name."""

    object: Literal["list"] = "list"
    data: list[Alias]


class AliasChange(BaseModel):
    """One change of an alias."""

    revision: int
    action: Action
    model: str | None = Field(description="What it meant from then on; null: nothing, it was deleted.")
    version: int | None
    restores: int | None = Field(description="The revision that a rollback went back to.")
    changed_at: Timestamp


class AliasHistory(BaseModel):
    """The newest changes of an alias, the newest first."""

    object: Literal["list"] = "list"
    data: list[AliasChange]
