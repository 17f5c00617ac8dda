"""Whether the database that a command is to work on is there; a wrong `--data` is one line, and makes nothing."""

import sys
from contextlib import closing

from sqlalchemy.exc import DatabaseError

from app.db.revisions import OtherSchemaError, check
from app.db.session import Database
from app.settings import Settings


def exit_unless_usable(settings: Settings, *, may_be_away: bool = False) -> None:
    """Exit with the reason where the service has no database, or one that this release cannot work on.

    With `may_be_away`, one that cannot be reached passes: the API waits for it.
    """
    if not settings.database_url and not (settings.data_folder / "graftwork.db").is_file():
        remedy = "give the service's folder with --data, or make one with `graftwork migrate` or `graftwork up`"
        sys.exit(f"graftwork: there is no database in {settings.data_folder}: {remedy}.")
    with closing(Database(settings.sql_url)) as database:
        try:
            check(database)
            if not may_be_away:
                database.engine.connect().close()
        except OtherSchemaError as error:
            sys.exit(f"graftwork: {error}.")
        except DatabaseError as error:
            sys.exit(f"graftwork: the database cannot be used: {error.orig}".strip())
