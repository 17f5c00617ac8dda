"""The checks before queueing: what a request asks for must fit the dataset and the pretrained model."""

from typing import Any, TypeVar

from app.datasets.access import ready_spec
from app.db.tables import DatasetRow, ModelRow
from app.errors import ErrorItem, UnprocessableError
from app.jobs.schemas import EvaluationRequest, FineTuningRequest, PretrainingRequest
from app.ml.configs.learning import FineTuningConfig, PretrainingConfig
from app.ml.errors import ConfigError
from app.ml.models.bundle import Manifest
from app.ml.resolution.compatibility import check_comparable, check_measurable
from app.ml.resolution.devices import check_splittable
from app.ml.resolution.requests import Resolved, resolve_fine_tuning, resolve_pretraining
from app.models.refs import as_name

Config = TypeVar("Config", PretrainingConfig, FineTuningConfig)


def resolve(
    request: PretrainingRequest | FineTuningRequest,
    dataset: DatasetRow,
    parent: ModelRow | None,
    beside: DatasetRow | None = None,
) -> dict[str, Any]:
    """Return the job's config with every "auto" replaced, and the decisions that replaced them.

    `beside` is the other dataset that the request names.

    Raises:
        ConflictError: the dataset is not ready.
        UnprocessableError: a choice does not fit the data or the model.
    """
    spec, other = ready_spec(dataset), ready_spec(beside) if beside else None
    resolved: Resolved[PretrainingConfig] | Resolved[FineTuningConfig]
    try:
        if isinstance(request, PretrainingRequest):
            resolved = resolve_pretraining(_half(request, PretrainingConfig), spec, other)
        else:
            manifest = Manifest.model_validate(parent.manifest) if parent else None
            resolved = resolve_fine_tuning(_half(request, FineTuningConfig), spec, manifest, other)
        check_splittable(resolved.config, request.resources.devices)
    except ConfigError as error:
        raise misfit(error) from None
    chosen = [decision.model_dump(mode="json") for decision in resolved.decisions]
    if request.name is None:
        chosen.append({"field": "name", "value": model_name(request, dataset), "reason": "named after the dataset"})
    return {
        **resolved.config.model_dump(mode="json"),
        "resources": request.resources.model_dump(mode="json"),
        "decisions": chosen,
    }


def resolve_evaluation(
    request: EvaluationRequest, dataset: DatasetRow, model: ModelRow, baseline: ModelRow | None
) -> dict[str, Any]:
    """Return an evaluation's config: what a name means is fixed now.

    Raises:
        ConflictError: the dataset is not ready.
        UnprocessableError: a model does not fit the data, or the models cannot be compared.
    """
    spec, manifest = ready_spec(dataset), Manifest.model_validate(model.manifest)
    try:
        check_measurable(manifest, spec, request.split)
        if baseline is not None:
            theirs = Manifest.model_validate(baseline.manifest)
            check_comparable(manifest, theirs)
            check_measurable(theirs, spec, request.split, "baseline")
    except ConfigError as error:
        raise misfit(error) from None
    fixed = {"model": model.id, "baseline": baseline.id if baseline else None}
    return {**request.model_dump(mode="json", exclude={"kind", "dataset", "priority", "metadata"}), **fixed}


def check_held_out(config: dict[str, Any], taught_by: ModelRow | None) -> None:
    """Refuse to hold out rows whose labels the model has learned from.

    Raises:
        UnprocessableError: a transfer report would do so.
    """
    report = config.get("transfer_report")
    if taught_by is None or report is None or report["measured_on"] != "folds":
        return
    msg = (
        f"{taught_by.name}@{taught_by.version}, which the model is or was made from, has learned the labels of these "
        "train rows: measure on the test split, or name a model that has not seen them"
    )
    raise misfit(ConfigError(("transfer_report", "measured_on"), msg))


def misfit(error: ConfigError) -> UnprocessableError:
    """Return the answer to a choice that does not fit."""
    item = ErrorItem(loc=["body", *error.loc], msg=error.msg)
    return UnprocessableError(str(error), code="config_does_not_fit", errors=[item])


def learning_config(kind: str, config: dict[str, Any]) -> PretrainingConfig | FineTuningConfig:
    """Return the learning half of a job's stored config."""
    half = PretrainingConfig if kind == "pretraining" else FineTuningConfig
    return half.model_validate({name: config[name] for name in half.model_fields if name in config})


def _half(request: PretrainingRequest | FineTuningRequest, half: type[Config]) -> Config:
    return half(**{name: getattr(request, name) for name in half.model_fields})


def model_name(request: PretrainingRequest | FineTuningRequest, dataset: DatasetRow) -> str:
    """Return the name that the job's model will have."""
    return request.name or as_name(f"{dataset.name}-{request.kind.replace('_', '-')}")
