"""What API and worker do before anything else: they refuse a database whose tables are not theirs."""

import sys
from contextlib import closing

from app.db import revisions
from app.db.session import Database
from app.settings import Settings


def refuse_other_schema(settings: Settings) -> None:
    """Exit where this release cannot work on the database."""
    with closing(Database(settings.sql_url)) as database:
        try:
            revisions.check(database)
        except revisions.OtherSchemaError as error:
            sys.exit(f"graftwork: {error}.")
