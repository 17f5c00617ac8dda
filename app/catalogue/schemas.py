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


class Catalogue(BaseModel):
    """Everything that a job's config can name, by family."""

    object: Literal["catalogue"] = "catalogue"
    families: dict[str, list[CatalogueEntry]]
