"""Alembic's entry: runs on the connection that `app.db.migrate` opened, locked against other migrations."""

from typing import Any

from alembic import context

from app.db.indexes import POSTGRESQL_ALONE
from app.db.tables import Base

connection = context.config.attributes["connection"]
_OTHER_ON_SQLITE = {"ix_jobs_place", *(index.name for index in POSTGRESQL_ALONE)}


def is_told_whole(_: Any, name: str | None, kind: str, *__: Any) -> bool:
    """Tell whether the database says all of it: SQLite does not say in which order an index lies, and lacks some."""
    return not (kind == "index" and name in _OTHER_ON_SQLITE and connection.dialect.name == "sqlite")


context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    render_as_batch=True,
    compare_type=True,
    include_object=is_told_whole,
)
with context.begin_transaction():
    context.run_migrations()
