"""Which tables a release works on: its own and those that later releases only added to; others it refuses."""

import os
import subprocess
import sys

import pytest
from alembic import command
from sqlalchemy import text

from app.db import revisions
from app.db.migrate import config, migrate
from app.db.session import Database
from app.settings import Settings
from tests.support.http import Http
from tests.support.servers import HANGS, valkey
from tests.support.work import run_jobs


def move_to(database: Database, revision: str) -> None:
    """As a release to come would leave it."""
    with database.engine.begin() as connection:
        connection.execute(text("ALTER TABLE jobs ADD COLUMN of_the_next_release INTEGER NOT NULL DEFAULT 7"))
        connection.execute(text("UPDATE alembic_version SET version_num = :revision"), {"revision": revision})


def started(settings: Settings, *program: str, broker: str = "") -> "subprocess.CompletedProcess[str]":
    """The end of an API or a worker that does not start."""
    given = {"DATA": str(settings.data), "DATABASE_URL": settings.database_url, "BROKER_URL": broker}
    environment = {**os.environ, **{f"GRAFTWORK_{name}": value for name, value in given.items() if value}}
    command_line = [sys.executable, "-m", "app.cli.main", *program]
    return subprocess.run(command_line, env=environment, capture_output=True, text=True, timeout=HANGS, check=False)


def test_older_tables_are_refused_with_what_to_do(database: Database, settings: Settings) -> None:
    with database.engine.begin() as connection:
        command.downgrade(config(connection), "0004")
    with pytest.raises(revisions.OtherSchemaError, match=r"revision 0004, older .* run `graftwork migrate`"):
        revisions.check(database)
    ended = started(settings, "api", "--port", "0")
    assert ended.returncode == 1
    assert "run `graftwork migrate`" in ended.stderr
    migrate(database)
    revisions.check(database)


def test_no_tables_and_a_database_that_is_away(settings: Settings) -> None:
    empty = Database("sqlite://")
    with pytest.raises(revisions.OtherSchemaError, match="has no tables yet: run `graftwork migrate`"):
        revisions.check(empty)
    empty.close()
    away = Database("postgresql://nobody@127.0.0.1:1/nothing")
    revisions.check(away)
    away.close()


def test_tables_that_a_later_release_added_to_serve_this_one(
    client: Http, database: Database, settings: Settings
) -> None:
    move_to(database, "0099")
    revisions.check(database)
    migrate(database)
    rows = "\n".join(f"{number},{number % 7}" for number in range(40))
    made = client.post("/v1/datasets", files={"file": ("rows.csv", f"a,b\n{rows}\n".encode())}, data={"name": "rows"})
    run_jobs(settings)
    body = {"kind": "pretraining", "dataset": made.json()["id"], "backbone": {"kind": "mlp"}, "training": {"steps": 2}}
    job = client.post("/v1/jobs", json=body).json()["id"]
    run_jobs(settings)
    assert client.get(f"/v1/jobs/{job}").json()["status"] == "succeeded"


def test_tables_of_a_later_generation_are_refused(database: Database, settings: Settings) -> None:
    move_to(database, "0101")
    with pytest.raises(revisions.OtherSchemaError, match=r"0101, which this release .* install a newer one"):
        migrate(database)
    with valkey() as broker:
        ended = started(settings, "worker", broker=broker)
    assert ended.returncode == 1
    assert "install a newer one" in ended.stderr
    assert started(settings, "migrate").returncode == 1
