"""Garbage collection: which files go, which stay, and why.

A file of the store that no row names is first moved to the trash, and deleted from there a grace later; a put makes it
anew, and whoever fetches it brings it back. So an upload that comes upon the same content just now loses nothing.
"""

import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

from pydantic import BaseModel

from app.artifacts import TRASH, ArtifactStore, trash_key
from app.db.session import Database
from app.settings import Settings
from app.storage.inventory import Found, Place, inventory
from app.storage.references import attempts_under_way, references

Action = Literal["keep", "trash", "restore", "delete"]
_OURS = ("blobs/", "jobs/")


class Decision(BaseModel):
    """What becomes of one file, and why."""

    place: Place
    name: str
    bytes: int
    action: Action
    reason: str


def plan(database: Database, store: ArtifactStore, settings: Settings) -> list[Decision]:
    """Decide about every file there is. The rows are read after the files: what is named later is young."""
    grace, now = settings.gc_grace_seconds, time.time()
    found = list(inventory(store, settings))
    named = _named(database, grace)
    with database.reading() as session:
        held = attempts_under_way(session)
    return [*_of_store(found, named, now, grace), *(_local(one, named, held, now, grace) for one in _locals(found))]


def carry_out(decisions: Iterable[Decision], database: Database, store: ArtifactStore, settings: Settings) -> None:
    """Do what was decided; what a row has come to name since then stays."""
    named = _named(database, settings.gc_grace_seconds)
    for one in decisions:
        if one.place != "store":
            _remove(one, settings)
        elif one.action == "restore":
            store.move(one.name, one.name.removeprefix(TRASH))
        elif one.action == "trash" and one.name not in named:
            store.move(one.name, trash_key(one.name))
        elif one.action == "delete" and one.name.removeprefix(TRASH) not in named:
            store.delete(one.name)


def _remove(one: Decision, settings: Settings) -> None:
    path = settings.data_folder / one.name
    if one.action == "delete" and path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    elif one.action == "delete":
        path.unlink(missing_ok=True)


def _named(database: Database, grace: float) -> dict[str, str]:
    """Keys, and a row that names each."""
    with database.reading() as session:
        return {one.key: one.row for one in references(session, grace)}


def _of_store(found: list[Found], named: Mapping[str, str], now: float, grace: float) -> Iterator[Decision]:
    store = [one for one in found if one.place == "store"]
    present = {one.name for one in store}
    for one in store:
        key = one.name.removeprefix(TRASH)
        if not key.startswith(_OURS):
            yield _decision(one, "keep", "it is not of this service")
        elif key == one.name:
            yield _unless_needed(one, "trash", named.get(key), now, grace)
        elif key in named and key not in present:
            yield _decision(one, "restore", f"{named[key]} names it")
        else:
            yield _unless_young(one, "delete", "it is in the trash", now, grace)


def _locals(found: list[Found]) -> Iterator[Found]:
    return (one for one in found if one.place != "store")


def _local(one: Found, named: Mapping[str, str], held: Mapping[str, str], now: float, grace: float) -> Decision:
    owner = {"cache": named, "tmp": held, "scratch": {}}[one.place].get(one.name.partition("/")[2])
    if one.place == "cache":
        return _unless_needed(one, "delete", owner, now, grace)
    if owner is not None:
        return _decision(one, "keep", f"{owner} is under way")
    return _unless_young(one, "delete", "it was begun and not ended", now, grace)


def _unless_needed(one: Found, action: Action, owner: str | None, now: float, grace: float) -> Decision:
    if owner is not None:
        return _decision(one, "keep", f"{owner} names it")
    return _unless_young(one, action, "no row names it", now, grace)


def _unless_young(one: Found, action: Action, why: str, now: float, grace: float) -> Decision:
    age = max(0.0, now - one.changed_at)
    if age < grace:
        return _decision(one, "keep", f"{why}, but for {age:.0f} s only; it may stay {grace:.0f} s")
    return _decision(one, action, f"{why}, for {age:.0f} s")


def _decision(one: Found, action: Action, reason: str) -> Decision:
    return Decision(place=one.place, name=one.name, bytes=one.bytes, action=action, reason=reason)
