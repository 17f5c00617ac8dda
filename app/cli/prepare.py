"""Prepares a database for the service: migrates its tables and creates the first API key."""

import sys
from contextlib import closing
from urllib.parse import quote

from pysqlite3 import dbapi2 as sqlite

from app.cli.keys import PROJECT
from app.db.migrate import migrate
from app.db.revisions import OtherSchemaError
from app.db.session import Database
from app.keys.service import first_key
from app.kit.files import keep_private
from app.settings import Settings


def prepare(settings: Settings, *, invent_key: bool) -> str | None:
    """Migrate the database, and create the bootstrap key or, with `invent_key`, a random key if there is none yet.

    Returns the key if it was created. Exits for a damaged database, and for one of a later release.
    """
    keep_private(settings.data_folder)
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
    """Exit if SQLite's file is damaged: further writes would make it worse. Takes about a second per GB."""
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
    bootstrap_key = settings.bootstrap_key.get_secret_value() if settings.bootstrap_key else None
    with database.writing() as session:
        return first_key(session, PROJECT, bootstrap_key, invent=invent_key)
