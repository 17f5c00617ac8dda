"""SQL of aliases and their changes. Every query names the project, and whoever changes an alias locks it before."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, delete, func, select
from sqlalchemy.orm import Session

from app.aliases.comparison import Counts
from app.aliases.traffic import Traffic
from app.db.session import db_now
from app.db.tables import AliasChangeRow, AliasRow, ModelRow, ShadowReportRow
from app.webhooks import outbox

__all__ = ["AliasChangeRow", "AliasRow", "ModelRow", "ShadowReportRow"]  # services know the types of rows from here

MAX_CHANGES = 1000  # kept of an alias
MAX_LISTED = 200


@dataclass(frozen=True, slots=True)
class AliasKey:
    """Which alias: its project, the name of the model and its own."""

    project_id: str
    name: str
    alias: str

    def of(self, table: type[AliasRow | AliasChangeRow | ShadowReportRow]) -> ColumnElement[bool]:
        """The condition of its rows in a table."""
        return (table.project_id == self.project_id) & (table.name == self.name) & (table.alias == self.alias)


def list_of(session: Session, project_id: str, name: str) -> list[AliasRow]:
    """Return the aliases of a name, sorted."""
    query = select(AliasRow).where(AliasRow.project_id == project_id, AliasRow.name == name)
    return list(session.scalars(query.order_by(AliasRow.alias)))


def find(session: Session, key: AliasKey, *, lock: bool = False) -> AliasRow | None:
    """Return an alias; with `lock` nobody else changes it until the transaction ends."""
    query = select(AliasRow).where(key.of(AliasRow))
    return session.scalar(query.with_for_update() if lock else query)


def find_model(session: Session, project_id: str, model_id: str, *, lock: bool = False) -> ModelRow | None:
    """Return a model that is not deleted; with `lock` it is not deleted until the transaction ends."""
    query = select(ModelRow).where(
        ModelRow.id == model_id, ModelRow.project_id == project_id, ModelRow.deleted_at.is_(None)
    )
    return session.scalar(query.with_for_update(read=True) if lock else query)


def versions_of(session: Session, model_ids: set[str]) -> dict[str, int]:
    """Return the versions of models by id, deleted ones too."""
    rows = session.execute(select(ModelRow.id, ModelRow.version).where(ModelRow.id.in_(model_ids)))
    return {row.id: row.version for row in rows}


def changes(session: Session, key: AliasKey, *, limit: int = MAX_CHANGES) -> list[AliasChangeRow]:
    """Return the changes of an alias, the newest first."""
    query = select(AliasChangeRow).where(key.of(AliasChangeRow)).order_by(AliasChangeRow.revision.desc()).limit(limit)
    return list(session.scalars(query))


def put(session: Session, key: AliasKey, row: AliasRow | None, traffic: Traffic, **change: Any) -> AliasRow:
    """Let an alias, which is `row` unless it is new, mean this traffic, and note the change.

    Raises:
        IntegrityError: another transaction has made it meanwhile.
    """
    now = session.execute(select(db_now())).scalar_one()
    if row is None:
        row = AliasRow(project_id=key.project_id, name=key.name, alias=key.alias, revision=_next_revision(session, key))
        session.add(row)
    else:
        note_first(session, row)
        row.revision += 1
    meaning = {"model_id": traffic.primary, "traffic": traffic.as_json()}
    row.model_id, row.traffic, row.updated_at = traffic.primary, traffic.as_json(), now
    session.flush()
    _note(session, key, row.revision, now, **meaning, **change)
    _tell(session, key, row.revision, change["action"], traffic.primary)
    return row


def remove(session: Session, key: AliasKey, row: AliasRow) -> None:
    """Delete an alias, and note it in its history, which stays."""
    note_first(session, row)
    session.delete(row)
    session.execute(delete(ShadowReportRow).where(key.of(ShadowReportRow)))
    now = session.execute(select(db_now())).scalar_one()
    _note(session, key, row.revision + 1, now, model_id=None, action="deleted")
    _tell(session, key, row.revision + 1, "deleted", None)


def note_first(session: Session, row: AliasRow) -> None:
    """Note what an alias means now, where its history does not tell: an earlier release kept none."""
    if session.get(AliasChangeRow, (row.project_id, row.name, row.alias, row.revision)) is None:
        key = AliasKey(row.project_id, row.name, row.alias)
        _note(session, key, row.revision, row.updated_at, model_id=row.model_id, traffic=row.traffic, action="set")


def add_counts(session: Session, key: AliasKey, model_id: str, shadow_id: str, counts: Counts) -> None:
    """Add what a process has counted to what is known of a model and its shadow; nothing if the alias is gone.

    The alias is locked: several processes count, and none of their counts is lost.
    """
    if find(session, key, lock=True) is None:
        return
    now = session.execute(select(db_now())).scalar_one()
    row = session.get(ShadowReportRow, (key.project_id, key.name, key.alias, model_id, shadow_id))
    if row is None:
        fields = {"project_id": key.project_id, "name": key.name, "alias": key.alias, "model_id": model_id}
        session.add(ShadowReportRow(**fields, shadow_id=shadow_id, counts=counts.model_dump(), updated_at=now))
    else:
        row.counts, row.updated_at = Counts.model_validate(row.counts).plus(counts).model_dump(), now


def shadow_reports(session: Session, key: AliasKey) -> list[ShadowReportRow]:
    """Return what the shadows of an alias have shown, the newest first."""
    query = select(ShadowReportRow).where(key.of(ShadowReportRow)).order_by(ShadowReportRow.updated_at.desc())
    return list(session.scalars(query.limit(MAX_LISTED)))


def _note(session: Session, key: AliasKey, revision: int, now: float, **change: Any) -> None:
    fields = {"project_id": key.project_id, "name": key.name, "alias": key.alias}
    session.add(AliasChangeRow(**fields, revision=revision, changed_at=now, **change))
    session.flush()
    session.execute(
        delete(AliasChangeRow).where(key.of(AliasChangeRow), AliasChangeRow.revision <= revision - MAX_CHANGES)
    )


def _tell(session: Session, key: AliasKey, revision: int, action: str, model_id: str | None) -> None:
    """Queue the messages of webhooks about a change."""
    which = {"name": key.name, "alias": key.alias, "action": action}
    outbox.alias_moved(session, key.project_id, **which, revision=revision, model_id=model_id)


def _next_revision(session: Session, key: AliasKey) -> int:
    """Return the revision after the last one, so that none ever means two things."""
    return (session.scalar(select(func.max(AliasChangeRow.revision)).where(key.of(AliasChangeRow))) or 0) + 1
