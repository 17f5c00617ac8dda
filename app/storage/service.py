"""Adds up the space that files take."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import get_args

from sqlalchemy.orm import Session

from app.artifacts import TRASH, ArtifactStore
from app.db.session import Database
from app.dependencies import Services
from app.keys.service import Principal
from app.kit.files import space
from app.kit.streaming import Limit
from app.settings import Settings
from app.storage.inventory import inventory
from app.storage.quotas import quota_of, refuse_full, too_large_for
from app.storage.repository import Kind, Reference, deleted_files, labelled_rows, references, totals
from app.storage.schemas import Amount, ServiceStorage, Storage, Usage


def report(state: Services, principal: Principal, *, lists_service: bool = True) -> Storage:
    """Return the space that the project's files take and, for an administrator who asks for it, that of all files."""
    with state.database.reading() as session:
        own = project_usage(session, principal.project_id, state.settings.gc_grace_seconds)
        quota = quota_of(session, principal.project_id)
    lists_service = lists_service and "admin" in principal.scopes
    whole = whole_service(state.database, state.artifacts, state.settings) if lists_service else None
    return Storage(project=own, quota=quota, service=whole)


def project_usage(session: Session, project_id: str, grace: float) -> Usage:
    """Return what a project keeps, by the totals that triggers keep."""
    kept = totals(session, project_id)
    amounts = {kind: asdict(kept[kind]) for kind in Usage.model_fields}
    return Usage.model_validate({**amounts, "deleted": asdict(deleted_files(session, grace, project_id))})


def upload_limit(state: Services, project_id: str) -> Limit:
    """Return how large an upload may be. Raises QuotaError where nothing is left of the project's quota."""
    largest = state.settings.max_upload_bytes
    with state.database.reading() as session:
        left = refuse_full(session, project_id).left_bytes
    return Limit(largest) if left is None or left >= largest else Limit(left, too_large_for)


def whole_service(database: Database, store: ArtifactStore, settings: Settings) -> ServiceStorage:
    """Add up every file, those that no row names too. The store is listed for this, which takes a while in a bucket."""
    files = list(inventory(store, settings))
    with database.reading() as session:
        named = sizes_by_kind(references(session, settings.gc_grace_seconds))
        labelled = labelled_rows(session)
    keys = set[str]().union(*named.values())
    stored = [file for file in files if file.place == "store"]
    free, total = space(settings.data_folder)
    return ServiceStorage(
        named=usage(named, labelled),
        unreferenced=_amount(
            file.bytes for file in stored if not file.name.startswith(TRASH) and file.name not in keys
        ),
        trash=_amount(file.bytes for file in stored if file.name.startswith(TRASH)),
        cache=_amount(file.bytes for file in files if file.place == "cache"),
        tmp=_amount(file.bytes for file in files if file.place in {"tmp", "scratch"}),
        free_bytes=free,
        total_bytes=total,
    )


def sizes_by_kind(named: Iterable[Reference]) -> dict[str, dict[str, int]]:
    """Return the bytes of each named file, by kind and key."""
    sizes: dict[str, dict[str, int]] = {kind: {} for kind in get_args(Kind)}
    for reference in named:
        sizes[reference.kind][reference.key] = reference.bytes
    return sizes


def usage(named: Mapping[str, Mapping[str, int]], labelled: tuple[int, int]) -> Usage:
    """Add up the bytes of the named files by kind; a file that several rows name counts once.

    `labelled` is how many labelled rows there are, and their bytes.
    """
    amounts = {kind: _amount(files.values()) for kind, files in named.items()}
    return Usage.model_validate({**amounts, "labelled_rows": Amount(count=labelled[0], bytes=labelled[1])})


def _amount(sizes: Iterable[int]) -> Amount:
    listed = list(sizes)
    return Amount(count=len(listed), bytes=sum(listed))
