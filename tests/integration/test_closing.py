"""Nothing stays connected to a database that is closed, whoever still uses it."""

import threading
from typing import Any

from sqlalchemy import event, text

from app.db.session import Database


def test_a_connection_in_use_is_closed_once_it_is_given_back(database: Database) -> None:
    opened: list[Any] = []
    closed: list[Any] = []
    event.listen(database.engine, "connect", lambda connection, _: opened.append(connection))
    event.listen(database.engine, "close", lambda connection, _: closed.append(connection))
    asked, has_closed = threading.Event(), threading.Event()

    def use() -> None:
        with database.reading() as session:
            session.execute(text("SELECT 1"))
            asked.set()
            assert has_closed.wait(240)
            session.execute(text("SELECT 1"))
        with database.writing() as session:
            session.execute(text("SELECT 1"))

    thread = threading.Thread(target=use)
    thread.start()
    assert asked.wait(240)
    database.close()
    has_closed.set()
    thread.join(240)
    assert len(opened) == 2, "one was in use, another was opened afterwards"
    assert closed == opened
