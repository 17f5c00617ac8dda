"""What jobs leave when they have ended: totals that count each once, and events and measurements for some days."""

import time
from typing import Any

import pytest
from sqlalchemy import func, select, update

from app.db.session import Database
from app.db.tables import AttemptRow, EventRow, JobRow, MetricRow
from app.history import repository as history
from app.jobs import repository as jobs
from app.kit.ids import new_id
from tests.support.http import Http
from tests.support.problems import check_problem
from tests.support.rows import own_project

DAY = 86_400.0


def end(database: Database, days_ago: float, *, events: int = 3, warning: str = "imbalanced") -> str:
    """A job of the default project that ended so long ago, with an attempt, events and measurements."""
    job, ended = new_id("job"), time.time() - days_ago * DAY
    times = dict.fromkeys(("created_at", "queued_at", "started_at", "finished_at"), ended)
    fields: dict[str, Any] = {"kind": "pretraining", "status": "failed", "config": {}, "job_metadata": {}}
    with database.writing() as session:
        project = own_project(session)
        session.add(
            JobRow(id=job, project_id=project.id, last_seq=events, warnings=[{"code": warning}], **fields, **times)
        )
        session.flush()
        attempt = {"worker": "w", "started_at": ended, "ended_at": ended, "ending": "failed", "charged": True}
        session.add(AttemptRow(job_id=job, token=1, **attempt))
        line = {"level": "info", "type": "job.queued", "message": "Queued.", "data": {}, "created_at": ended}
        session.add_all(EventRow(job_id=job, seq=seq + 1, **line) for seq in range(events))
        point = {"epoch": 0, "created_at": ended, "values": {"loss": 1.0}}
        session.add_all(MetricRow(job_id=job, step=step, **point) for step in range(4))
    return job


def totals(database: Database) -> list[dict[str, int]]:
    with database.reading() as session:
        return [dict(history.read_total(session, total)) for total in history.TOTALS]


def add_up(database: Database) -> int:
    """Add everything up; how many transactions that took."""
    return sum(1 + _more(database, lambda session, t=total: history.add_up(session, t)) for total in history.TOTALS)


def _more(database: Database, step: Any) -> int:
    number = 0
    while database.transact(step):
        number += 1
    return number


def remove(database: Database, retention: history.Retention, days: float) -> int:
    return _more(database, lambda session: history.remove_old(session, retention, days))


def rows(database: Database, table: type[Any], job: str) -> int:
    with database.reading() as session:
        return session.execute(select(func.count()).where(table.job_id == job)).scalar_one()


def test_totals_count_each_end_once(database: Database) -> None:
    for _ in range(3):
        end(database, 1)
    assert totals(database) == [{"failed": 3}, {"imbalanced": 3}], "before anything was added up"
    for _ in range(2):
        add_up(database)
        assert totals(database) == [{"failed": 3}, {"imbalanced": 3}]
    end(database, 0)
    add_up(database)
    assert totals(database) == [{"failed": 4}, {"imbalanced": 4}], "the newest is counted, and not added up yet"
    with database.reading() as session:
        assert dict(history.read_total(session, history.ATTEMPTS)) == {"failed": 4}


def test_totals_outlive_their_rows(database: Database) -> None:
    job = end(database, 1)
    add_up(database)
    with database.writing() as session:
        jobs.delete_jobs(session, [job])
    assert totals(database) == [{"failed": 1}, {"imbalanced": 1}]


def test_totals_are_added_up_in_parts_of_bounded_size(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "_MAX_COUNTED", 2)
    for days in (5, 4, 3, 3, 2):
        end(database, days)
    assert add_up(database) > len(history.TOTALS)
    assert totals(database) == [{"failed": 5}, {"imbalanced": 5}]


def test_old_events_are_removed_but_for_the_last(database: Database) -> None:
    old, new = end(database, 10), end(database, 1)
    remove(database, history.EVENTS, 5)
    assert (rows(database, EventRow, old), rows(database, EventRow, new)) == (1, 3)
    assert (rows(database, MetricRow, old), rows(database, MetricRow, new)) == (4, 4)
    remove(database, history.MEASUREMENTS, 5)
    assert (rows(database, MetricRow, old), rows(database, MetricRow, new)) == (0, 4)


def test_old_rows_are_removed_in_parts_of_bounded_size(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "_MAX_JOBS", 2)
    monkeypatch.setattr(history, "_MAX_REMOVED", 3)
    monkeypatch.setattr(history, "_MAX_NAMED", 2)
    ended = [end(database, days) for days in (10, 9, 9, 9, 8)]
    assert remove(database, history.EVENTS, 5) >= 3
    assert [rows(database, EventRow, job) for job in ended] == [1] * 5


def test_a_job_that_runs_again_keeps_its_events_until_it_has_ended_again(database: Database) -> None:
    job = end(database, 10)
    with database.writing() as session:
        session.execute(update(JobRow).where(JobRow.id == job).values(status="running", finished_at=None))
    remove(database, history.EVENTS, 8)
    assert rows(database, EventRow, job) == 3
    with database.writing() as session:
        session.execute(update(JobRow).where(JobRow.id == job).values(finished_at=time.time() - 6 * DAY))
    remove(database, history.EVENTS, 7)
    assert rows(database, EventRow, job) == 3
    remove(database, history.EVENTS, 5.5)
    assert rows(database, EventRow, job) == 1


def test_answers_say_what_was_removed(client: Http, database: Database) -> None:
    old, new = end(database, 10), end(database, 1)
    assert client.get("/v1/events").json()["removed_until"] is None
    for retention in (history.EVENTS, history.MEASUREMENTS):
        remove(database, retention, 5)
    for job, removed, kept in ((old, 2, [3]), (new, 0, [1, 2, 3])):
        answer = client.get(f"/v1/jobs/{job}/events").json()
        assert (answer["removed"], [each["seq"] for each in answer["data"]]) == (removed, kept)
        answer = client.get(f"/v1/jobs/{job}/metrics").json()
        assert (answer["removed"], len(answer["data"])) == (removed > 0, 4 * (removed == 0))
    assert client.get("/v1/events").json()["removed_until"] is not None
    check_problem(client.get(f"/v1/jobs/{old}/curves/learning"), 404, "measurements_removed")
    assert client.get(f"/v1/jobs/{new}/curves/learning").status_code == 200
