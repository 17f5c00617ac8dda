"""Fixtures of all tests. A database, an application and keys are made afresh for each test."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from sqlalchemy import select

from app.artifacts import ArtifactStore
from app.db.migrate import migrate
from app.db.session import Database
from app.db.tables import ProjectRow
from app.dependencies import Services
from app.keys.service import SCOPES, Scope, create_key
from app.main import create_app
from app.queue import MemoryQueue
from app.settings import Settings
from tests.support.http import Http

# ---- settings, database, keys -------------------------------------------------------------------------------------


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path / "data")


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty SQLite database with every table: migrated once, copied for each test."""
    path = tmp_path_factory.mktemp("migrated") / "graftwork.db"
    database = Database(f"sqlite:///{path}")
    migrate(database)
    database.close()
    return path


@pytest.fixture
def database(settings: Settings, migrated: Path) -> Iterator[Database]:
    settings.data_folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(migrated, settings.data_folder / "graftwork.db")
    database = Database(settings.sql_url)
    yield database
    database.close()


MakeKey = Callable[..., str]


@pytest.fixture
def make_key(database: Database) -> MakeKey:
    def make(project: str = "default", scopes: tuple[Scope, ...] = SCOPES) -> str:
        with database.writing() as session:
            return create_key(session, project, "test", list(scopes))

    return make


@pytest.fixture
def key(make_key: MakeKey) -> str:
    return make_key()


@pytest.fixture
def project_id(database: Database, key: str) -> str:
    with database.reading() as session:
        return session.scalars(select(ProjectRow.id)).one()


# ---- the application, in process ----------------------------------------------------------------------------------


@pytest.fixture
def queue() -> MemoryQueue:
    return MemoryQueue()


@pytest.fixture
def app(settings: Settings, database: Database, queue: MemoryQueue) -> Iterator[FastAPI]:
    app = create_app(settings, queue=queue)
    yield app
    app.state.services.database.close()


@pytest.fixture
def services(app: FastAPI) -> Services:
    services: Services = app.state.services
    return services


@pytest.fixture
def artifacts(services: Services) -> ArtifactStore:
    return services.artifacts


@pytest.fixture
def client(app: FastAPI, key: str) -> Http:
    """The application as the owner of a key with every scope sees it."""
    return Http(app, key)
