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
from app.storage.repository import attempts_under_way, references

Action = Literal["keep", "trash", "restore", "delete"]
_OURS = ("blobs/", "jobs/")


class Decision(BaseModel):
    """What becomes of one file, and why."""

    place: Place
    name: str
    bytes: int
    action: Action
    named_by: str | None
    reason: str


def plan(database: Database, store: ArtifactStore, settings: Settings) -> list[Decision]:
    """Decide about every file there is. The rows are read after the files: what is named later is young."""
    grace, now = settings.gc_grace_seconds, time.time()
    found = list(inventory(store, settings))
    named = _named(database, grace)
    with database.reading() as session:
        held = attempts_under_way(session)
    local = [_local(one, named, held, now - grace) for one in found if one.place != "store"]
    return [*_of_store(found, named, now - grace), *local]


def carry_out(decisions: Iterable[Decision], database: Database, store: ArtifactStore, settings: Settings) -> None:
    """Do what was decided; a file that a row has come to name since then stays."""
    named = _named(database, settings.gc_grace_seconds)
    for one in decisions:
        key = one.name.removeprefix(TRASH)
        if one.place != "store":
            _remove(one, settings)
        elif one.named_by is None and key in named:
            continue
        elif one.action == "restore":
            store.move(one.name, key)
        elif one.action == "trash":
            store.move(one.name, trash_key(key))
        elif one.action == "delete":
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


def _of_store(found: list[Found], named: Mapping[str, str], before: float) -> Iterator[Decision]:
    store = [one for one in found if one.place == "store"]
    present = {one.name for one in store}
    for one in store:
        key = one.name.removeprefix(TRASH)
        row = named.get(key)
        if not key.startswith(_OURS):
            yield _decision(one, "keep", None, "it is not of this service")
        elif key == one.name:
            yield _unless_named(one, "trash", row, before)
        elif row is not None and key not in present:
            yield _decision(one, "restore", row, f"{row} names it")
        else:
            yield _unless_young(one, "delete", row, "it is in the trash", before)


def _local(one: Found, named: Mapping[str, str], held: Mapping[str, str], before: float) -> Decision:
    name = one.name.partition("/")[2]
    if one.place == "cache":
        return _unless_named(one, "delete", named.get(name), before)
    if one.place == "tmp" and name in held:
        return _decision(one, "keep", held[name], f"{held[name]} is under way")
    return _unless_young(one, "delete", None, "it was begun and not ended", before)


def _unless_named(one: Found, action: Action, row: str | None, before: float) -> Decision:
    if row is not None:
        return _decision(one, "keep", row, f"{row} names it")
    return _unless_young(one, action, None, "no row names it", before)


def _unless_young(one: Found, action: Action, row: str | None, why: str, before: float) -> Decision:
    if one.changed_at > before:
        return _decision(one, "keep", row, f"{why}, and it is too young to go for {one.changed_at - before:.0f} s more")
    return _decision(one, action, row, why)


def _decision(one: Found, action: Action, row: str | None, reason: str) -> Decision:
    return Decision(place=one.place, name=one.name, bytes=one.bytes, action=action, named_by=row, reason=reason)
