"""Migrates a database to the tables of this release; of several processes that try at once, one does it."""

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text

from app import failpoints
from app.db import revisions
from app.db.session import Database

_LOCK = 0x67726166  # "graf", PostgreSQL's advisory lock for migrations


def config(connection: Connection) -> Config:
    """Return Alembic's configuration on an open connection."""
    alembic = Config()
    alembic.set_main_option("script_location", str(revisions.FOLDER))
    alembic.attributes["connection"] = connection
    return alembic


def migrate(database: Database) -> None:
    """Upgrade to the newest revision in one transaction that locks out other migrations.

    A database at a later revision of the same generation stays as it is. Raises `OtherSchemaError` for a later
    generation.
    """
    with database.engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SET LOCAL statement_timeout = 0"))  # an index of many rows takes its time
            connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
        failpoints.reach("migration.begun")
        revision = revisions.revision_of(connection)
        if revision is None or revision <= revisions.newest():
            command.upgrade(config(connection), "head")
        else:
            revisions.refuse_later_generation(revision)
