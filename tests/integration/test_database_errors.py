"""What the database refuses is logged without the values of rows: neither parameters nor what the driver repeats."""

import logging
import traceback

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, StatementError

from app.db.session import Database
from app.db.tables import ApiKeyRow, ProjectRow

VALUE = 'the patient"s name'
LONG = VALUE + "x" * 300


def message_of(database: Database, statement: str, **values: object) -> str:
    """All that a log line with a traceback shows of the error."""
    with pytest.raises(StatementError) as caught, database.writing() as session:
        session.execute(text(statement), values)
    return "".join(traceback.format_exception(caught.value))


def add(database: Database, name: str) -> None:
    with database.writing() as session:
        session.add(ProjectRow(id=f"prj_{name[-3:]}", name=name, created_at=0.0))


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO projects (id, name, created_at) VALUES ('other', :value, 0)",  # unique: DETAIL has the key
        "INSERT INTO projects (id, name, created_at) VALUES (:value, :value, NULL)",  # not null: DETAIL has the row
        "INSERT INTO jobs (id, project_id, kind, status, config) VALUES (:value, :value, 'x', 'x', '{}')",
        "UPDATE projects SET created_at = no_such_function(:value)",
    ],
)
def test_no_value_of_a_refused_row_is_in_the_error(database: Database, statement: str) -> None:
    add(database, VALUE)
    message = message_of(database, statement, value=VALUE)
    assert "patient" not in message
    assert ("projects" in message) or ("jobs" in message), "what it was about is still said"
    assert "constraint" in message or "function" in message


def test_a_foreign_key_error_says_no_value(database: Database) -> None:
    fields = {"name": "k", "sha256": "0" * 64, "scopes": [], "created_at": 0.0}
    row = ApiKeyRow(id="key_x", project_id=VALUE, **fields)
    with pytest.raises(DBAPIError) as caught, database.writing() as session:
        session.add(row)
    assert "patient" not in "".join(traceback.format_exception(caught.value))


def test_values_of_the_wrong_type_are_not_repeated(database: Database) -> None:
    if database.url.startswith("sqlite"):
        pytest.skip("SQLite takes any value")
    for statement in (
        "SELECT CAST(:value AS bigint)",
        "SELECT CAST(:value AS jsonb)",
        "SELECT CAST(:value AS timestamp)",
        "INSERT INTO projects (id, name, created_at) VALUES (:value, 'n', 0)",
    ):
        message = message_of(database, statement, value=LONG)
        assert "patient" not in message, message
    message = message_of(database, "SELECT CAST(:value AS bigint)", value="12 a")
    assert '"..."' in message


def test_the_logs_of_a_failed_request_have_no_value(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    add(database, VALUE)
    try:
        with database.writing() as session:
            session.add(ProjectRow(id="prj_2", name=VALUE, created_at=0.0))
    except DBAPIError:
        logging.getLogger("app").exception("it failed")
    assert "it failed" in caplog.text
    assert "patient" not in caplog.text
