"""Both databases that the service runs on, real ones; every test gets an empty, migrated one."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.db.session import Database
from app.settings import Settings
from tests.support.servers import Postgres


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Settings]:
    """Every test of this folder runs on both databases."""
    data = tmp_path / "data"
    if request.param == "postgresql":
        server: Postgres = request.getfixturevalue("postgres")
        with server.lent(request.getfixturevalue("template")) as name:
            yield Settings(data=data, database_url=server.url(name))
        return
    data.mkdir()
    shutil.copy(request.getfixturevalue("migrated"), data / "graftwork.db")
    yield Settings(data=data)


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    database = Database(settings.sql_url)
    yield database
    database.close()
