"""Fixtures of all tests. A database, an application and keys are made afresh for each test."""

import gc
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from sqlalchemy import Connection, Engine, event, select
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from xdist.remote import Producer
from xdist.scheduler import LoadGroupScheduling

from app.artifacts import ArtifactStore
from app.db.migrate import migrate
from app.db.session import Database
from app.db.tables import ProjectRow
from app.dependencies import Services
from app.keys.service import SCOPES, Scope, create_key
from app.main import create_app
from app.queue import MemoryQueue
from app.settings import Settings
from tests.support.choosing import CHOOSING_SECONDS
from tests.support.http import Http
from tests.support.servers import Postgres

# ---- hypothesis -----------------------------------------------------------------------------------------------------

# The same examples in each run, and none of them is too slow: whether a test passes depends on the code alone. New
# examples are drawn by `make fuzz`.
_PATIENT = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.filter_too_much]}
hypothesis_settings.register_profile("repeatable", derandomize=True, max_examples=50, **_PATIENT)
hypothesis_settings.register_profile("fuzz", max_examples=300, **_PATIENT)
hypothesis_settings.load_profile("repeatable")

# ---- order ----------------------------------------------------------------------------------------------------------

_LONG_FIRST = ("e2e", "unit/jobs", "contracts", "chaos", "integration", "unit/training")
_SERVICES = ("shared", "on_postgres")  # a service costs as much to start as several tests that use it


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes long, so that no process waits for another at the end; keep those of a service together."""
    for item in items:
        for name in _SERVICES:
            if name in getattr(item, "fixturenames", ()):
                item.add_marker(pytest.mark.xdist_group(name))
    items.sort(key=_turn)


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Set aside what lives to the end (modules, models, tests), so that no search for garbage goes through it."""
    gc.collect()
    gc.freeze()


def _turn(item: pytest.Item) -> tuple[int, bool]:
    folder = item.path.relative_to(Path(__file__).parent).as_posix()
    turn = next((turn for turn, begin in enumerate(_LONG_FIRST) if folder.startswith(begin)), len(_LONG_FIRST))
    return turn, item.get_closest_marker("xdist_group") is None


class _ByFile(LoadGroupScheduling):
    """A process takes a group, or else a file, at a time."""

    def _split_scope(self, nodeid: str) -> str:
        return super()._split_scope(nodeid).partition("::")[0]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadGroupScheduling | None:
    return _ByFile(config, log) if config.getoption("dist") == "loadgroup" else None


# ---- statements -----------------------------------------------------------------------------------------------------

# A process compiles each statement once for each kind of database, not once for each of the databases that come and go.
_COMPILED: dict[object, object] = {}


@event.listens_for(Engine, "engine_connect")
def _share_compiled(connection: Connection) -> None:
    connection.execution_options(compiled_cache=_COMPILED)


for _dialect in (PGDialect_psycopg, SQLiteDialect_pysqlite):  # part of the key; all of a class write the same SQL
    _dialect.__hash__ = lambda self: hash(type(self))  # type: ignore[method-assign]
    _dialect.__eq__ = lambda self, other: type(self) is type(other)  # type: ignore[method-assign]

# ---- settings, database, keys -------------------------------------------------------------------------------------


@pytest.fixture
def data_folder(tmp_path: Path) -> Path:
    """Where a service of this process keeps everything."""
    return tmp_path / "data"


@pytest.fixture
def settings(data_folder: Path) -> Settings:
    return Settings(data=data_folder, choosing_seconds=CHOOSING_SECONDS)


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


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One server for all tests of a process; each takes a database of its own."""
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
