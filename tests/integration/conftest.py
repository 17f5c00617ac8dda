"""Both databases that the service runs on, real ones; every test gets an empty, migrated one.

Tests run on both. Where a module trains, and its SQL is that of other modules, too, it is marked `one_database`: each
of its tests runs on one of the two, which its name decides, so that about half of them run on either; or the mark
names the one, where it is not about SQL at all.
"""

import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.db.session import Database
from app.settings import Settings
from tests.support.choosing import CHOOSING_SECONDS
from tests.support.servers import Postgres
from tests.support.storage_totals import check_totals

DATABASES = ("sqlite", "postgresql")


@pytest.hookimpl(tryfirst=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Choose the database of a test that runs on one: as a mark, which overrides the parameters of the fixture."""
    chosen = any(mark.args[0] == "settings" for mark in metafunc.definition.iter_markers("parametrize"))
    mark = metafunc.definition.get_closest_marker("one_database")
    if mark is not None and "settings" in metafunc.fixturenames and not chosen:
        by_name = DATABASES[zlib.crc32(metafunc.definition.name.encode()) % len(DATABASES)]
        database = mark.args[0] if mark.args else by_name
        metafunc.definition.add_marker(pytest.mark.parametrize("settings", [database], indirect=True))


@pytest.fixture(params=DATABASES)
def settings(request: pytest.FixtureRequest, data_folder: Path) -> Iterator[Settings]:
    """Every test of this folder runs on both databases, or on one of them."""
    if request.param == "postgresql":
        server: Postgres = request.getfixturevalue("postgres")
        with server.lent(request.getfixturevalue("template")) as name:
            yield Settings(data=data_folder, database_url=server.url(name), choosing_seconds=CHOOSING_SECONDS)
        return
    data_folder.mkdir()
    shutil.copy(request.getfixturevalue("migrated"), data_folder / "graftwork.db")
    yield Settings(data=data_folder, choosing_seconds=CHOOSING_SECONDS)


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    """The test's database; at the end its totals are those that its rows add up to, whatever the test has done."""
    database = Database(settings.sql_url)
    yield database
    check_totals(database)
    database.close()
