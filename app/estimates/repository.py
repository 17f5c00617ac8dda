"""The SQL of estimates: which estimate was of which training, and how far it was off."""

import hashlib
import json
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app import events
from app.db.tables import JobRow

ERROR = "estimate.error"
MAX_ERRORS = 1000  # estimates that are looked at


def fingerprint(kind: str, config: dict[str, Any], dataset_id: str | None, parent_id: str | None) -> str:
    """Return a digest of a resolved training, the same for two that differ only in how a value was decided."""
    resolved = {name: value for name, value in config.items() if name != "decisions"}
    text = json.dumps([kind, resolved, dataset_id, parent_id], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def record_error(session: Session, job: JobRow, seconds: float) -> None:
    """Keep how far the project's newest estimate of this very training was off, where there is one."""
    mark = fingerprint(job.kind, job.config, job.dataset_id, job.parent_model_id)
    same = (
        select(JobRow)
        .where(
            JobRow.project_id == job.project_id,
            JobRow.kind == "estimate",
            JobRow.status == "succeeded",
            JobRow.dataset_id == job.dataset_id,
            JobRow.config["fingerprint"].as_string() == mark,
        )
        .order_by(JobRow.id.desc())
        .limit(1)
    )
    estimate = session.scalar(same)
    if estimate is None or estimate.metrics is None:
        return
    predicted = float(estimate.metrics["seconds"])
    estimate.metrics = {**estimate.metrics, "actual_seconds": seconds}
    data = {"estimate": estimate.id, "estimated": predicted, "seconds": seconds, "ratio": seconds / predicted}
    events.append(session, job.id, ERROR, f"Training took {data['ratio']:.2f} times what was estimated.", data)


def errors(session: Session) -> list[float]:
    """Return actual by estimated seconds of the newest estimates whose training has ended, in all projects."""
    succeeded = select(JobRow.metrics).where(JobRow.kind == "estimate", JobRow.status == "succeeded")
    newest = session.scalars(succeeded.order_by(JobRow.id.desc()).limit(MAX_ERRORS))
    known = (metrics for metrics in newest if metrics and metrics["actual_seconds"] is not None)
    return [metrics["actual_seconds"] / metrics["seconds"] for metrics in known]
