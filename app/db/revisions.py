"""The revision of a database's tables, and whether this release can work on it.

A revision's name is four digits, the first two its generation. Within a generation revisions only add, and their
additions have defaults, so that processes of the previous release keep working next to those of the next one.
"""

from pathlib import Path

from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError, ProgrammingError

from app.db.session import Database

FOLDER = Path(__file__).parents[2] / "migrations"
_DIGITS, _GENERATION = 4, 2


class OtherSchemaError(Exception):
    """This release cannot work on the database's tables; the message says what to do."""


def newest() -> str:
    """Return the revision that this release migrates a database to."""
    return max(file.name[:_DIGITS] for file in (FOLDER / "versions").glob("[0-9]*.py"))


def check(database: Database) -> None:
    """Raise `OtherSchemaError` where this release cannot work on the database; an unreachable database passes."""
    try:
        with database.engine.connect() as connection:
            revision = revision_of(connection)
    except OperationalError:
        return
    if revision is None or revision < newest():
        state = (
            "has no tables yet"
            if revision is None
            else f"is at revision {revision}, older than this release's {newest()}"
        )
        msg = f"the database {state}: run `graftwork migrate`"
        raise OtherSchemaError(msg)
    refuse_later_generation(revision)


def refuse_later_generation(revision: str) -> None:
    """Raise `OtherSchemaError` where a later release has changed tables that this one relies on."""
    if revision[:_GENERATION] > newest()[:_GENERATION]:
        release = f"this release ({newest()})"
        msg = f"the database is at revision {revision}, which {release} cannot work on: install a newer one"
        raise OtherSchemaError(msg)


def revision_of(connection: Connection) -> str | None:
    """Return the revision, or None if there are no tables yet. Raises `OperationalError` if the database is away."""
    try:
        with connection.begin_nested():
            revision: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    except (ProgrammingError, OperationalError) as error:
        if "alembic_version" not in str(error.orig):
            raise
        return None
    return revision
