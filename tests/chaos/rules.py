"""What must hold once all is quiet again: R1 to R8 of docs/guarantees.md, asked of the database and the files."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.artifacts import fetch_blob, file_sha256, open_store
from app.db.session import Database
from app.db.tables import AttemptRow, CheckpointRow, DatasetRow, EventRow, JobRow, MetricRow, ModelRow
from app.jobs.states import TERMINAL
from app.settings import Settings
from tests.chaos.cluster import LEASE
from tests.chaos.faults import Death
from tests.chaos.users import GANG, Record

SLACK = 10.0  # seconds after the lease, within which a dead worker's job is queued again
_ALLOWED: set[str] = set()  # codes with which a job may fail: chance is no reason to


@dataclass
class Evidence:
    """All rows, read once."""

    jobs: dict[str, JobRow]
    events: dict[str, list[EventRow]]
    attempts: dict[str, list[AttemptRow]]
    models: dict[str, list[ModelRow]]
    checkpoints: list[CheckpointRow]
    datasets: list[DatasetRow]
    steps: Counter[tuple[str, int]]

    @classmethod
    def of(cls, session: Session) -> "Evidence":
        found = cls({}, {}, {}, {}, [], [], Counter())
        found.jobs = {row.id: row for row in session.scalars(select(JobRow))}
        for event in session.scalars(select(EventRow).order_by(EventRow.job_id, EventRow.seq)):
            found.events.setdefault(event.job_id, []).append(event)
        for attempt in session.scalars(select(AttemptRow).order_by(AttemptRow.job_id, AttemptRow.token)):
            found.attempts.setdefault(attempt.job_id, []).append(attempt)
        for model in session.scalars(select(ModelRow)):
            found.models.setdefault(str(model.job_id), []).append(model)
        found.checkpoints = list(session.scalars(select(CheckpointRow)))
        found.datasets = list(session.scalars(select(DatasetRow)))
        found.steps = Counter((row.job_id, row.step) for row in session.scalars(select(MetricRow)))
        return found


def violations(
    settings: Settings, record: Record, deaths: list[Death], blurred: list[tuple[float, float]]
) -> list[str]:
    """In words, everything that does not hold; empty where all does."""
    database = Database(settings.sql_url)
    try:
        with database.reading() as session:
            seen = Evidence.of(session)
            return [
                *_every_accepted_job_ends(seen, record),
                *_effects_happen_once(seen),
                *_resumed_from_the_last_checkpoint(seen),
                *_same_weights(seen, record),
                *_taken_back_in_time(seen, deaths, blurred),
                *_cancelled_publishes_nothing(seen, record),
                *_bytes_are_what_they_were(seen, settings),
            ]
    finally:
        database.close()


def _every_accepted_job_ends(seen: Evidence, record: Record) -> Iterator[str]:
    """R1 and R5: none is missing, none double, none unfinished, none failed by chance."""
    for key, job in record.keys.items():
        if job not in seen.jobs:
            yield f"R1: job {job} was accepted and is gone"
        same = [row.id for row in seen.jobs.values() if row.job_metadata.get("key") == key]
        if len(same) != 1:
            yield f"R1: one request made {len(same)} jobs: {same}"
    for row in seen.jobs.values():
        if row.status not in TERMINAL:
            yield f"R1: job {row.id} is {row.status} for ever"
        if row.status == "failed" and (row.error or {}).get("code") not in _ALLOWED:
            yield f"R5: job {row.id} failed: {row.error}"


def _effects_happen_once(seen: Evidence) -> Iterator[str]:
    """R2: one end, one model for a success and none else, events without a gap, every attempt ended."""
    for job, row in seen.jobs.items():
        events = seen.events[job]
        if [event.seq for event in events] != list(range(1, len(events) + 1)):
            yield f"R2: the events of {job} have a gap"
        ends = [event.type for event in events if event.type in {f"job.{status}" for status in TERMINAL}]
        if ends != [f"job.{row.status}"]:
            yield f"R2: job {job} ended as {ends}"
        if events[-1].type != f"job.{row.status}":
            yield f"R2: after its end job {job} told {events[-1].type}"
        makes_model = row.status == "succeeded" and row.kind in ("pretraining", "fine_tuning")
        if len(seen.models.get(job, [])) != int(makes_model):
            yield f"R2: {row.status} {row.kind} {job} has {len(seen.models.get(job, []))} models"
        attempts = seen.attempts.get(job, [])
        if any(one.ended_at is None for one in attempts):
            yield f"R2: an attempt at {job} has no end"
        if sum(one.ending == "succeeded" for one in attempts) != int(row.status == "succeeded"):
            yield f"R2: job {job} is {row.status} with {[one.ending for one in attempts]}"
    yield from (f"R2: {job} has step {step} {count} times" for (job, step), count in seen.steps.items() if count > 1)


def _resumed_from_the_last_checkpoint(seen: Evidence) -> Iterator[str]:
    """R3: an attempt that starts after a checkpoint was told of goes on from it."""
    for job, events in seen.events.items():
        saved = 0
        for event in events:
            if event.type == "checkpoint.saved":
                saved = event.data["step"]
            elif event.type == "checkpoint.damaged":
                yield f"R3: a checkpoint of {job} was damaged: {event.data}"
            elif event.type == "job.running" and event.data.get("step", 0) != saved:
                yield f"R3: job {job} went on from step {event.data['step']}, not {saved}"


def _same_weights(seen: Evidence, record: Record) -> Iterator[str]:
    """R3: whatever befell them, jobs of one template made the same model, bit for bit.

    Not of several workers: attempts go on with as many as there are, and sums over other numbers of ranks are rounded
    otherwise.
    """
    digests: dict[str, set[str]] = {}
    for job, template in record.jobs.items():
        if template.startswith(GANG):
            continue
        for model in seen.models.get(job, []):
            digests.setdefault(template, set()).add(model.files["backbone.safetensors"]["sha256"])
    for template, found in digests.items():
        if len(found) != 1:
            yield f"R3: {template} has {len(found)} different weights"


def delays(seen: Evidence, deaths: list[Death], blurred: list[tuple[float, float]]) -> list[float]:
    """Seconds from a worker's death to its job being taken from it, where the database was there all the time."""
    found = []
    for death in deaths:
        for attempt in seen.attempts.get(death.job, []):
            until = attempt.ended_at or death.at
            overlaps = any(begin < until and death.at < end for begin, end in blurred)
            if attempt.token == death.token and attempt.ending == "silent" and not overlaps:
                found.append(until - death.at)
    return found


