"""Pretraining: a backbone learned from rows without labels."""

from typing import ClassVar, Literal

from pydantic import ConfigDict

from app.jobs.kinds.trainings import TrainingRequest
from app.ml.configs.learning import PretrainingConfig
from app.ml.configs.resolved import Resolved, ResolvedPretraining
from app.ml.resolution.pretraining import resolve_pretraining
from app.ml.spec import DataSpec
from app.models.repository import ModelRow


class PretrainingRequest(TrainingRequest, PretrainingConfig):
    """Learn features without labels."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"kind": "pretraining", "name": "flower-features", "dataset": "flowers", "training": {"epochs": 2}}
            ]
        }
    )

    learning: ClassVar[type[PretrainingConfig]] = PretrainingConfig
    resolved_learning: ClassVar[type[ResolvedPretraining]] = ResolvedPretraining

    kind: Literal["pretraining"]

    def resolve_config(
        self, spec: DataSpec, parent: ModelRow | None, auxiliary: DataSpec | None
    ) -> Resolved[ResolvedPretraining]:
        """Resolve against the dataset, and the one that the online probe reads."""
        assert parent is None
        return resolve_pretraining(PretrainingConfig(**self.learning_half()), spec, auxiliary)
