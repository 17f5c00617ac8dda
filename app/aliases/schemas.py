"""Request and response bodies of aliases. Every field is present, null if empty."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.kit.clock import Timestamp
from app.ml.fields import Integer, Real
from app.models.refs import MAX_REF

Action = Literal["set", "rolled_back", "deleted"]
MAX_VERSIONS = 10
Reference = Annotated[str, Field(min_length=1, max_length=MAX_REF)]
Weight = Annotated[Real, Field(gt=0, le=1e6)]


class AliasRequest(BaseModel):
    """The version that an alias is to point at, or several among which requests are dealt; and maybe a shadow."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"model": "flower-kinds@1"}]})

    model: Reference | None = Field(None, description="Reference to the version that answers all requests.")
    versions: dict[Reference, Weight] | None = Field(
        None,
        min_length=1,
        max_length=MAX_VERSIONS,
        description="Instead of model: versions (3, or any reference) and their weights, such as {'3': 90, '4': 10}.",
    )
    shadow: Reference | None = Field(
        None,
        description="A version that computes a copy of predictions after they were answered; its answers are compared "
        "and never sent.",
    )
    shadow_share: Annotated[Real, Field(gt=0, le=1)] = Field(1.0, description="Of how many predictions; 1: of all.")

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.model is None) == (self.versions is None):
            msg = "give either model or versions"
            raise ValueError(msg)
        return self


class RollbackRequest(BaseModel):
    """Where an alias goes back to."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"revision": 1}]})

    revision: Annotated[Integer, Field(ge=1, le=2**53)] | None = Field(
        None, description="The revision of its history to go back to; null: the one before, as far as it differs."
    )


class WeightedVersion(BaseModel):
    """A version that answers a share of the requests."""

    model: str
    version: int
    weight: float


class Shadow(BaseModel):
    """A version that computes a share of the predictions, too."""

    model: str
    version: int
    share: float


class Alias(BaseModel):
    """A movable name for one version of a model, or for several by weight."""

    object: Literal["alias"] = "alias"
    name: str
    alias: str
    model: str = Field(description="Of several versions the one with most weight: what jobs and downloads get.")
    version: int
    versions: list[WeightedVersion] = Field([], description="All versions that answer, in order.")
    shadow: Shadow | None = None
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
    versions: list[WeightedVersion] = Field(description="All versions that answered, in order.")
    shadow: Shadow | None
    restores: int | None = Field(description="The revision that a rollback went back to.")
    changed_at: Timestamp


class AliasHistory(BaseModel):
    """The newest changes of an alias, the newest first."""

    object: Literal["list"] = "list"
    data: list[AliasChange]


class HeadComparison(BaseModel):
    """How the answers of one head differ."""

    rows: int
    disagreement: float | None = Field(description="Share of rows whose label differs; null where it answers none.")
    mean_absolute_difference: float | None = Field(description="Of probabilities, or of values in the target's unit.")


class Comparison(BaseModel):
    """A model and its shadow on the same predictions."""

    model: str
    version: int | None
    shadow: str
    shadow_version: int | None
    requests: int = Field(description="That both have answered.")
    rows: int
    dropped: int = Field(description="Copies that the shadow had no time for; they are not compared.")
    errors: int = Field(description="Copies that the shadow could not answer.")
    mean_seconds: float | None = Field(description="Of the model for a request, with the wait for its turn.")
    shadow_mean_seconds: float | None
    heads: dict[str, HeadComparison]
    updated_at: Timestamp


class AliasReport(BaseModel):
    """What shadows of an alias have shown, the newest first."""

    object: Literal["report"] = "report"
    name: str
    alias: str
    data: list[Comparison]
