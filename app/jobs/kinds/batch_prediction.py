"""Batch prediction: a model's answers for all rows of a dataset, or of a file sent for it. It makes no model."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, field_validator
from sqlalchemy.orm import Session

from app.datasets import repository as datasets
from app.datasets.access import find_dataset, ready_spec
from app.datasets.options import Encoding, PrepareOptions, SeriesOptions
from app.errors import ConflictError
from app.jobs.interface import (
    PRIORITY,
    DatasetRef,
    JobColumns,
    JobKind,
    Metadata,
    ModelRef,
    Priority,
    Resources,
    does_not_fit,
    one_device,
)
from app.ml.errors import ConfigError
from app.ml.fields import Integer
from app.ml.models.bundle import Manifest
from app.ml.spec import Frozen
from app.models import service as models
from app.models.repository import ModelRow

MAX_KEPT = 1000
_MAX_DIFFERENCES = 5
INPUT = "input"
"""The name among a job's files of the file that was sent for it; it goes when the job has succeeded."""
RESULTS_PARQUET, RESULTS_CSV = "results.parquet", "results.csv"

Output = Literal["predictions", "embeddings"]


class BatchPredictionOptions(Frozen):
    """What is asked of a model for many rows."""

    model: ModelRef = Field(description="The model: an id, name, name@version or name@alias, as it is meant now.")
    outputs: Annotated[tuple[Output, ...], Field(min_length=1, max_length=2)] = Field(
        ("predictions",), description="What is answered for each row."
    )
    keep: Annotated[tuple[str, ...], Field(max_length=MAX_KEPT)] | Literal["auto"] = Field(
        "auto",
        description="Columns of the file that are copied to the results, such as ids; auto: all that are no inputs of "
        "the model.",
    )
    on_error: Literal["report", "refuse"] = Field(
        "report",
        description="What becomes of a row that cannot be read. report: its `error` says why, and the others are "
        "answered; refuse: the job fails at the first one.",
    )
    unknown: Literal["warn", "refuse"] = Field(
        "warn",
        description="What becomes of a row that holds what training did not see. warn: it is answered, and its "
        "`warnings` say so; refuse: it counts as a row that cannot be read.",
    )
    checkpoint_rows: Annotated[Integer, Field(ge=1)] | None = Field(
        None, description="Rows between checkpoints; null: by time alone, every ten seconds."
    )
    resources: Resources = Field(default_factory=Resources)
    priority: Priority = Field(0, description=PRIORITY)
    metadata: Metadata = Field(default_factory=dict, description="Up to 16 strings of your own.")

    _runs_on_one_device = field_validator("resources")(one_device)

    @field_validator("outputs")
    @classmethod
    def _each_once(cls, outputs: tuple[Output, ...]) -> tuple[Output, ...]:
        return tuple(dict.fromkeys(outputs))


class UploadOptions(BatchPredictionOptions):
    """The form fields of a batch prediction for a file."""

    encoding: Encoding | None = Field(
        None, description="Encoding of a text file; null: that of the model's training file."
    )
    series: SeriesOptions | None = Field(
        None,
        description="For a model of series: the columns of a file with a line for each step that say its series and "
        "its time, as for datasets; null: those of the model's training file.",
    )


class BatchPredictionRequest(BatchPredictionOptions, JobKind):
    """Answer all rows of a dataset; a file is sent by `POST /v1/batch_predictions`."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"kind": "batch_prediction", "model": "flower-kinds", "dataset": "flowers"}]}
    )

    kind: Literal["batch_prediction"]
    dataset: DatasetRef = Field(description="Id or name of a ready dataset that the model fits.")

    def resolve(self, session: Session, project_id: str) -> JobColumns:
        """Fix what the model's name means now, and check that it fits the data and has what is asked."""
        dataset = find_dataset(session, project_id, self.dataset)
        spec = ready_spec(dataset)
        model = find_model(session, project_id, self)
        differences = Manifest.model_validate(model.manifest).modality.differences(spec)
        if differences:
            listed = "; ".join(differences[:_MAX_DIFFERENCES])
            msg = f"the model does not fit this dataset: {listed}; POST /v1/batch_predictions takes the file itself"
            raise does_not_fit(ConfigError(("model",), msg))
        return columns_of(self, model, dataset_id=dataset.id)


def find_model(session: Session, project_id: str, options: BatchPredictionOptions) -> ModelRow:
    """Return the model that is asked.

    Raises:
        NotFoundError: there is none.
        ConflictError: predictions are asked of a backbone.
    """
    model = models.resolve(session, project_id, options.model)
    if "predictions" in options.outputs and not model.manifest["heads"]:
        msg = 'This model is a backbone without heads; ask it for "outputs": ["embeddings"], or fine-tune it.'
        raise ConflictError(msg, code="model_has_no_heads")
    return model


def columns_of(
    options: BatchPredictionOptions,
    model: ModelRow,
    *,
    dataset_id: str | None = None,
    file: Mapping[str, Any] | None = None,
    reading: Mapping[str, Any] | None = None,
) -> JobColumns:
    """Return the columns of a job for a dataset, or for a stored file of {name, sha256, bytes}."""
    fields = ("outputs", "keep", "on_error", "unknown", "checkpoint_rows", "resources")
    config = {**options.model_dump(mode="json", include=set(fields)), "model": model.id}
    if file is not None:
        config |= {"file": dict(file), "reading": dict(reading or {})}
    return JobColumns(
        kind="batch_prediction",
        config=config,
        metadata=options.metadata,
        dataset_id=dataset_id,
        parent_model_id=model.id,
        priority=options.priority,
        files=None if file is None else {INPUT: {"sha256": file["sha256"], "bytes": file["bytes"]}},
    )


def reading_of(session: Session, model: ModelRow, chosen: UploadOptions) -> dict[str, Any]:
    """Return how a file is read: as the model's training file was, where that is known, but as it is chosen."""
    dataset = None if model.dataset_id is None else datasets.find_ever(session, model.dataset_id)
    options = PrepareOptions() if dataset is None else PrepareOptions.model_validate(dataset.options)
    paragraphs = options.text is not None and options.text.rows == "paragraphs"
    series = chosen.series or options.series
    return {
        "encoding": chosen.encoding or options.encoding,
        "name_encoding": options.name_encoding,
        "paragraphs": paragraphs,
        "series": None if series is None else series.model_dump(),
        "is_long": chosen.series is not None,
    }
