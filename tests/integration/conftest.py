"""Both databases that the service runs on, real ones; every test gets an empty, migrated one."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.db.migrate import migrate
from app.db.session import Database
from app.settings import Settings
from tests.support.servers import Postgres


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    server = Postgres()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def template(postgres: Postgres) -> str:
    """A migrated database to copy from, which takes milliseconds."""
    name = postgres.create()
    database = Database(postgres.url(name))
    migrate(database)
    database.close()
    return name


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Every test of this folder runs on both databases."""
    data = tmp_path / "data"
    if request.param == "postgresql":
        server: Postgres = request.getfixturevalue("postgres")
        return Settings(data=data, database_url=server.url(server.create(request.getfixturevalue("template"))))
    data.mkdir()
    shutil.copy(request.getfixturevalue("migrated"), data / "graftwork.db")
    return Settings(data=data)


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    database = Database(settings.sql_url)
    yield database
    database.close()
