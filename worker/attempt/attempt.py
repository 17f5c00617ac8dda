"""One attempt at a job, as the trainer writes it: every write is fenced by the lease.

While the database is away, reports are dropped (the training goes on) and what must be written is written again until
it is committed; nobody else can claim the job meanwhile.
"""

import logging
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import Session

from app import events, failpoints
from app.artifacts import ArtifactStore, file_sha256, put_blob
from app.db.session import MAX_REPEATS, Database, after_commit, db_now
from app.jobs import lease as leases
from app.jobs import repository
from app.jobs.attempts import Ending, Lease
from app.jobs.curves import CURVES, FILE
from app.jobs.repository import CheckpointRow, JobRow, MetricRow
from app.jobs.states import Status
from app.jobs.transitions import JobError
from app.kit.ids import new_id
from app.ml.evaluation.curve import Curve
from app.ml.spec import WarningItem
from app.storage.quotas import refuse_exceeded
from app.webhooks import outbox

log = logging.getLogger(__name__)

KEPT_CHECKPOINTS = 2
_RETRY_SECONDS = 1.0
T = TypeVar("T")


class Attempt:
    """What one attempt may do to its job's rows and artifacts."""

    def __init__(self, database: Database, artifacts: ArtifactStore, lease: Lease) -> None:
        self.database = database
        self.artifacts = artifacts
        self.lease = lease

    def commit_with_retry(self, action: Callable[[Session], T]) -> T:
        """Run `action` in a transaction, and all of it again while the database is away.

        A row that another transaction has inserted first (another version of a model's name) is worth a few more tries.
        Whatever would go wrong in the same way each time is raised at once: it is for the runner's edge.

        Raises:
            DBAPIError: the database refuses what is written.
        """
        collisions = 0
        while True:
            try:
                return self.database.transact(action)
            except OperationalError as error:
                if not is_outage(error):
                    raise
                log.warning("the database is away, this is written again: %s", error.orig)
            except IntegrityError as error:
                collisions += 1
                if not _is_taken(error) or collisions > MAX_REPEATS:
                    raise
                log.warning("another transaction was faster, this is written again: %s", error.orig)
            time.sleep(_RETRY_SECONDS)

    def job(self) -> JobRow:
        """Read the job."""
        return self.commit_with_retry(lambda session: session.get_one(JobRow, self.lease.job_id))

    def enter(self, status: Status, phase: str | None, message: str, data: dict[str, Any] | None = None) -> None:
        """Change the job's state and append the event of it."""

        def change(session: Session) -> None:
            leases.move(session, self.lease, status, phase=phase)
            events.append(session, self.lease.job_id, f"job.{status}", message, data)

        self.commit_with_retry(change)

    def say(self, phase: str) -> None:
        """Change the job's phase: what it does at this moment."""
        self.commit_with_retry(lambda session: leases.write(session, self.lease, phase=phase))

    def record_event(self, kind: str, message: str, data: dict[str, Any], level: events.Level = "info") -> None:
        """Append an event."""

        def append(session: Session) -> None:
            leases.hold(session, self.lease)
            events.append(session, self.lease.job_id, kind, message, data, level)

        self.commit_with_retry(append)

    def warn(self, warnings: Iterable[WarningItem]) -> None:
        """Add warnings to the job, each once, and an event for each; an earlier attempt may have said them before."""

        def add(session: Session) -> None:
            leases.hold(session, self.lease)
            row = session.get_one(JobRow, self.lease.job_id)
            items = [warning.model_dump(mode="json") for warning in warnings]
            new = [item for item in items if item not in row.warnings]
            leases.write(session, self.lease, warnings=[*row.warnings, *new])
            for item in new:
                kind = f"warning.{item['code']}"
                events.append(session, self.lease.job_id, kind, item["message"], item, "warning")
            outbox.warned(session, self.lease.job_id, new)

        self.commit_with_retry(add)

    def go_back(self, step: int, message: str, data: dict[str, Any]) -> None:
        """Tell that the training goes on from an earlier step; what was measured after it counts no longer."""

        def forget(session: Session) -> None:
            leases.hold(session, self.lease)
            later = (MetricRow.job_id == self.lease.job_id) & (MetricRow.step > step)
            session.execute(delete(MetricRow).where(later))
            restored = {**data, "back_to": step}
            events.append(session, self.lease.job_id, "training.restored", message, restored, "warning")

        self.commit_with_retry(forget)

    def report(self, progress: dict[str, Any], points: list[dict[str, Any]], phase: str | None = None) -> bool:
        """Write progress and measurements; False where the database is away, to be tried again with the next ones."""
        try:
            with self.database.writing() as session:
                leases.write(session, self.lease, progress=progress, phase=phase)
                self._add_points(session, points)
        except OperationalError as error:
            if not is_outage(error):
                raise
            log.warning("a report is put off: %s", error)
            return False
        return True

    def _add_points(self, session: Session, points: list[dict[str, Any]]) -> None:
        """What is measured at one step may come in parts; what an earlier attempt reported comes again and stays."""
        job_id = self.lease.job_id
        steps = [point["step"] for point in points]
        query = select(MetricRow).where(MetricRow.job_id == job_id, MetricRow.step.in_(steps))
        known = {row.step: row for row in session.scalars(query)}
        now = session.execute(select(db_now())).scalar_one()
        for point in points:
            row = known.get(point["step"])
            if row is None:
                session.add(MetricRow(job_id=job_id, created_at=now, **point))
            else:
                row.values = {**point["values"], **row.values}

    def save_checkpoint(
        self, file: Path, step: int, epoch: int, manifest: dict[str, Any], *, keep_all: bool = False
    ) -> None:
        """Keep a resumable state; the pointer moves once the bytes are durable, then the oldest ones go.

        With `keep_all` none goes: each holds a part of what the job has made.
        """
        lease = self.lease
        key = f"jobs/{lease.job_id}/t{lease.token}/s{step}{file.suffix}"
        sha256, size = file_sha256(file), file.stat().st_size
        self.artifacts.put(key, file)
        failpoints.reach("checkpoint.stored")

        def point(session: Session) -> None:
            leases.hold(session, lease)
            now = session.execute(select(db_now())).scalar_one()
            if session.scalar(select(CheckpointRow.id).where(CheckpointRow.key == key)) is not None:
                return  # said before, and the answer was lost
            row = CheckpointRow(
                id=new_id("ckpt"),
                job_id=lease.job_id,
                token=lease.token,
                step=step,
                epoch=epoch,
                key=key,
                sha256=sha256,
                bytes=size,
                manifest=manifest,
                created_at=now,
            )
            session.add(row)
            session.flush()
            if not keep_all:
                self._prune(session)
            refuse_exceeded(session, repository.get(session, lease.job_id).project_id)
            message = f"Checkpoint at step {step}."
            events.append(
                session, lease.job_id, "checkpoint.saved", message, {"step": step, "epoch": epoch, "bytes": size}
            )

        self.commit_with_retry(point)
        failpoints.reach("checkpoint.pointed")

    def _prune(self, session: Session) -> None:
        self._drop(session, self._checkpoints(session)[KEPT_CHECKPOINTS:])

    def drop_checkpoints(self, session: Session) -> None:
        """Forget all checkpoints of the job in this transaction, which ends it."""
        self._drop(session, self._checkpoints(session))

    def _drop(self, session: Session, rows: Iterable[CheckpointRow]) -> None:
        for row in rows:
            session.delete(row)
            after_commit(session, partial(self._delete, row.key))

    def _delete(self, key: str) -> None:
        """Forget an artifact; one that cannot be deleted just now is left over, and no reason to fail."""
        try:
            self.artifacts.delete(key)
        except Exception:
            log.exception("%s could not be deleted", key)

    def _checkpoints(self, session: Session) -> list[CheckpointRow]:
        return repository.checkpoints(session, self.lease.job_id)

    def _source_checkpoints(self, session: Session) -> list[CheckpointRow]:
        """Those of the job that this one extends."""
        source = session.get_one(JobRow, self.lease.job_id).extends_id
        return repository.checkpoints(session, source) if source else []

    def drop_checkpoint(self, row: CheckpointRow, reason: str) -> None:
        """Forget a damaged state, so that it no longer counts among those that are kept; another job's stays."""

        def drop(session: Session) -> None:
            leases.hold(session, self.lease)
            is_own = row.job_id == self.lease.job_id
            if is_own:
                session.execute(delete(CheckpointRow).where(CheckpointRow.id == row.id))
            message = f"The checkpoint of step {row.step} is damaged."
            data = {"step": row.step, "reason": reason}
            events.append(session, self.lease.job_id, "checkpoint.damaged", message, data, "warning")
            if is_own:
                after_commit(session, partial(self._delete, row.key))

        self.commit_with_retry(drop)

    def checkpoints(self) -> list[CheckpointRow]:
        """Return the states to resume from, the newest first: its own, then those of the job that it extends."""
        return self.commit_with_retry(lambda session: self._checkpoints(session) + self._source_checkpoints(session))

    def keep(self, folder: Path, *, cached: bool = True) -> dict[str, Any]:
        """Keep every file of a folder by its content, `cached` on this machine, too; return name to digest and size."""
        files = sorted(folder.iterdir())
        return {file.name: put_blob(self.artifacts, file, cached=cached).model_dump() for file in files}

    def keep_curves(self, curves: list[Curve], folder: Path) -> dict[str, Any]:
        """Keep curves as a file of the job by its content; `folder` is made for it."""
        folder.mkdir()
        (folder / FILE).write_bytes(CURVES.dump_json(curves))
        return self.keep(folder)

    def succeed(self, message: str, publish: Callable[[Session], None]) -> None:
        """End well: what the attempt made becomes visible in the same transaction."""

        def end(session: Session) -> None:
            leases.hold(session, self.lease)
            publish(session)
            refuse_exceeded(session, repository.get(session, self.lease.job_id).project_id)
            leases.finish(session, self.lease, "succeeded", message)
            failpoints.reach("finish.before_commit")

        self.commit_with_retry(end)
        failpoints.reach("finish.committed")

    def succeed_with(self, message: str, metrics: dict[str, Any], files: dict[str, Any] | None = None) -> None:
        """End well with these metrics, and these files that are kept; no model is made."""
        self.succeed(message, lambda session: leases.write(session, self.lease, metrics=metrics, files=files))

    def fail(self, error: JobError, ending: Ending = "failed") -> None:
        """End badly."""
        self.commit_with_retry(
            lambda session: leases.finish(session, self.lease, "failed", error.message, error, ending)
        )

    def cancelled(self) -> None:
        """End because the user asked for it."""
        self.commit_with_retry(lambda session: leases.finish(session, self.lease, "cancelled", "Cancelled."))

    def give_back(self, reason: str, ending: Ending = "drained", after: float = 0.0) -> None:
        """Let another worker go on in `after` seconds, or nobody where the job is paused; no attempt is charged."""
        self.commit_with_retry(
            lambda session: leases.requeue(session, self.lease, reason, charged=False, ending=ending, after=after)
        )


# SQLSTATE classes that a later try may not meet: connection, collision, resources, lock, shutdown, system.
_OUTAGES = ("08", "40", "53", "55", "57", "58")
_UNIQUE = "23505"


def is_outage(error: OperationalError) -> bool:
    """Tell whether a later try may succeed; what is wrong with the statement itself stays wrong.

    SQLite has no SQLSTATE, nor has a connection that was never made: there the message tells.
    """
    state = getattr(error.orig, "sqlstate", None)
    if state is not None:
        return str(state).startswith(_OUTAGES)
    return not str(error.orig).startswith(("no such ", "near ")) and "has no column" not in str(error.orig)


def _is_taken(error: IntegrityError) -> bool:
    """Tell whether a unique value was there already."""
    return getattr(error.orig, "sqlstate", None) == _UNIQUE or str(error.orig).startswith("UNIQUE constraint failed")
