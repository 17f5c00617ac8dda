"""Both databases that the service runs on, real ones; every test gets an empty, migrated one."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.db.session import Database
from app.settings import Settings
from tests.support.servers import Postgres


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(request: pytest.FixtureRequest, data_folder: Path) -> Iterator[Settings]:
    """Every test of this folder runs on both databases."""
    if request.param == "postgresql":
        server: Postgres = request.getfixturevalue("postgres")
        with server.lent(request.getfixturevalue("template")) as name:
            yield Settings(data=data_folder, database_url=server.url(name))
        return
    data_folder.mkdir()
    shutil.copy(request.getfixturevalue("migrated"), data_folder / "graftwork.db")
    yield Settings(data=data_folder)


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    database = Database(settings.sql_url)
    yield database
    database.close()
