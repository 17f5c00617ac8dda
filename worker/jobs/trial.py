"""What a trial of a sweep does besides training: it may be pruned at a rung, and it leaves its model to the sweep."""

import logging
import math
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from app.jobs import lease as leases
from app.jobs import repository as jobs
from app.jobs.repository import JobRow
from app.ml.errors import ConfigError
from app.ml.fitting.evaluation import Evaluation
from app.sweeps import repository
from app.sweeps.config import SweepConfig
from app.sweeps.halving import goes_on
from app.sweeps.space import SuccessiveHalving
from worker.attempt.attempt import Attempt
from worker.attempt.reporter import Reporter
from worker.training.events import Evaluated

log = logging.getLogger(__name__)


class PrunedError(Exception):
    """The trial was left behind at a rung; its job has ended as cancelled."""


@dataclass
class RunningTrial:
    """One trial; `rungs` counts those that it has come to."""

    attempt: Attempt
    sweep_id: str
    config: SweepConfig
    rungs: int

    def evaluated(self, event: Evaluated, reporter: Reporter) -> None:
        """Compare the trial with the others at each rung that it reaches.

        Raises:
            PrunedError: it ends here.
        """
        algorithm, value = self.config.algorithm, event.metrics.get(self.config.metric, math.nan)
        if not isinstance(algorithm, SuccessiveHalving) or not math.isfinite(value):
            return
        while event.epoch + 1 >= algorithm.rung_epoch(self.rungs):
            reporter.finish(event.step)
            if not self.attempt.commit_with_retry(lambda session: self._passes_rung(session, algorithm, event, value)):
                raise PrunedError
            self.rungs += 1

    def _passes_rung(self, session: Session, algorithm: SuccessiveHalving, event: Evaluated, value: float) -> bool:
        """Record the metric at a rung; return whether the trial goes on. What was decided once is not decided again."""
        lease = self.attempt.lease
        leases.hold(session, lease)
        row = repository.of_job(session, lease.job_id)
        if len(row.rungs) > self.rungs:
            return True  # said before, and the answer was lost
        others = repository.at_rung(session, self.sweep_id, self.rungs, besides=lease.job_id)
        row.rungs = [*row.rungs, value]
        if goes_on(value, others, algorithm.reduction_factor, maximize=self.config.maximize):
            return True
        row.metric, row.pruned = value, True
        session.flush()
        place = {"rung": self.rungs, "epoch": event.epoch + 1, "step": event.step}
        message = (
            f"After {event.epoch + 1} epochs {self.config.metric} is {value:g}, which is not among the best "
            f"1 / {algorithm.reduction_factor} of the {len(others) + 1} trials that came so far."
        )
        leases.prune(session, lease, message, {**place, "metric": value, "others": len(others)})
        return False

    def offer(self, session: Session, candidate: dict[str, Any], measured: Evaluation | None) -> dict[str, Any]:
        """Keep what a model can be registered from, and return the metrics of the validation split.

        Raises:
            ConfigError: the sweep's metric was not measured.
        """
        scalars = measured.scalars() if measured else {}
        if measured is None or self.config.metric not in scalars:
            known = ", ".join(sorted(scalars)) or "nothing"
            msg = f"{self.config.metric} was not measured; the validation split tells {known}"
            raise ConfigError(("metric",), msg)
        row = repository.of_job(session, self.attempt.lease.job_id)
        row.metric, row.candidate = scalars[self.config.metric], candidate
        session.flush()
        return measured.as_json()


def trial_of(attempt: Attempt, job: JobRow) -> RunningTrial | None:
    """Return the trial that a job is; None for any other job."""
    sweep_id = job.sweep_id
    if sweep_id is None:
        return None

    def read(session: Session) -> RunningTrial:
        config = SweepConfig.model_validate(jobs.get(session, sweep_id).config)
        return RunningTrial(attempt, sweep_id, config, len(repository.of_job(session, job.id).rungs))

    return attempt.commit_with_retry(read)
