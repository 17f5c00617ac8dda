"""The simulated fleet: its jobs end, and what it believes of them is what its database says."""

from collections import Counter

from sqlalchemy import select

from app.db.tables import GangMemberRow, JobRow
from app.jobs.states import LEASED
from bench.fleet.clock import Clock, Meter, open_database
from bench.fleet.simulation import Fleet
from bench.fleet.workload import Workload


def test_a_simulated_fleet_and_its_database_agree() -> None:
    """Over days with deaths and gangs no job is lost, held by nobody, or run twice."""
    clock = Clock()
    database = open_database(clock)
    load = Workload(30, 3.0, mean_hours=6.0, projects=3, seed=5)
    outcome = Fleet(clock, Meter(database), load).run()
    with database.reading() as session:
        rows = session.execute(select(JobRow.status, JobRow.nodes, JobRow.started_at, JobRow.lease_until)).all()
        seats = session.scalars(select(GangMemberRow.worker)).all()
    database.close()
    statuses = Counter(row.status for row in rows)
    assert clock.now == load.days * 86_400
    assert len(rows) == len(outcome.jobs) > 100
    assert statuses["succeeded"] == sum(job.ended is not None and not job.has_failed for job in outcome.jobs) > 80
    assert statuses["failed"] == sum(job.has_failed for job in outcome.jobs)
    leases = [row.lease_until for row in rows if row.status in LEASED]
    assert len(leases) <= len(load.kinds())
    assert min(leases) > clock.now - 70, "what a worker that died had held was not taken back within its lease"
    assert all(row.started_at is None or 0 <= row.started_at <= clock.now for row in rows)
    assert outcome.deaths > 5
    assert any(job.nodes > 1 and job.ended is not None for job in outcome.jobs)
    assert len([seat for seat in seats if seat is not None]) == len({seat for seat in seats if seat is not None})
    assert outcome.missed == 0
