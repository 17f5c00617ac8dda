"""Export: a model as a file that needs nothing of the service. It makes no model; the file is one of the job."""

from typing import ClassVar, Literal

from pydantic import ConfigDict, Field
from sqlalchemy.orm import Session

from app.jobs.interface import PRIORITY, JobColumns, JobKind, Metadata, ModelRef, Priority
from app.models import service as models

ExportFormat = Literal["onnx", "safetensors"]


class ExportRequest(JobKind):
    """Write a model as ONNX, or as safetensors with a loader; it is checked on the model's golden rows."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"kind": "export", "model": "flower-kinds", "format": "onnx"}]}
    )

    cannot_pause: ClassVar[str | None] = "An export takes seconds: wait for it, or cancel it."

    kind: Literal["export"]
    model: ModelRef = Field(description="The model: an id, name, name@version or name@alias.")
    format: ExportFormat = Field(
        description="onnx: one file, model.onnx; safetensors: model.zip, with a loader that needs torch and "
        "safetensors alone, and which POST /v1/models imports."
    )
    priority: Priority = Field(0, description=PRIORITY)
    metadata: Metadata = Field(default_factory=dict, description="Up to 16 strings of your own.")

    def resolve(self, session: Session, project_id: str) -> JobColumns:
        """Fix what the model's name means now."""
        model = models.resolve(session, project_id, self.model)
        return JobColumns(
            kind=self.kind,
            config={"model": model.id, "format": self.format},
            metadata=self.metadata,
            parent_model_id=model.id,
            priority=self.priority,
            lane="short",
        )
