"""The outbox: messages about events, written in the transactions of the events themselves, and sent after them.

A message is {type, timestamp, data}. Data name things by id and link; they hold no rows, and no sentence of an error or
a warning, which may quote rows.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from sqlalchemy.orm import Session

from app.webhooks import repository
from app.webhooks.event_types import wants
from app.webhooks.repository import Listener


def message(event_type: str, time: float, data: Mapping[str, Any]) -> str:
    """Return a message as it is signed and sent: JSON in ASCII, so that its bytes are the same everywhere."""
    timestamp = datetime.fromtimestamp(time, UTC).isoformat().replace("+00:00", "Z")
    return json.dumps({"type": event_type, "timestamp": timestamp, "data": data}, separators=(",", ":"))


def job_ended(session: Session, job_id: str, status: str, error: Mapping[str, Any] | None) -> None:
    """Tell of a job's end; trials of a sweep end without a message."""
    listeners = _wanting(repository.listeners_to_job(session, job_id), f"job.{status}")
    if not listeners:
        return
    facts = repository.job_facts(session, job_id)
    data = {
        "object": "job",
        "id": job_id,
        "kind": facts.kind,
        "name": facts.name,
        "status": status,
        "dataset": facts.dataset,
        "outputs": facts.outputs,
        "error": None if error is None else {"code": error["code"], "category": error["category"]},
        "links": {
            "self": f"/v1/jobs/{job_id}",
            "dataset": _dataset_link(facts.dataset),
            "outputs": [f"/v1/models/{model}" for model in facts.outputs],
        },
    }
    _queue(session, listeners, f"job.{status}", data)


def warned(session: Session, job_id: str, warnings: Iterable[Mapping[str, Any]]) -> None:
    """Tell of new warnings of a job, one message a code; none for those of a sweep's trials."""
    counts = Counter(str(warning["code"]) for warning in warnings)
    listeners = repository.listeners_to_job(session, job_id) if counts else []
    if not listeners:
        return
    facts = repository.job_facts(session, job_id)
    for code, number in counts.items():
        data = {
            "object": "warning",
            "code": code,
            "warnings": number,
            "job": job_id,
            "kind": facts.kind,
            "dataset": facts.dataset,
            "links": {"job": f"/v1/jobs/{job_id}", "dataset": _dataset_link(facts.dataset)},
        }
        _queue(session, _wanting(listeners, f"warning.{code}"), f"warning.{code}", data)


def dataset_ended(session: Session, dataset_id: str) -> None:
    """Tell that a dataset is ready, or failed."""
    facts = repository.dataset_facts(session, dataset_id)
    event_type = f"dataset.{facts.status}"
    data = {
        "object": "dataset",
        "id": dataset_id,
        "name": facts.name,
        "status": facts.status,
        "job": facts.job,
        "error": None if facts.error is None else {"code": facts.error["code"]},
        "links": {
            "self": _dataset_link(dataset_id),
            "report": f"/v1/datasets/{dataset_id}/report",
            "job": f"/v1/jobs/{facts.job}" if facts.job else None,
        },
    }
    _queue(session, _wanting(repository.listeners(session, facts.project_id), event_type), event_type, data)


def alias_moved(
    session: Session, project_id: str, *, name: str, alias: str, revision: int, action: str, model_id: str | None
) -> None:
    """Tell that an alias means another model, or that it was deleted (`model_id` None)."""
    listeners = _wanting(repository.listeners(session, project_id), "alias.moved")
    if not listeners:
        return
    data = {
        "object": "alias",
        "name": name,
        "alias": alias,
        "revision": revision,
        "action": action,
        "model": model_id,
        "version": None if model_id is None else repository.version_of(session, model_id),
        "links": {
            "self": f"/v1/models/{quote(name, safe='')}/aliases/{quote(alias, safe='')}",
            "model": None if model_id is None else f"/v1/models/{model_id}",
        },
    }
    _queue(session, listeners, "alias.moved", data)


def _dataset_link(dataset_id: str | None) -> str | None:
    return f"/v1/datasets/{dataset_id}" if dataset_id else None


def _wanting(listeners: list[Listener], event_type: str) -> list[Listener]:
    return [listener for listener in listeners if wants(listener.events, event_type)]


def _queue(session: Session, listeners: list[Listener], event_type: str, data: Mapping[str, Any]) -> None:
    if listeners:
        time = repository.now(session)
        ids = [listener.id for listener in listeners]
        repository.queue(session, ids, event_type, message(event_type, time, data), time)
