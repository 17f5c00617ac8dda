"""Engines and transactions: one transaction a request, and actions that run after its commit (ringing a worker).

SQLite begins writing transactions with BEGIN IMMEDIATE (one that reads first and then writes fails with "database is
locked" under load) and comes from `pysqlite3`, whose SQLite has the WAL-reset fix of 3.51.3.
"""

import logging
import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, ExceptionContext, ExecutionContext, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import FunctionElement
from sqlalchemy.types import Double

from app.projects.limits import ProjectLimits

log = logging.getLogger(__name__)

_AFTER_COMMIT, _LIMITS = "after_commit", "limits"
_MIN_SQLITE = (3, 51, 3)
MAX_REPEATS = 5
_FIRST_PAUSE_SECONDS = 0.05
_COLLISIONS = ("40001", "40P01")  # what PostgreSQL calls serialization_failure and deadlock_detected
_DATA_EXCEPTIONS = "22"  # what PostgreSQL says of values, which it quotes; other messages quote names of the schema
_QUOTED = re.compile(r'".*"', re.DOTALL)
T = TypeVar("T")


class db_now(FunctionElement[float]):  # noqa: N801 - reads like the SQL function that it is
    """Seconds since the epoch by the database's clock, the only clock that leases use."""

    type = Double()
    inherit_cache = True


@compiles(db_now, "sqlite")
def _sqlite_now(_element: db_now, _compiler: SQLCompiler, **_options: Any) -> str:
    return "unixepoch('subsec')"


@compiles(db_now, "postgresql")
def _postgresql_now(_element: db_now, _compiler: SQLCompiler, **_options: Any) -> str:
    return "extract(epoch from clock_timestamp())::double precision"


def _sqlite_engine(url: str) -> Engine:
    import pysqlite3  # noqa: PLC0415 - only where SQLite is used

    if pysqlite3.sqlite_version_info < _MIN_SQLITE:
        msg = f"SQLite {pysqlite3.sqlite_version} can corrupt its log; install pysqlite3>=0.6.1"
        raise RuntimeError(msg)
    if path := make_url(url).database:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    arguments = {"timeout": 10, "check_same_thread": False}
    engine = create_engine(url, module=pysqlite3, hide_parameters=True, connect_args=arguments)

    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        reading = connection.get_execution_options().get("reading", False)
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    return engine


def _postgresql_engine(url: str) -> Engine:
    return create_engine(
        make_url(url).set(drivername="postgresql+psycopg"),
        hide_parameters=True,
        pool_pre_ping=True,
        pool_size=10,
        max_overflow=20,
        pool_timeout=10,
        connect_args={
            "connect_timeout": 5,
            # A frozen or vanished process must not keep its job's row locked: nobody else could take the job.
            "options": "-c statement_timeout=30000 -c lock_timeout=10000 -c idle_in_transaction_session_timeout=15000",
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": 20000,
        },
    )


def _keep_values_out(context: ExceptionContext) -> None:
    """Leave the values of rows out of an error, which may be logged: PostgreSQL's details and messages repeat them."""
    error, wrapped = context.original_exception, context.sqlalchemy_exception
    diagnosis = getattr(error, "diag", None)
    if diagnosis is None or diagnosis.message_primary is None or wrapped is None:
        return
    message = diagnosis.message_primary
    if diagnosis.sqlstate.startswith(_DATA_EXCEPTIONS):
        message = _QUOTED.sub('"..."', message)
    error.args = (f"{message} [{diagnosis.sqlstate}]",)
    wrapped.args = (f"({type(error).__module__}.{type(error).__name__}) {error}",)


class Database:
    """One engine and its transactions; `limits` are those of a project whose row has none."""

    def __init__(self, url: str, limits: ProjectLimits | None = None) -> None:
        self.url = url
        self._limits = limits or ProjectLimits()
        self.engine = _sqlite_engine(url) if url.startswith("sqlite") else _postgresql_engine(url)
        event.listen(self.engine, "handle_error", _keep_values_out)
        self._reading = self.engine.execution_options(reading=True)
        self.statements = 0
        event.listen(self.engine, "before_cursor_execute", self._count)
        self._is_closed = False
        event.listen(self.engine, "checkin", self._close_late)

    def _count(self, *_: ExecutionContext | Any) -> None:
        self.statements += 1

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Open a transaction that only reads and never waits for a writer."""
        with Session(self._reading, expire_on_commit=False, info={_LIMITS: self._limits}) as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """Open a transaction, commit it at the end of the block, and then run the actions given to `after_commit`."""
        with Session(self.engine, expire_on_commit=False, info={_LIMITS: self._limits}) as session:
            yield session
            session.commit()
        for action in session.info.pop(_AFTER_COMMIT, ()):
            action()

    def transact(self, action: Callable[[Session], T]) -> T:
        """Run `action` as one transaction; after a collision repeat it as a whole, at most MAX_REPEATS times.

        A collision is a deadlock or a failed serialization: the database has rolled everything back, so that nothing
        happens twice. `action` must change only the database; everything else belongs in `after_commit`.
        """
        for repeat in range(MAX_REPEATS):
            try:
                with self.writing() as session:
                    return action(session)
            except OperationalError as error:
                if getattr(error.orig, "sqlstate", None) not in _COLLISIONS:
                    raise
                log.warning("two transactions collided, this one is repeated: %s", error.orig)
                time.sleep(random.uniform(0, _FIRST_PAUSE_SECONDS * 2**repeat))  # noqa: S311 - spreads the repeats of those that collided
        with self.writing() as session:
            return action(session)

    def close(self) -> None:
        """Close all connections: those that a thread still uses as soon as it gives them back."""
        self._is_closed = True
        self.engine.dispose()

    def _close_late(self, _connection: Any, record: ConnectionPoolEntry) -> None:
        if self._is_closed:
            record.invalidate()


def after_commit(session: Session, action: Callable[[], Any]) -> None:
    """Run `action` once this transaction is committed; never if it is not."""
    session.info.setdefault(_AFTER_COMMIT, []).append(action)


def default_limits(session: Session) -> ProjectLimits:
    """Return the limits of a project whose row has none."""
    limits: ProjectLimits = session.info.get(_LIMITS, ProjectLimits())
    return limits
