"""Migrations on both databases: they make the tables that the code knows, once, however many try."""

import subprocess
import sys
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import inspect

from app.db.migrate import config, migrate
from app.db.session import Database
from app.db.tables import Base
from tests.support.servers import HANGS, Postgres


def test_the_migrated_tables_are_those_of_the_code(database: Database) -> None:
    with database.engine.begin() as connection:
        command.check(config(connection))
    names = set(inspect(database.engine).get_table_names())
    assert names == {*Base.metadata.tables, "alembic_version"}


def test_migrating_again_changes_nothing(database: Database) -> None:
    before = {name: len(inspect(database.engine).get_columns(name)) for name in Base.metadata.tables}
    migrate(database)
    assert before == {name: len(inspect(database.engine).get_columns(name)) for name in Base.metadata.tables}


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_four_processes_may_migrate_at_once(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if kind == "sqlite":
        url = f"sqlite:///{tmp_path / 'fresh.db'}"
    else:
        server: Postgres = request.getfixturevalue("postgres")
        url = server.url(server.create())
    code = f"from app.db.migrate import migrate; from app.db.session import Database; migrate(Database({url!r}))"
    processes = [subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE) for _ in range(4)]
    for process in processes:
        _, errors = process.communicate(timeout=HANGS)
        assert process.returncode == 0, errors.decode()
    database = Database(url)
    assert set(Base.metadata.tables) <= set(inspect(database.engine).get_table_names())
    database.close()


def test_down_and_up_again(database: Database) -> None:
    with database.engine.begin() as connection:
        command.downgrade(config(connection), "base")
    assert set(inspect(database.engine).get_table_names()) <= {"alembic_version"}
    migrate(database)
