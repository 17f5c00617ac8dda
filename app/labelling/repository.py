"""The SQL of labelled rows."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from sqlalchemy import CursorResult, delete, func, select, update
from sqlalchemy.orm import Session

from app.db.session import db_now
from app.db.tables import LabelledRow


@dataclass(frozen=True, slots=True)
class Collection:
    """The rows that one project of a labelling program labels for one name of models."""

    project_id: str
    name: str
    source: str


def keep(session: Session, collection: Collection, task: str, annotation: str, data: Any, label: Any) -> bool:
    """Keep a task's row and label, instead of what was known of it; return whether more is kept than before."""
    values = {"annotation": annotation, "content": {"input": data, "label": label}, "is_learned": False}
    key = {"project_id": collection.project_id, "name": collection.name, "source": collection.source, "task": task}
    row = session.get(LabelledRow, tuple(key.values()), with_for_update=True)
    if row is None:
        session.add(LabelledRow(**key, **values, updated_at=session.execute(select(db_now())).scalar_one()))
        session.flush()
        return True
    has_grown = len(json.dumps(values["content"])) > len(json.dumps(row.content))
    for name, value in values.items():
        setattr(row, name, value)
    row.updated_at = session.execute(select(db_now())).scalar_one()
    session.flush()
    return has_grown


def forget(
    session: Session, collection: Collection, *, tasks: Sequence[str] = (), annotations: Sequence[str] = ()
) -> int:
    """Delete rows of such tasks, or with such annotations; return how many there were."""
    named = LabelledRow.task.in_(tasks) | LabelledRow.annotation.in_(annotations)
    result = session.execute(delete(LabelledRow).where(*_of(collection), named))
    assert isinstance(result, CursorResult)
    return result.rowcount


def count(session: Session, collection: Collection) -> tuple[int, int]:
    """Return how many rows there are, and how many of them no model has learned."""
    query = select(func.count(), func.count().filter(LabelledRow.is_learned.is_(False)))
    total, new = session.execute(query.select_from(LabelledRow).where(*_of(collection))).one()
    return total, new


def newest(session: Session, collection: Collection, limit: int) -> list[tuple[str, float, Any, Any]]:
    """Return (task, time, data, label) of the rows that were labelled last, in the order of tasks."""
    query = select(LabelledRow.task, LabelledRow.updated_at, LabelledRow.content)
    rows = session.execute(query.where(*_of(collection)).order_by(LabelledRow.updated_at.desc()).limit(limit))
    return sorted(((task, time, content["input"], content["label"]) for task, time, content in rows), key=itemgetter(0))


def mark_learned(session: Session, collection: Collection, until: float) -> None:
    """Note that a model has learned what was labelled until a time."""
    change = update(LabelledRow).where(*_of(collection), LabelledRow.updated_at <= until).values(is_learned=True)
    session.execute(change.execution_options(synchronize_session=False))


def _of(collection: Collection) -> tuple[Any, ...]:
    return (
        LabelledRow.project_id == collection.project_id,
        LabelledRow.name == collection.name,
        LabelledRow.source == collection.source,
    )