def _taken_back_in_time(seen: Evidence, deaths: list[Death], blurred: list[tuple[float, float]]) -> Iterator[str]:
    """R4: within the lease and a little, whatever the broker does."""
    late = [round(delay, 1) for delay in delays(seen, deaths, blurred) if delay > LEASE + SLACK]
    if late:
        yield f"R4: jobs of dead workers were queued again only after {late} s"


def _cancelled_publishes_nothing(seen: Evidence, record: Record) -> Iterator[str]:
    """R6: a cancel that was answered 202 is one."""
    for job in record.cancelled:
        if seen.jobs[job].status != "cancelled":
            yield f"R6: job {job} was cancelled and is {seen.jobs[job].status}"
    for job, events in seen.events.items():
        types = [event.type for event in events]
        after = types[types.index("job.cancelling") :] if "job.cancelling" in types else []
        if "checkpoint.saved" in after:
            yield f"R6: job {job} kept a checkpoint after it was cancelled"


def _bytes_are_what_they_were(seen: Evidence, settings: Settings) -> Iterator[str]:
    """R7: every file that a row names has the digest that the row names."""
    store = open_store(settings)
    rows = [
        *(model.files for models in seen.models.values() for model in models),
        *(one.files for one in seen.datasets),
    ]
    digests = {file["sha256"] for files in rows for file in (files or {}).values()}
    digests |= {one.source_sha256 for one in seen.datasets}
    for digest in sorted(digests):
        try:
            fetch_blob(store, digest)
        except Exception as error:  # noqa: BLE001 - any is a violation, and told
            yield f"R7: {digest[:12]}: {error}"
    for row in seen.checkpoints:
        if file_sha256(store.fetch(row.key)) != row.sha256:
            yield f"R7: the checkpoint {row.key} has other bytes"
