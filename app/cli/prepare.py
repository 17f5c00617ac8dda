"""What a database needs before the service runs on it: its tables, and a first key."""

import sys
from contextlib import closing
from urllib.parse import quote

from pysqlite3 import dbapi2 as sqlite

from app.cli.keys import PROJECT
from app.db.migrate import migrate
from app.db.revisions import OtherSchemaError
from app.db.session import Database
from app.keys.service import first_key
from app.settings import Settings


def prepare(settings: Settings, *, invent_key: bool) -> str | None:
    """Migrate; make the bootstrap key valid or, with `invent_key`, make up a key where there is none yet.

    Returns the key if it is a new one.
    """
    if settings.sql_url.startswith("sqlite"):
        _refuse_damaged(settings)
    database = Database(settings.sql_url)
    try:
        migrate(database)
    except OtherSchemaError as error:
        sys.exit(f"graftwork: {error}.")
    else:
        return _first_key(database, settings, invent_key=invent_key)
    finally:
        database.close()


def _refuse_damaged(settings: Settings) -> None:
    """Exit where SQLite's file is not whole: what is written into such a one makes it worse. A second for each GB."""
    file = settings.data_folder / "graftwork.db"
    if settings.database_url or not file.exists():
        return
    try:
        with closing(sqlite.connect(f"file:{quote(str(file))}?mode=ro", uri=True, timeout=10)) as connection:
            problem = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite.DatabaseError as error:
        problem = str(error)
    if problem != "ok":
        detail = " ".join(problem.split())
        sys.exit(f"graftwork: {file} is damaged ({detail}). Restore a backup of it: docs/operations.md says how.")


def _first_key(database: Database, settings: Settings, *, invent_key: bool) -> str | None:
    given = settings.bootstrap_key.get_secret_value() if settings.bootstrap_key else None
    with database.writing() as session:
        return first_key(session, PROJECT, given, invent=invent_key)
