"""Fine-tuning: heads trained for labels, on a pretrained backbone or from scratch."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, Field, TypeAdapter
from sqlalchemy.orm import Session

from app.datasets.repository import DatasetRow
from app.jobs.interface import ExtendRequest, ModelRef, does_not_fit
from app.jobs.kinds.proposals import propose_weights
from app.jobs.kinds.trainings import Proposals, TrainingRequest
from app.ml.configs.learning import FineTuningConfig
from app.ml.configs.resolved import Resolved, ResolvedFineTuning
from app.ml.errors import ConfigError
from app.ml.kinds.strategies import ResolvedStrategy
from app.ml.kinds.strategies.base import StrategyConfig
from app.ml.models.bundle import Manifest
from app.ml.resolution.fine_tuning import resolve_fine_tuning
from app.ml.spec import DataSpec
from app.models import service as models
from app.models.repository import ModelRow

_STRATEGY = TypeAdapter[StrategyConfig](ResolvedStrategy)


class FineTuningRequest(TrainingRequest, FineTuningConfig):
    """Train heads for labels, on a pretrained backbone or from scratch."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "kind": "fine_tuning",
                    "name": "flower-kinds",
                    "dataset": "flowers",
                    "model": "flower-features",
                    "heads": [{"kind": "classifier", "target": "kind"}],
                    "strategy": {"kind": "linear_probe"},
                },
                {
                    "kind": "fine_tuning",
                    "name": "comment-kinds",
                    "dataset": "comments",
                    "backbone": {"kind": "transformer", "width": 32, "depth": 2, "heads": 2},
                    "heads": [{"kind": "classifier", "target": "kind"}],
                    "strategy": {"kind": "full"},
                    "training": {"epochs": 2},
                },
                {
                    "kind": "fine_tuning",
                    "name": "comment-writer",
                    "dataset": "comments",
                    "backbone": {"kind": "transformer", "width": 32, "depth": 2, "heads": 2},
                    "heads": [{"kind": "generator"}],
                    "strategy": {"kind": "full"},
                    "training": {"epochs": 2},
                },
            ]
        }
    )

    learning: ClassVar[type[FineTuningConfig]] = FineTuningConfig
    resolved_learning: ClassVar[type[ResolvedFineTuning]] = ResolvedFineTuning

    kind: Literal["fine_tuning"]
    model: ModelRef | None = Field(
        None, description="The pretrained model: an id, name, name@version or name@alias; null: none."
    )

    def parent(self, session: Session, project_id: str) -> ModelRow | None:
        """Return the pretrained model."""
        return None if self.model is None else models.resolve(session, project_id, self.model)

    def resolve_config(
        self, spec: DataSpec, parent: ModelRow | None, auxiliary: DataSpec | None
    ) -> Resolved[ResolvedFineTuning]:
        """Resolve against the dataset, the pretrained model, and the dataset of the unlabelled rows."""
        manifest = Manifest.model_validate(parent.manifest) if parent else None
        return resolve_fine_tuning(FineTuningConfig(**self.learning_half()), spec, manifest, auxiliary)

    def proposals(self, resolved: Resolved[Any], spec: DataSpec) -> Proposals:
        """Propose published weights where the user has named neither a model nor a backbone."""
        if self.model is not None or self.backbone != "auto":
            return (), ()
        return propose_weights(resolved.config, spec)

    @classmethod
    def extended(cls, config: dict[str, Any], request: ExtendRequest) -> dict[str, Any]:
        """Return the config of a job that trains on. It does not climb: what was compared is not what it makes."""
        longer = super().extended(config, request)
        return {name: value for name, value in longer.items() if name != "climb"}

    @classmethod
    def was_solved(cls, checkpoint: Mapping[str, Any]) -> bool:
        """Return whether its heads were solved for instead of trained by steps."""
        strategy = checkpoint.get("strategy")
        return strategy is not None and _STRATEGY.validate_python(strategy).solving == "only"

    def check_resolved(
        self, session: Session, config: dict[str, Any], dataset: DatasetRow, parent: ModelRow | None
    ) -> None:
        """Refuse a transfer report that would hold out rows whose labels the pretrained model has learned."""
        report = config["transfer_report"]
        if parent is None or report is None or report["measured_on"] != "folds":
            return
        teacher = models.find_model_trained_on(session, parent, dataset.source_sha256)
        if teacher is not None:
            msg = (
                f"{teacher.name}@{teacher.version}, which the model is or was made from, has learned the labels of "
                "these train rows: measure on the test split, or name a model that has not seen them"
            )
            raise does_not_fit(ConfigError(("transfer_report", "measured_on"), msg))
