"""The writer: a thread in every API process that writes jobs that have ended to the operator's MLflow server.

Of all processes one begins within `mlflow_seconds`. What the server refuses is a warning of the job, and no more; where
it does not answer, jobs are tried again for a day.
"""

import logging
import random
import threading

from app.db.session import Database
from app.errors import GraftworkError
from app.jobs.kinds import KINDS
from app.settings import Settings
from app.storage.repository import begin
from app.tracking import repository, service
from app.tracking.mlflow_server import TrackingError

log = logging.getLogger(__name__)

_JOBS = 100  # of a pass
_MAX_FAILURES = 3  # of a pass, after which the server is taken to be away
_STOP_SECONDS = 5.0


class MlflowWriter:
    """Writes every `mlflow_seconds`, where there is a server."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mlflow", daemon=True)

    def start(self) -> None:
        """Begin."""
        if self._settings.mlflow_url.get_secret_value():
            self._thread.start()

    def stop(self) -> None:
        """End after the job that is being written; what is cut off is completed the next time."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=_STOP_SECONDS)

    def _run(self) -> None:
        seconds = self._settings.mlflow_seconds
        while not self._stop.wait(seconds):
            try:
                if self._database.transact(lambda session: begin(session, "mlflow", seconds)):
                    self.write_what_is_due()
            except Exception:
                log.exception("jobs were not written to MLflow; it is tried again after %s s", seconds)

    def write_what_is_due(self) -> int:
        """Write jobs that have ended and are not in MLflow; return how many were written."""
        kinds = [kind for kind, request in KINDS.items() if request.is_tracked]
        with self._database.reading() as session:
            jobs = repository.due(session, kinds, _JOBS)
        random.shuffle(jobs)  # so that some that always fail do not keep the others from their turn
        written = failures = 0
        for project_id, job_id in jobs:
            if self._stop.is_set() or failures >= _MAX_FAILURES:
                break
            try:
                experiment = self._settings.mlflow_experiment
                service.write_to_own_mlflow(self._database, self._settings, project_id, job_id, experiment)
                written += 1
            except TrackingError as error:
                failures += error.again
                log.warning("job %s is not in MLflow: %s", job_id, error)
            except GraftworkError as error:  # it was deleted or retried meanwhile, or somebody else writes it
                log.info("job %s is not written to MLflow now: %s", job_id, error.detail)
        return written
