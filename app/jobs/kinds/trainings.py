"""What a pretraining and a fine-tuning have in common as jobs."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Self

from pydantic import Field
from sqlalchemy.orm import Session

from app.datasets import repository as datasets
from app.datasets.access import NO_SUCH_DATASET, find_dataset, ready_spec
from app.datasets.repository import DatasetRow
from app.errors import ErrorItem, NotFoundError, UnprocessableError
from app.jobs.interface import (
    PRIORITY,
    DatasetRef,
    ExtendRequest,
    JobColumns,
    JobKind,
    Metadata,
    Priority,
    Resources,
    does_not_fit,
)
from app.ml.configs.learning import FineTuningConfig, PretrainingConfig
from app.ml.configs.resolved import Resolved, ResolvedFineTuning, ResolvedPretraining
from app.ml.errors import ConfigError
from app.ml.resolution.devices import check_splittable
from app.ml.spec import DataSpec, Decision, WarningItem
from app.models.refs import ModelName, as_name
from app.models.repository import ModelRow

_STEM_CHARACTERS = 70
_ID_DIGITS = 8  # random ones
Proposals = tuple[tuple[Decision, ...], tuple[WarningItem, ...]]
ResolvedConfig = ResolvedPretraining | ResolvedFineTuning


class TrainingRequest(JobKind):
    """The fields of every training; a subclass is a learning config, too, which is half of the request."""

    cannot_extend: ClassVar[str | None] = None
    is_tracked: ClassVar[bool] = True
    learning: ClassVar[type[PretrainingConfig] | type[FineTuningConfig]]
    resolved_learning: ClassVar[type[ResolvedPretraining] | type[ResolvedFineTuning]]

    name: ModelName | None = Field(None, description="Name of the model that comes out; null: after the dataset.")
    dataset: DatasetRef = Field(description="Id of a ready dataset, or a name: the newest ready one of that name.")
    resources: Resources = Field(default_factory=Resources)
    priority: Priority = Field(0, description=PRIORITY)
    metadata: Metadata = Field(default_factory=dict, description="Up to 16 strings of your own.")

    def parent(self, session: Session, project_id: str) -> ModelRow | None:
        """Return the model that the training starts from, None where it starts from scratch."""
        del session, project_id
        return None

    @abstractmethod
    def resolve_config(
        self, spec: DataSpec, parent: ModelRow | None, auxiliary: DataSpec | None
    ) -> Resolved[ResolvedPretraining] | Resolved[ResolvedFineTuning]:
        """Return the learning config with every "auto" replaced. Raises `ConfigError`."""

    def proposals(self, resolved: Resolved[Any], spec: DataSpec) -> Proposals:
        """Return what else could be done, which the answer says as decisions and warnings; by default nothing."""
        del resolved, spec
        return (), ()

    def check_resolved(
        self, session: Session, config: dict[str, Any], dataset: DatasetRow, parent: ModelRow | None
    ) -> None:
        """Refuse a resolved config for reasons that only the project's other rows tell. Raises UnprocessableError."""

    def resolve(self, session: Session, project_id: str) -> JobColumns:
        """Replace every name by an id and every "auto" by a value; the config says which decisions did so."""
        columns = self.with_dataset_ids(session, project_id).resolve_ids(session, project_id)
        if columns.dataset_id != self.dataset:
            reason = f"the newest ready dataset that is called {self.dataset!r}"
            decision = Decision(field="dataset", value=columns.dataset_id, reason=reason)
            columns.config["decisions"].append(decision.model_dump(mode="json"))
        return columns

    def with_dataset_ids(self, session: Session, project_id: str) -> Self:
        """Return the request with ids for the names of datasets: what they mean now."""
        changes: dict[str, Any] = {"dataset": find_dataset(session, project_id, self.dataset).id}
        auxiliary = self._find_auxiliary(session, project_id)
        if auxiliary is not None:
            place, row = auxiliary
            changes[place] = getattr(self, place).model_copy(update={"dataset": row.id})
        return self.model_copy(update=changes)

    def resolve_ids(self, session: Session, project_id: str) -> JobColumns:
        """Resolve a request that names datasets by their ids."""
        dataset = find_dataset(session, project_id, self.dataset)
        parent = self.parent(session, project_id)
        auxiliary = self._find_auxiliary(session, project_id)
        spec, auxiliary_spec = ready_spec(dataset), ready_spec(auxiliary[1]) if auxiliary else None
        try:
            resolved = self.resolve_config(spec, parent, auxiliary_spec)
            check_splittable(resolved.config, self.resources.devices)
        except ConfigError as error:
            raise does_not_fit(error) from None
        name = self.model_name(session, dataset)
        proposed, warnings = self.proposals(resolved, spec)
        decisions = [decision.model_dump(mode="json") for decision in (*resolved.decisions, *proposed)]
        if self.name is None:
            decisions.append({"field": "name", "value": name, "reason": "named after the dataset"})
        config = {
            **resolved.config.model_dump(mode="json"),
            "resources": self.resources.model_dump(mode="json"),
            "decisions": decisions,
        }
        self.check_resolved(session, config, dataset, parent)
        return JobColumns(
            kind=self.kind,
            name=name,
            config=config,
            metadata=self.metadata,
            dataset_id=dataset.id,
            parent_model_id=parent.id if parent else None,
            priority=self.priority,
            warnings=warnings,
        )

    def learning_half(self) -> dict[str, Any]:
        """Return the fields of the request that are its learning config."""
        return {name: getattr(self, name) for name in self.learning.model_fields}

    def model_name(self, session: Session, dataset: DatasetRow) -> str:
        """Return the name that the job's model will have: the given one, else one that no other dataset's get."""
        if self.name is not None:
            return self.name
        stem = _stem(dataset.name)
        if stem in {_stem(name) for name in datasets.names_before(session, dataset.project_id, dataset.id)}:
            stem = f"{stem}-{dataset.id[-_ID_DIGITS:]}"  # the older dataset's models have the plain name
        return f"{stem}-{self.kind.replace('_', '-')}"

    def _find_auxiliary(self, session: Session, project_id: str) -> tuple[str, DatasetRow] | None:
        """Return the field that names another dataset, and the dataset, which stays until the job is there."""
        named = self.learning(**self.learning_half()).auxiliary_dataset
        if named is None:
            return None
        place, ref = named
        try:
            return str(place[0]), find_dataset(session, project_id, ref, keep=True)
        except NotFoundError:
            raise does_not_fit(ConfigError(place, NO_SUCH_DATASET)) from None

    @classmethod
    def learning_config(cls, config: Mapping[str, Any]) -> ResolvedConfig:
        """Return the learning half of a job's stored config."""
        fields = cls.resolved_learning.model_fields
        return cls.resolved_learning.model_validate({name: config[name] for name in fields if name in config})

    @classmethod
    def auxiliary_dataset_of(cls, config: Mapping[str, Any]) -> str | None:
        """Return the dataset of the online probe, or that of the unlabelled rows."""
        named = cls.learning_config(config).auxiliary_dataset
        return named and named[1]

    @classmethod
    def extended(cls, config: dict[str, Any], request: ExtendRequest) -> dict[str, Any]:
        """Return the config with more epochs or steps, and without the decision about them."""
        training = config["training"]
        unit = "steps" if training["steps"] is not None else "epochs"
        further = getattr(request, unit)
        if further is None:
            msg = f"this training is counted in {unit}: say how many further ones"
            raise UnprocessableError(msg, code="invalid_request", errors=[ErrorItem(loc=["body", unit], msg=msg)])
        decisions = [decision for decision in config["decisions"] if decision["field"] != f"training.{unit}"]
        longer = {**config, "training": {**training, unit: training[unit] + further}, "decisions": decisions}
        cls.learning_config(longer)  # raises where the sum is out of bounds
        return longer


def _stem(dataset_name: str) -> str:
    """Return what default names of models begin with."""
    return as_name(dataset_name[:_STEM_CHARACTERS])
