"""Both databases that the service runs on, real ones; every test gets an empty, migrated one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.db.migrate import migrate
from app.db.session import Database
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
def any_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        server: Postgres = request.getfixturevalue("postgres")
        return server.url(server.create(request.getfixturevalue("template")))
    return f"sqlite:///{tmp_path / 'test.db'}"


@pytest.fixture
def any_database(any_database_url: str) -> Iterator[Database]:
    database = Database(any_database_url)
    migrate(database)
    yield database
    database.close()
