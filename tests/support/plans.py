"""What is asked of a database, and how it finds the answer: its plans."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, event

_EXPLAIN = {"sqlite": "EXPLAIN QUERY PLAN", "postgresql": "EXPLAIN"}


@contextmanager
def statements(engine: Engine) -> Iterator[list[tuple[str, Any]]]:
    """Gather the statements that are executed inside, with their parameters."""
    executed: list[tuple[str, Any]] = []

    def keep(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        if statement.lstrip().startswith(("SELECT", "UPDATE", "DELETE")):
            executed.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", keep)
    try:
        yield executed
    finally:
        event.remove(engine, "before_cursor_execute", keep)


@contextmanager
def plans(engine: Engine) -> Iterator[dict[str, list[str]]]:
    """Gather the statements that are executed inside and, at the end, the lines of the plan of each."""
    found: dict[str, list[str]] = {}
    with statements(engine) as executed:
        yield found
    with engine.connect() as connection:
        for statement, parameters in dict(executed).items():
            rows = connection.exec_driver_sql(f"{_EXPLAIN[engine.dialect.name]} {statement}", parameters).all()
            found[statement] = [str(row[-1]) for row in rows]
