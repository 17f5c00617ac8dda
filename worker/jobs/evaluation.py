"""An evaluation as a job: a model, and maybe a baseline, measured on the same rows. It makes no model."""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from app.jobs.repository import JobRow
from app.ml.evaluation.bootstrap import Difference, paired
from app.ml.evaluation.outcomes import Outcomes
from app.ml.models.bundle import Bundle
from app.ml.resolution.compatibility import EvaluatedSplit, check_comparable
from worker.attempt.context import JobContext
from worker.attempt.job_inputs import device_for, open_data, open_model
from worker.attempt.reporter import progress_of
from worker.jobs.learned_rows import warn_of_learned_rows
from worker.training.model_evaluation import evaluate_model, limit_rows, rows_to_evaluate

_REPORT_SECONDS = 0.5


def run(context: JobContext) -> None:
    """Measure, compare, and write both into the job."""
    attempt, job, folder = context.attempt, context.job, context.folder
    attempt.report(progress_of(0, 1, 0, None), [], "loading")
    part: EvaluatedSplit = job.config["split"]
    dataset, data = open_data(context)
    bundles = [open_model(attempt, name, folder / f"model{index}") for index, name in enumerate(_models(job))]
    every = rows_to_evaluate(data, part, bundles[0].manifest.heads)
    rows = limit_rows(every, [entry for bundle in bundles for entry in bundle.manifest.heads])
    message = f"Measuring on {len(rows)} of {len(every)} rows."
    attempt.enter("running", "measuring", message, {"rows": len(rows), "of": len(every)})
    warn_of_learned_rows(context, dataset, rows, list(dict.fromkeys(_models(job))))
    progress = _Progress(context, len(rows) * len(bundles))
    device = device_for(job)
    results = [
        evaluate_model(bundle, data, rows, part, device, progress.after(len(rows) * i))
        for i, bundle in enumerate(bundles)
    ]
    attempt.enter("finalizing", "comparing", "All rows are answered.")
    metrics = results[0].as_json()
    if len(results) > 1:
        metrics["baseline"] = {"model": job.config["baseline"], **results[1].as_json()}
        metrics["comparison"] = _compared(bundles, [result.outcomes for result in results])
    attempt.succeed_with("Measured.", metrics, attempt.keep_curves(results[0].curves(), folder / "curves"))


def _models(job: JobRow) -> list[str]:
    """The model, and the baseline where there is one."""
    return [name for name in (job.config["model"], job.config["baseline"]) if name is not None]


def _compared(bundles: list[Bundle], outcomes: list[dict[str, Outcomes]]) -> dict[str, Any]:
    """By head and metric: the model's minus the baseline's, with a paired interval."""
    first, second = outcomes
    shared = check_comparable(bundles[0].manifest, bundles[1].manifest)
    return {key: _as_json(paired(first[key], second[key])) for key in shared}


def _as_json(differences: Mapping[str, Difference]) -> dict[str, Any]:
    return {
        name: {"difference": entry.difference, **asdict(entry.interval), "verdict": entry.verdict}
        for name, entry in differences.items()
    }


class _Progress:
    """Reports how many rows are answered, at most twice a second; raises `DrainedError` where the job is to stop."""

    def __init__(self, context: JobContext, total: int) -> None:
        self._context = context
        self._total = total
        self._began = self._reported = time.monotonic()

    def after(self, before: int) -> Callable[[int], None]:
        """Hear of rows that come after so many others."""
        return lambda rows: self._hear(before + rows)

    def _hear(self, rows: int) -> None:
        self._context.stop_if_draining()
        now = time.monotonic()
        if now - self._reported >= _REPORT_SECONDS:
            self._reported = now
            eta = (now - self._began) / rows * (self._total - rows)
            self._context.attempt.report(progress_of(rows, self._total, 0, eta), [], "measuring")
