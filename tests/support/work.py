"""A worker in this process: the real runner, without Celery and without processes of its own."""

from app.db.session import Database
from app.jobs import lease as leases
from app.settings import Settings
from worker.attempt.drain import Draining
from worker.process import runner


def run_jobs(settings: Settings) -> int:
    """Run every queued job to its end; return how many there were."""
    database = Database(settings.sql_url)
    count = 0
    try:
        while True:
            with database.writing() as session:
                lease = leases.claim(session, "test", 60)
            if lease is None:
                return count
            runner.run(lease, Draining(), settings)
            count += 1
    finally:
        database.close()
