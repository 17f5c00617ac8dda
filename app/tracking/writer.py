"""The writer: a thread in every API process that writes jobs that have ended to the operator's MLflow server.

Of all processes one begins within `mlflow_seconds`. What the server refuses is a warning of the job, and no more; where
it does not answer, jobs are tried again for a day.
"""

import logging
import random

from app.db.housekeeping import begin
from app.db.periodic import PeriodicThread
from app.db.session import Database
from app.errors import GraftworkError
from app.jobs.kinds import KINDS
from app.settings import Settings
from app.tracking import repository, service
from app.tracking.mlflow_server import TrackingError

log = logging.getLogger(__name__)

_JOBS = 100  # of a pass
_MAX_FAILURES = 3  # of a pass, after which the server is taken to be away


class MlflowWriter(PeriodicThread):
    """Writes every `mlflow_seconds`, where there is a server."""

    def __init__(self, database: Database, settings: Settings) -> None:
        has_server = bool(settings.mlflow_url.get_secret_value())
        super().__init__("mlflow", settings.mlflow_seconds if has_server else 0.0)
        self._database = database
        self._settings = settings

    def act(self) -> None:
        """Write what is due, unless another process has begun that lately."""
        if self._database.transact(lambda session: begin(session, "mlflow", self._settings.mlflow_seconds)):
            self.write_what_is_due()

    def write_what_is_due(self) -> int:
        """Write jobs that have ended and are not in MLflow; return how many were written."""
        kinds = [kind for kind, request in KINDS.items() if request.is_tracked]
        with self._database.reading() as session:
            jobs = repository.due(session, kinds, _JOBS)
        random.shuffle(jobs)  # so that some that always fail do not keep the others from their turn
        written = failures = 0
        for project_id, job_id in jobs:
            if self.is_stopping or failures >= _MAX_FAILURES:
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
