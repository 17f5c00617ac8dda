"""Revisions of a generation only add: the code of the release before goes on working on their tables."""

from itertools import pairwise
from typing import Any, NamedTuple

import pytest
from alembic import command
from sqlalchemy import inspect

from app.db import revisions
from app.db.migrate import config
from app.db.session import Database

REVISIONS = sorted(file.name[:4] for file in (revisions.FOLDER / "versions").glob("[0-9]*.py"))
STEPS = list(pairwise(REVISIONS))


class Column(NamedTuple):
    """What a column takes: statements that do not know it need a default, or that it may be null."""

    type: str
    may_be_left_out: bool


Tables = dict[str, dict[str, Column]]


def tables(database: Database) -> Tables:
    inspector = inspect(database.engine)
    return {
        table: {column["name"]: _column(column) for column in inspector.get_columns(table)}
        for table in inspector.get_table_names()
    }


def _column(column: Any) -> Column:
    left_out = column["nullable"] or column["default"] is not None or bool(column.get("identity"))
    return Column(str(column["type"]), left_out)


def broken(before: Tables, after: Tables) -> list[str]:
    """What statements that were written for the tables of before no longer find, or leave out."""
    faults = []
    for table, columns in before.items():
        now = after.get(table, {})
        faults += [f"{table}.{name} is gone" for name in columns.keys() - now.keys()]
        for name in columns.keys() & now.keys():
            if columns[name].type != now[name].type:
                faults.append(f"{table}.{name} was {columns[name].type} and is {now[name].type}")
            if columns[name].may_be_left_out and not now[name].may_be_left_out:
                faults.append(f"{table}.{name} must be given now")
        faults += [
            f"{table}.{name} is new and must be given"
            for name in now.keys() - columns.keys()
            if now and not now[name].may_be_left_out
        ]
    return sorted(faults)


def test_each_revision_only_adds(database: Database) -> None:
    with database.engine.begin() as connection:
        command.downgrade(config(connection), REVISIONS[0])
    before = tables(database)
    assert "jobs" in before
    for revision, following in STEPS:
        with database.engine.begin() as connection:
            command.upgrade(config(connection), following)
        after = tables(database)
        if revision[:2] == following[:2]:
            assert broken(before, after) == [], following
        before = after


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"a": None}, "t.a is gone"),
        ({"a": Column("TEXT", may_be_left_out=True)}, "t.a was BIGINT and is TEXT"),
        ({"a": Column("BIGINT", may_be_left_out=False)}, "t.a must be given now"),
        ({"b": Column("BIGINT", may_be_left_out=False)}, "t.b is new and must be given"),
        ({"b": Column("BIGINT", may_be_left_out=True)}, None),
    ],
)
def test_what_does_not_only_add_is_said(change: dict[str, Column | None], fault: str | None) -> None:
    before: Tables = {"t": {"a": Column("BIGINT", may_be_left_out=True)}}
    after: Tables = {"t": {name: column for name, column in {**before["t"], **change}.items() if column}}
    assert broken(before, after) == ([fault] if fault else [])
