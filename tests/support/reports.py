"""Fine-tunings with a transfer report, without a service."""

from typing import Any

from app.ml.bundle import Bundle
from app.ml.configs import FineTuningConfig
from app.ml.data import ArrayData
from app.ml.recipes import resolve_fine_tuning
from worker.training.events import Noted
from worker.training.run import prepare
from worker.training.transfer_report import Study


def report_on(
    data: ArrayData, parent: Bundle, request: dict[str, Any], report: dict[str, Any]
) -> tuple[dict[str, Any], list[Noted]]:
    """Train what is requested, and return its report and what it noted."""
    config = FineTuningConfig.model_validate({**request, "transfer_report": report})
    run = prepare(resolve_fine_tuning(config, data.spec, parent.manifest).config, data, parent=parent)
    for _ in run.train():
        pass
    study = Study(run, parent)
    notes = [event for event in study.run() if isinstance(event, Noted)]
    return study.found, notes
