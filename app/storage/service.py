"""Adds up what files take."""

from collections.abc import Iterable

from app.artifacts import TRASH, ArtifactStore
from app.db.session import Database
from app.dependencies import Services
from app.keys.service import Principal
from app.kit.files import space
from app.settings import Settings
from app.storage.inventory import inventory
from app.storage.repository import Reference, references
from app.storage.schemas import Amount, ServiceStorage, Storage, Usage


def report(state: Services, principal: Principal) -> Storage:
    """Return what the project's files take, and for an administrator all that there is."""
    admin = "admin" in principal.scopes
    with state.database.reading() as session:
        own = usage(references(session, state.settings.gc_grace_seconds, principal.project_id))
    whole = whole_service(state.database, state.artifacts, state.settings) if admin else None
    return Storage(project=own, service=whole)


def whole_service(database: Database, store: ArtifactStore, settings: Settings) -> ServiceStorage:
    """Add up every file, those that no row names too. The store is listed for this, which takes a while in a bucket."""
    found = list(inventory(store, settings))
    with database.reading() as session:
        named = list(references(session, settings.gc_grace_seconds))
    keys = {one.key for one in named}
    stored = [one for one in found if one.place == "store"]
    free, total = space(settings.data_folder)
    return ServiceStorage(
        named=usage(named),
        unreferenced=_amount(one.bytes for one in stored if one.name not in keys and not one.name.startswith(TRASH)),
        trash=_amount(one.bytes for one in stored if one.name.startswith(TRASH)),
        cache=_amount(one.bytes for one in found if one.place == "cache"),
        tmp=_amount(one.bytes for one in found if one.place in {"tmp", "scratch"}),
        free_bytes=free,
        total_bytes=total,
    )


def usage(named: Iterable[Reference]) -> Usage:
    """Add up by kind."""
    sizes: dict[str, dict[str, int]] = {kind: {} for kind in Usage.model_fields}
    for one in named:
        sizes[one.kind][one.key] = one.bytes
    return Usage.model_validate({kind: _amount(files.values()) for kind, files in sizes.items()})


def _amount(sizes: Iterable[int]) -> Amount:
    listed = list(sizes)
    return Amount(count=len(listed), bytes=sum(listed))
