"""SQL of models. Every query names the project."""

from collections.abc import Iterable
from typing import Any
from unicodedata import normalize

from sqlalchemy import ColumnElement, delete, func, insert, literal, select, tuple_, update
from sqlalchemy.orm import Session, load_only

from app.db.session import db_now
from app.db.tables import AliasChangeRow, AliasRow, DatasetRow, JobRow, ModelRow, ShadowReportRow
from app.jobs.states import LIVING
from app.kit.ids import new_id
from app.kit.pages import Page, fetch_page
from app.models.refs import Ref

_MINUTE = 60.0
__all__ = ["ModelRow"]  # services know the type of a row from here


def _of(project_id: str) -> ColumnElement[bool]:
    return (ModelRow.project_id == project_id) & ModelRow.deleted_at.is_(None)


def add(session: Session, *, project_id: str, name: str, warnings: list[Any], **columns: Any) -> ModelRow:
    """Insert a model as the next version of its name, with the warnings of its job and these.

    Raises:
        IntegrityError: another transaction took this version, or the job has registered before.
    """
    version, created_at = next_version(session, project_id, name), session.execute(select(db_now())).scalar_one()
    fields = {"id": new_id("mdl"), "version": version, "created_at": created_at}
    job = session.get(JobRow, columns.get("job_id")) if columns.get("job_id") else None
    fields["warnings"] = [*(job.warnings if job else []), *warnings]
    row = ModelRow(project_id=project_id, name=name, **fields, **columns)
    session.add(row)
    session.flush()
    return row


def revision(session: Session) -> tuple[Any, ...]:
    """Return what is another whenever a model was registered or deleted, or an alias changed; and once a minute.

    Only the last minute or two are counted, so that the registry may be of any size: no transaction takes longer from
    the time that it writes to its commit.
    """
    since = session.execute(select(db_now())).scalar_one() // _MINUTE * _MINUTE - _MINUTE
    times = (ModelRow.created_at, ModelRow.deleted_at, AliasChangeRow.changed_at)
    counted = (session.execute(select(func.count(time), func.max(time)).where(time >= since)).one() for time in times)
    return (since, *(tuple(each) for each in counted))


def find(session: Session, project_id: str, ref: Ref, *, light: bool = False) -> ModelRow | None:
    """Return the model that a reference resolves to; of a `light` one, what is large is read when it is asked for."""
    query = select(ModelRow).where(_of(project_id))
    if light:
        query = query.options(load_only(ModelRow.id, ModelRow.name, ModelRow.version))
    if ref.id is not None:
        query = query.where(ModelRow.id == ref.id)
    elif ref.alias is not None:
        alias = (AliasRow.project_id == project_id) & (AliasRow.name == ref.name) & (AliasRow.alias == ref.alias)
        query = query.join(AliasRow, AliasRow.model_id == ModelRow.id).where(alias)
    elif ref.version is not None:
        query = query.where(ModelRow.name == ref.name, ModelRow.version == ref.version)
    else:
        query = query.where(ModelRow.name == ref.name).order_by(ModelRow.version.desc()).limit(1)
    return session.scalar(query)


def versions(session: Session, project_id: str, name: str) -> list[int]:
    """Return the versions of a name, the newest first."""
    query = select(ModelRow.version).where(_of(project_id), ModelRow.name == name)
    return list(session.scalars(query.order_by(ModelRow.version.desc())))


def page(
    session: Session, project_id: str, page_query: Page, name: str | None, kind: str | None
) -> tuple[list[ModelRow], bool]:
    """Return one page of the project's models, and whether more follow."""
    query = select(ModelRow).where(_of(project_id))
    if name is not None:
        query = query.where(ModelRow.name == normalize("NFC", name))
    if kind is not None:
        query = query.where(ModelRow.kind == kind)
    return fetch_page(session, query, ModelRow.id, page_query)


def newest(session: Session, project_id: str, limit: int) -> list[ModelRow]:
    """Return the project's models, newest first."""
    return list(session.scalars(select(ModelRow).where(_of(project_id)).order_by(ModelRow.id.desc()).limit(limit)))


def newest_of_names(session: Session, project_id: str) -> list[ModelRow]:
    """Return the newest version of every name."""
    newest = select(ModelRow.name, func.max(ModelRow.version)).where(_of(project_id)).group_by(ModelRow.name)
    pair = tuple_(ModelRow.name, ModelRow.version)
    return list(session.scalars(select(ModelRow).where(_of(project_id), pair.in_(newest))))


def aliased(session: Session, project_id: str) -> list[tuple[str, ModelRow]]:
    """Return every name@alias and its version."""
    query = select(AliasRow, ModelRow).join(ModelRow, AliasRow.model_id == ModelRow.id).where(_of(project_id))
    return [(f"{alias.name}@{alias.alias}", row) for alias, row in session.execute(query)]


