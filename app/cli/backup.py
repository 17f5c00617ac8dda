"""`graftwork backup`: a consistent copy of the embedded database and artifacts while the service runs."""

import os
import shutil
import sys
from contextlib import closing
from pathlib import Path

from pysqlite3 import dbapi2 as sqlite

from app.settings import Settings

_ARTIFACTS = "artifacts"


def backup(settings: Settings, target: Path) -> None:
    """Write a copy of the data folder that a service can be started on.

    The database is copied first: every file that it names exists by then, and files added later are unused in the copy.
    A checkpoint that is replaced meanwhile is missing in the copy; its job resumes from an earlier one.
    """
    source = settings.data_folder
    if settings.database_url or settings.artifacts_url:
        sys.exit("graftwork backup: for the embedded database and local artifacts. See docs/operations.md for others.")
    if target.exists() and any(target.iterdir()):
        sys.exit(f"graftwork backup: {target} is not empty; name a new folder.")
    if not (source / "graftwork.db").exists():
        sys.exit(f"graftwork backup: there is no database in {source}; give the service's folder with --data.")
    target.mkdir(parents=True, exist_ok=True)
    _copy_database(source / "graftwork.db", target / "graftwork.db")
    if (source / _ARTIFACTS).exists():
        shutil.copytree(source / _ARTIFACTS, target / _ARTIFACTS, copy_function=_copy_if_present)
    os.sync()  # a backup that was reported as done survives a loss of power


def _copy_database(source: Path, target: Path) -> None:
    """Copy a snapshot of the database, whoever writes meanwhile."""
    with closing(sqlite.connect(source, timeout=30, isolation_level=None)) as connection:
        connection.execute("VACUUM INTO ?", (str(target),))


def _copy_if_present(source: str, target: str) -> None:
    """Copy a file, unless it was replaced since the folder was listed."""
    try:
        shutil.copy2(source, target)
    except FileNotFoundError:
        return
