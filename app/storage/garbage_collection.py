"""Garbage collection: decides which files are removed, and removes them; and checkpoints that nobody needs any more.

A file of the store that no row names is moved to the trash, and deleted from there after the grace period. An upload of
the same content meanwhile is safe: a put stores it again, and a fetch restores it from the trash.
"""

import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

from pydantic import BaseModel
from sqlalchemy.orm import Session

from app.artifacts import TRASH, ArtifactStore, trash_key
from app.db.session import Database
from app.jobs.attempts import attempt_of
from app.settings import Settings
from app.storage.inventory import Area, File, Place, inventory
from app.storage.repository import attempts_under_way, expired, forget_checkpoints, forget_uploads, references
from app.webhooks.repository import forget_ended

Action = Literal["keep", "trash", "restore", "delete"]
_OWN_PREFIXES = ("blobs/", "jobs/")


class Verdict(BaseModel):
    """What garbage collection does with a file, and why."""

    place: Place
    name: str
    bytes: int
    action: Action
    named_by: str | None
    reason: str


def plan(database: Database, store: ArtifactStore, settings: Settings, area: Area = "all") -> list[Verdict]:
    """Return a verdict on every file. Rows are read after the files are listed: a file named only later is young."""
    grace, now = settings.gc_grace_seconds, time.time()
    files = list(inventory(store, settings, area))
    owners = _owners(database, settings)
    with database.reading() as session:
        attempts = attempts_under_way(session)
    local = [_judge_local(file, owners, attempts, now - grace) for file in files if file.place != "store"]
    return [*_judge_store(files, owners, now - grace), *local]


def carry_out(verdicts: Iterable[Verdict], database: Database, store: ArtifactStore, settings: Settings) -> None:
    """Carry out the verdicts, except on files that a row has named since; forget old uploads and old deliveries."""
    while database.transact(lambda session: _forget_checkpoints(session, settings)):
        pass
    while database.transact(lambda session: forget_uploads(session, settings.upload_days)):
        pass
    while database.transact(lambda session: forget_ended(session, settings.webhook_days)):
        pass
    owners = _owners(database, settings)
    for verdict in verdicts:
        key = verdict.name.removeprefix(TRASH)
        if verdict.place != "store":
            _remove_local(verdict, settings)
        elif verdict.named_by is None and key in owners:
            continue
        elif verdict.action == "restore":
            store.move(verdict.name, key)
        elif verdict.action == "trash":
            store.move(verdict.name, trash_key(key))
        elif verdict.action == "delete":
            store.delete(verdict.name)


def _remove_local(verdict: Verdict, settings: Settings) -> None:
    path = settings.data_folder / verdict.name
    if verdict.action == "delete" and path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    elif verdict.action == "delete":
        path.unlink(missing_ok=True)


def _forget_checkpoints(session: Session, settings: Settings) -> bool:
    """Delete rows of checkpoints that nobody needs any more; return whether there were any."""
    jobs = expired(session, settings.gc_grace_seconds, settings.checkpoint_days, lock=True)
    forget_checkpoints(session, jobs)
    return bool(jobs)


def _owners(database: Database, settings: Settings) -> dict[str, str]:
    """Return, by the key of each stored file, the id of a row that names it and is not about to go."""
    grace = settings.gc_grace_seconds
    with database.reading() as session:
        gone = {row for job in expired(session, grace, settings.checkpoint_days) for row in job.checkpoints}
        return {reference.key: reference.row for reference in references(session, grace) if reference.row not in gone}


def _judge_store(files: list[File], owners: Mapping[str, str], before: float) -> Iterator[Verdict]:
    """Judge the files of the store; those changed before the time `before` are old enough to be removed."""
    stored = [file for file in files if file.place == "store"]
    present = {file.name for file in stored}
    for file in stored:
        key = file.name.removeprefix(TRASH)
        row = owners.get(key)
        if not key.startswith(_OWN_PREFIXES):
            yield _verdict(file, "keep", None, "it is not of this service")
        elif key == file.name:
            yield _unless_named(file, "trash", row, before)
        elif row is not None and key not in present:
            yield _verdict(file, "restore", row, f"{row} names it")
        else:
            yield _unless_young(file, "delete", row, "it is in the trash", before)


def _judge_local(file: File, owners: Mapping[str, str], attempts: Mapping[str, str], before: float) -> Verdict:
    """Judge a file of this machine's data folder; `attempts` are the folders of running attempts, with their jobs."""
    name = file.name.partition("/")[2]
    if file.place == "cache":
        return _unless_named(file, "delete", owners.get(name), before)
    if file.place == "tmp" and (job := attempts.get(attempt_of(name))) is not None:
        return _verdict(file, "keep", job, f"{job} is under way")
    return _unless_young(file, "delete", None, "it was begun and not ended", before)


def _unless_named(file: File, action: Action, row: str | None, before: float) -> Verdict:
    if row is not None:
        return _verdict(file, "keep", row, f"{row} names it")
    return _unless_young(file, action, None, "no row names it", before)


def _unless_young(file: File, action: Action, row: str | None, why: str, before: float) -> Verdict:
    if file.changed_at > before:
        reason = f"{why}, and it is too young to go for {file.changed_at - before:.0f} s more"
        return _verdict(file, "keep", row, reason)
    return _verdict(file, action, row, why)


def _verdict(file: File, action: Action, row: str | None, reason: str) -> Verdict:
    return Verdict(place=file.place, name=file.name, bytes=file.bytes, action=action, named_by=row, reason=reason)
