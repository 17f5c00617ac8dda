"""Request and response bodies of the model endpoints. Every field is present, null if empty."""

from typing import Any, Literal

from pydantic import BaseModel, Field

from app.kit.clock import Timestamp
from app.ml.interfaces.signature import Signature
from app.ml.spec import Decision, WarningItem

Kind = Literal["backbone", "fine_tuned"]
Origin = Literal["job", "import", "dataset", "rows"]
_ORIGIN = (
    "What made it: a job; an import; or POST /v1/heads, on a dataset, or on rows of the request, which are not kept."
)


class HeadSummary(BaseModel):
    """One head and the targets that it predicts."""

    name: str
    kind: str
    target: str | None = Field(description="Null if it has several targets or none.")
    targets: list[str] = Field(description="All targets that it predicts, in order.")
    classes: list[str]


class FileSummary(BaseModel):
    """One of a model's files."""

    name: str
    sha256: str
    bytes: int
    url: str


class ModelLinks(BaseModel):
    """URLs of related resources."""

    self: str
    lineage: str
    predictions: str | None
    embeddings: str
    evaluations: str | None = Field(description="The evaluations of this model.")
    job: str | None = Field(description="Null where it was imported, or its job has been deleted.")
    dataset: str | None
    parent: str | None


class Published(BaseModel):
    """Where a model's weights were published, and under which licence."""

    source: str = Field(description="Their name in the catalogue.")
    title: str
    licence: str = Field(description="SPDX identifier.")
    home: str = Field(description="Where they are described.")
    sha256: str = Field(description="Of the published file.")


class ModelSummary(BaseModel):
    """A model as lists show it: without its configs, heads, metrics and files."""

    id: str
    object: Literal["model"] = "model"
    name: str
    version: int
    kind: Kind
    modality: str
    job: str | None
    dataset: str | None
    parent: str | None = Field(description="The model that it was fine-tuned from; null if trained from scratch.")
    warnings: list[WarningItem] = Field([], description="Those of the job or import that made it; empty: none.")
    origin: Origin = Field("import", description=_ORIGIN)
    aliases: list[str]
    created_at: Timestamp
    links: ModelLinks


class Model(ModelSummary):
    """A registered, immutable model."""

    backbone: dict[str, Any] = Field(description="The backbone's config.")
    heads: list[HeadSummary]
    method: dict[str, Any] | None = Field(description="The pretraining method; null for a fine-tuned model.")
    labels: dict[str, Any] | None = Field(description="How labels were used in its pretraining; null: they were not.")
    watch: dict[str, Any] | None = Field(description="The online probe of its pretraining; null: none.")
    strategy: dict[str, Any] | None = Field(description="The fine-tuning strategy; null for a backbone.")
    metrics: dict[str, Any]
    files: list[FileSummary]
    published: Published | None = Field(
        None, description="Where its weights were published; null: it was not brought in by the name of a source."
    )
    decisions: list[Decision] = Field([], description="What imported weights did not say, and was decided.")
    signature: Signature | None = Field(None, description="The inputs that it takes, with an example; null in lists.")


class LineageModel(BaseModel):
    """One model of a lineage; deleted models are listed too."""

    id: str
    name: str
    version: int
    kind: Kind
    job: str | None
    dataset: str | None
    origin: Origin = Field(description=_ORIGIN)
    created_at: Timestamp
    deleted: bool


class Lineage(BaseModel):
    """The ancestors of a model, and the models fine-tuned from it."""

    object: Literal["lineage"] = "lineage"
    model: LineageModel
    ancestors: list[LineageModel] = Field(description="The parent first, the root last.")
    children: list[LineageModel] = Field(description="The models fine-tuned directly from it, oldest first.")