def next_version(session: Session, project_id: str, name: str) -> int:
    """Return the version after the last one, deleted ones included, so that no version is ever used twice."""
    query = select(func.max(ModelRow.version)).where(ModelRow.project_id == project_id, ModelRow.name == name)
    return (session.scalar(query) or 0) + 1


def jobs_kept(session: Session, rows: Iterable[ModelRow]) -> set[str]:
    """Return those of the models' jobs that have not been deleted."""
    job_ids = {row.job_id for row in rows if row.job_id is not None}
    return set(session.scalars(select(JobRow.id).where(JobRow.id.in_(job_ids))))


def aliases_of(session: Session, project_id: str, model_ids: list[str]) -> dict[str, list[str]]:
    """Return the sorted aliases of each of these models."""
    query = (
        select(AliasRow.model_id, AliasRow.alias)
        .where(AliasRow.project_id == project_id, AliasRow.model_id.in_(model_ids))
        .order_by(AliasRow.alias)
    )
    aliases: dict[str, list[str]] = {model_id: [] for model_id in model_ids}
    for model_id, alias in session.execute(query):
        aliases[model_id].append(alias)
    return aliases


def find_published(
    session: Session, project_id: str, source: str, name: str | None = None, *, deleted: bool = False
) -> ModelRow | None:
    """Return the newest model that was brought in from a source of published weights; with `deleted`, any that was."""
    of_project = (ModelRow.project_id == project_id) if deleted else _of(project_id)
    query = select(ModelRow).where(of_project, ModelRow.manifest["published"]["source"].as_string() == source)
    if name is not None:
        query = query.where(ModelRow.name == name)
    return session.scalar(query.order_by(ModelRow.id.desc()).limit(1))


def by_id(session: Session, project_id: str, model_id: str) -> ModelRow | None:
    """Return a model of the project, deleted or not."""
    return session.scalar(select(ModelRow).where(ModelRow.id == model_id, ModelRow.project_id == project_id))


def get(session: Session, model_id: str) -> ModelRow:
    """Return the model that a job names, deleted or not."""
    return session.get_one(ModelRow, model_id)


def children(session: Session, project_id: str, model_id: str, limit: int) -> list[ModelRow]:
    """Return the models fine-tuned directly from this one, deleted or not, oldest first."""
    query = select(ModelRow).where(ModelRow.project_id == project_id, ModelRow.parent_id == model_id)
    return list(session.scalars(query.order_by(ModelRow.id).limit(limit)))


def source_of(session: Session, model: ModelRow) -> str | None:
    """Return the sha256 of the upload that a model was trained on."""
    return session.scalar(select(DatasetRow.source_sha256).where(DatasetRow.id == model.dataset_id))


def job_using(session: Session, project_id: str, model_id: str) -> str | None:
    """Return an unfinished job that starts from the model."""
    return session.scalar(
        select(JobRow.id)
        .where(JobRow.project_id == project_id, JobRow.parent_model_id == model_id, JobRow.status.in_(LIVING))
        .limit(1)
    )


def alias_sharing(session: Session, project_id: str, name: str, model_id: str) -> str | None:
    """Return an alias that deals some of its requests, or copies of them, to the model, and means another one first."""
    query = select(AliasRow).where(
        AliasRow.project_id == project_id, AliasRow.name == name, AliasRow.model_id != model_id
    )
    for row in session.scalars(query.order_by(AliasRow.alias)):
        traffic = row.traffic or {"weights": [], "shadow": None}
        if model_id in {*(model for model, _ in traffic["weights"]), traffic["shadow"]}:
            return row.alias
    return None


def mark_deleted(session: Session, project_id: str, model_id: str) -> None:
    """Mark the model as deleted and delete its aliases; garbage collection removes files that no other row names."""
    session.execute(
        update(ModelRow).where(ModelRow.id == model_id, ModelRow.project_id == project_id).values(deleted_at=db_now())
    )
    # After the model, whose row is locked from now on: who points an alias at it has come before, or is refused.
    mine = (AliasRow.project_id == project_id) & (AliasRow.model_id == model_id)
    note = select(
        AliasRow.project_id, AliasRow.name, AliasRow.alias, AliasRow.revision + 1, literal("deleted"), db_now()
    ).where(mine)
    columns = ["project_id", "name", "alias", "revision", "action", "changed_at"]
    session.execute(insert(AliasChangeRow).from_select(columns, note))
    reported = (ShadowReportRow.project_id == project_id) & (
        (ShadowReportRow.model_id == model_id) | (ShadowReportRow.shadow_id == model_id)
    )
    session.execute(delete(ShadowReportRow).where(reported))
    session.execute(delete(AliasRow).where(mine))
