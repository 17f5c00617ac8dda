"""Which revision of the tables a database has, and whether this release can work on it.

A revision's name is four digits, the first two its generation. Within a generation revisions only add, and what they
add has a default, so that processes of the release before go on working while others run the next one already.
"""

import sys
from contextlib import closing
from pathlib import Path

from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError, ProgrammingError

from app.db.session import Database

FOLDER = Path(__file__).parents[2] / "migrations"
_DIGITS, _GENERATION = 4, 2


class OtherSchemaError(Exception):
    """The database's tables are not those that this release can work on; the text says what to do."""


def newest() -> str:
    """The revision that this release brings a database to."""
    return max(file.name[:_DIGITS] for file in (FOLDER / "versions").glob("[0-9]*.py"))


def check(database: Database) -> None:
    """Raise `OtherSchemaError` where this release cannot work on the database; one that is away may be mended yet."""
    try:
        with database.engine.connect() as connection:
            there = revision_of(connection)
    except OperationalError:
        return
    if there is None or there < newest():
        state = (
            "has no tables yet" if there is None else f"is at revision {there}, older than this release's {newest()}"
        )
        msg = f"the database {state}: run `graftwork migrate`"
        raise OtherSchemaError(msg)
    refuse_later_generation(there)


def exit_unless_fit(url: str) -> None:
    """End this program, with the reason, where it cannot work on the database at `url`."""
    with closing(Database(url)) as database:
        try:
            check(database)
        except OtherSchemaError as error:
            sys.exit(f"graftwork: {error}.")


def refuse_later_generation(there: str) -> None:
    """Raise `OtherSchemaError` where a release to come has changed what this one relies on."""
    if there[:_GENERATION] > newest()[:_GENERATION]:
        msg = (
            f"the database is at revision {there}, which this release ({newest()}) cannot work on: install a newer one"
        )
        raise OtherSchemaError(msg)


def revision_of(connection: Connection) -> str | None:
    """The revision, or None where there are no tables yet. Raises `OperationalError` where the database is away."""
    try:
        with connection.begin_nested():
            revision: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    except (ProgrammingError, OperationalError) as error:
        if "alembic_version" not in str(error.orig):
            raise
        return None
    return revision
