"""Databases whose clock is simulated, and a meter of what is asked of them.

The code under simulation reads the time by `app.db.session.db_now`, a function of the database. The database's own
function is replaced: on SQLite `unixepoch`, on PostgreSQL `clock_timestamp`, in a schema searched before the system's.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import event, func, select, text
from sqlalchemy.orm import Session

from app.db.migrate import migrate
from app.db.session import Database
from app.projects.limits import ProjectLimits

_NOW_OF_SESSION = """
CREATE SCHEMA fleet;
CREATE FUNCTION fleet.clock_timestamp() RETURNS timestamptz LANGUAGE sql STABLE AS
$$ SELECT to_timestamp(current_setting('fleet.now')::double precision) $$
"""


@dataclass
class Clock:
    """The simulated time, in seconds."""

    now: float = 0.0


def open_database(clock: Clock, url: str | None = None, limits: ProjectLimits | None = None) -> Database:
    """Return a migrated database that asks `clock` for the time: SQLite in memory, or an empty one of PostgreSQL."""
    database = Database(url or "sqlite://", limits)
    if url is None:

        @event.listens_for(database.engine, "connect")
        def _replace(connection: Any, _record: Any) -> None:
            connection.create_function("unixepoch", 1, lambda _: clock.now, deterministic=True)  # in one statement

        migrate(database)
        return database

    migrate(database)
    with database.engine.begin() as connection:
        connection.execute(text(_NOW_OF_SESSION))
    database.engine.dispose()

    @event.listens_for(database.engine, "checkout")
    def _set(connection: Any, _record: Any, _proxy: Any) -> None:
        connection.execute("SET search_path = fleet, pg_catalog, public")
        connection.execute(f"SET fleet.now = '{clock.now!r}'")
        connection.commit()

    return database


@dataclass
class Cost:
    """What the transactions of one kind took."""

    transactions: int = 0
    statements: int = 0
    seconds: float = 0.0

    def add(self, transactions: int, statements: int, seconds: float) -> None:
        """Add others to these."""
        self.transactions += transactions
        self.statements += statements
        self.seconds += seconds


class Meter:
    """Transactions by kind, with their statements and seconds.

    Seconds are CPU time, so that other programs do not count: this process's, SQLite and SQLAlchemy together, or that
    of PostgreSQL's process alone (Linux).
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self.costs: defaultdict[str, Cost] = defaultdict(Cost)
        self._last = ("", 0, 0.0)
        self._time = time.process_time if database.url.startswith("sqlite") else _time_of_backend(database)

    @contextmanager
    def transaction(self, kind: str) -> Iterator[Session]:
        """Open a transaction that is measured from its beginning to its commit."""
        statements, began = self.database.statements, self._time()
        with self.database.writing() as session:
            yield session
        self._last = (kind, self.database.statements - statements, self._time() - began)
        self.costs[kind].add(1, *self._last[1:])

    def call_last(self, kind: str) -> None:
        """Count the last transaction as one of another kind, which shows when it is done."""
        before, statements, seconds = self._last
        self.costs[before].add(-1, -statements, -seconds)
        self.costs[kind].add(1, statements, seconds)


def _time_of_backend(database: Database) -> Callable[[], float]:
    """Return the clock of the CPU seconds of the connection's process; one thread uses one connection."""
    with database.reading() as session:
        process = session.scalar(select(func.pg_backend_pid()))
    file = Path(f"/proc/{process}/schedstat")
    return lambda: int(file.read_text().split()[0]) / 1e9
