"""Keeps labelled rows, and learns them by an instant head once a tenth of them is new."""

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from app.dependencies import Services
from app.errors import ConflictError, NotFoundError, QuotaError
from app.heads import service as heads
from app.heads.schemas import FittedModel, HeadsRequest
from app.labelling import repository
from app.labelling.repository import Collection
from app.models import service as models
from app.models.refs import parse
from app.predictions.schemas import MAX_INPUTS
from app.storage.quotas import refuse_exceeded

MIN_ROWS = 4  # before them nothing is learned by itself
_PARTS = 10  # one new row among so many is enough to learn again


@dataclass(frozen=True, slots=True)
class Learned:
    """What became of labelled rows: a model, or the reason why there is none yet."""

    rows: int
    model: FittedModel | None
    reason: str | None = None


def collection_of(state: Services, project_id: str, ref: str, source: str) -> Collection:
    """Return the rows that a labelling project labels for a name.

    Raises:
        NotFoundError: there is no such model.
        ConflictError: the reference is no bare name: new versions have a name.
    """
    with state.database.reading() as session:
        row = models.resolve(session, project_id, ref, light=True)
    reference = parse(ref)
    if reference is None or not reference.is_bare_name:
        msg = f"What is labelled becomes versions of a name: use {row.name} in the URL instead of {ref}."
        raise ConflictError(msg, code="not_a_name")
    return Collection(project_id, row.name, source)


def keep(state: Services, collection: Collection, task: str, annotation: str, data: Any, label: Any) -> None:
    """Keep a task's row with its label, instead of what was known of the task.

    Raises:
        QuotaError: the project would exceed its quota.
    """

    def add(session: Session) -> None:
        if repository.keep(session, collection, task, annotation, data, label):
            refuse_exceeded(session, collection.project_id)

    state.database.transact(add)


def forget(state: Services, collection: Collection, *, tasks: list[str], annotations: list[str]) -> int:
    """Forget rows of tasks, or with annotations, that are gone; return how many."""
    return state.database.transact(
        lambda session: repository.forget(session, collection, tasks=tasks, annotations=annotations)
    )


def learn(state: Services, collection: Collection, target: str, *, at_once: bool) -> Learned:
    """Fit an instant head on the labelled rows, as the next version of the name; `at_once` also if few are new.

    Raises:
        NotFoundError, UnprocessableError: as `app.heads.service.create`.
        QuotaError: it is to learn at once, and the project may keep no more; else that is the reason.
    """
    with state.database.reading() as session:
        total, new = repository.count(session, collection)
    if total == 0 or (not at_once and (total < MIN_ROWS or new * _PARTS < total)):
        return Learned(total, None, f"{total} rows are labelled, {new} of them since the last version")
    with state.database.reading() as session:
        rows = repository.newest(session, collection, MAX_INPUTS)
        backbone = _backbone(session, collection)
    labels = [label for _, _, _, label in rows]
    if len({str(label) for label in labels}) < 2:  # noqa: PLR2004 - what there is to tell apart
        return Learned(total, None, "all rows have the same label: nothing is there to tell apart yet")
    request = HeadsRequest(
        model=backbone,
        rows=[data for _, _, data, _ in rows],
        labels=labels,
        target=target,
        name=collection.name,
    )
    try:
        model = heads.create(state, collection.project_id, None, request)
    except QuotaError as error:
        if at_once:
            raise
        return Learned(total, None, error.detail)  # the row is kept: the event that brought it is no failure
    until = max(time for _, time, _, _ in rows)
    state.database.transact(lambda session: repository.mark_learned(session, collection, until))
    return Learned(len(rows), model)


def _backbone(session: Session, collection: Collection) -> str:
    """Return the id of the model that heads are fitted on: the newest version's parent where rows made that, else it.

    So that versions stand next to each other on what the labelling began with, and in no chain.
    """
    newest = models.resolve(session, collection.project_id, collection.name, light=True)
    if newest.parent_id is None or newest.job_id is not None or newest.dataset_id is not None:
        return newest.id
    with suppress(NotFoundError):  # it was deleted: the version has its backbone, too
        return models.resolve(session, collection.project_id, newest.parent_id, light=True).id
    return newest.id
