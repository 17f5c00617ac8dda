"""Climbing: a job goes on up the ladder where an instant head has ended, and moves its alias where the gain is proven.

The job is a fine-tuning with the strategy `automatic` on the same model, dataset and heads. It compares the instant
head with what it selects on the same rows left out (`worker.training.model_selection`), and moves the alias in the
transaction that ends it (`worker.jobs.climbing`).
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy.orm import Session

from app.aliases import repository as aliases
from app.aliases import service as alias_service
from app.aliases.repository import AliasKey
from app.datasets.access import find_dataset
from app.datasets.repository import DatasetRow
from app.dependencies import Services
from app.errors import ConflictError, ErrorItem, UnprocessableError
from app.heads.schemas import Climbing, HeadsRequest
from app.jobs.interface import JobColumns
from app.jobs.kinds.fine_tuning import FineTuningRequest
from app.jobs.queueing import check_room, enqueue
from app.ml.configs.resolved import ResolvedFineTuning
from app.ml.kinds.strategies import ResolvedStrategy
from app.ml.kinds.strategies.automatic import Automatic
from app.ml.spec import Decision, Frozen
from app.models import service as models
from app.models.schemas import Model

DEFAULT_ALIAS = "best"
_DEPENDENT = ("by group", "by position", "by time")  # how a dataset is split whose rows belong together


class Climb(Frozen):
    """What the job's stored config says of climbing, next to its training."""

    model: str  # id of the instant head
    strategy: ResolvedStrategy  # how the instant head learned
    alias: str
    revision: int  # of the alias, when it was pointed at the instant head


def climb_of(config: Mapping[str, Any]) -> Climb | None:
    """Return what a job's stored config says of climbing; None where it does not climb."""
    return Climb.model_validate(config["climb"]) if config.get("climb") is not None else None


def start(
    session: Session,
    state: Services,
    project_id: str,
    request: HeadsRequest,
    model: Model,
    config: ResolvedFineTuning,
) -> tuple[Climbing, Decision]:
    """Point the alias at the instant head and queue the job that climbs on; part of the caller's transaction.

    Raises:
        TooManyError: too many jobs of the project are unfinished.
        ConflictError: no alias was named, and the default one means another version.
        UnprocessableError: the ladder cannot be climbed with these heads, or its gain could not be measured.
    """
    check_room(session, project_id, state.settings.max_queued_jobs)
    columns = _columns(session, project_id, model, config)
    key = AliasKey(project_id, model.name, request.alias or DEFAULT_ALIAS)
    taken = aliases.find(session, key, lock=True)
    if taken is not None and request.alias is None:
        msg = (
            f'{key.name}@{key.alias} means another version: say "alias" with this name to point it at the new '
            "head at once, or with another one."
        )
        raise ConflictError(msg, code="alias_taken")
    alias = alias_service.point(session, state, key, model.id)
    climb = Climb(model=model.id, strategy=config.strategy, alias=alias.alias, revision=alias.revision)
    stored = {**columns.config, "climb": climb.model_dump(mode="json")}
    job = enqueue(session, state.queue, project_id, replace(columns, config=stored))
    reason = "the new head answers by it at once, and the job moves it where its model is better"
    if taken is not None:
        reason += "; it meant another version before, which POST .../rollback brings back"
    climbing = Climbing(job=job.id, alias=alias.alias, revision=alias.revision, url=f"/v1/jobs/{job.id}")
    return climbing, Decision(field="alias", value=alias.alias, reason=reason)


def _columns(session: Session, project_id: str, model: Model, config: ResolvedFineTuning) -> JobColumns:
    """Return the job's columns: the fine-tuning that a user would have asked for."""
    assert model.dataset is not None
    assert model.parent is not None
    dataset = find_dataset(session, project_id, model.dataset)
    _check_independent_rows(dataset)
    parent = models.resolve(session, project_id, model.parent)
    teacher = models.find_model_trained_on(session, parent, dataset.source_sha256)
    if teacher is not None:
        msg = (
            f"{teacher.name}@{teacher.version}, which the model is or was made from, has learned labels of these train "
            "rows, so that no gain could be measured on them: name a model that has not seen them, or leave climb out"
        )
        raise _refusal(msg, "config_does_not_fit")
    training = FineTuningRequest(
        kind="fine_tuning",
        name=model.name,
        dataset=dataset.id,
        model=parent.id,
        heads=config.heads,
        inherited_heads=(),
        strategy=Automatic(),
    )
    try:
        return training.resolve(session, project_id)
    except UnprocessableError as error:
        raise _refusal(error.detail, error.code) from None


def _check_independent_rows(dataset: DatasetRow) -> None:
    """Raise UnprocessableError where rows left out one by one would be known from those of their group or time."""
    for decision in (dataset.report or {}).get("decisions", []):
        if decision["field"] == "splits" and decision["value"] in _DEPENDENT:
            msg = (
                f"the rows are split {decision['value']}, so that a gain on rows left out one by one would say nothing "
                'of new ones: leave climb out, ask for {"kind": "fine_tuning"}, and move the alias yourself where an '
                'evaluation with {"split": "test", "baseline": ...} says that its model is better'
            )
            raise _refusal(msg, "config_does_not_fit")


def _refusal(msg: str, code: str) -> UnprocessableError:
    return UnprocessableError(f"climb: {msg}", code=code, errors=[ErrorItem(loc=["body", "climb"], msg=msg)])
