"""The storage from the command line: what it holds, and its garbage collection."""

from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import TypeAdapter

from app.artifacts import ArtifactStore, open_store
from app.db.session import Database
from app.settings import Settings
from app.storage.collecting import Decision, carry_out, plan
from app.storage.schemas import Amount
from app.storage.service import whole_service

_DECISIONS = TypeAdapter(list[Decision])


@contextmanager
def _opened(settings: Settings) -> Iterator[tuple[Database, ArtifactStore]]:
    database = Database(settings.sql_url)
    try:
        yield database, open_store(settings)
    finally:
        database.close()


def show(*, as_json: bool) -> None:
    """Print what files take."""
    settings = Settings()
    with _opened(settings) as (database, store):
        found = whole_service(database, store, settings)
    if as_json:
        print(found.model_dump_json(indent=2))
        return
    amounts = {**dict(found.named), **{name: value for name, value in found if isinstance(value, Amount)}}
    for name, amount in amounts.items():
        print(f"{name:<13}{amount.count:>9} files {_megabytes(amount.bytes)}")
    print(f"{'free':<13}{'':>15} {_megabytes(found.free_bytes)} of {_megabytes(found.total_bytes).strip()}")


def collect(*, dry_run: bool, as_json: bool) -> None:
    """Delete what nobody needs and tell what was done; with `dry_run` tell of every file and do nothing."""
    settings = Settings()
    with _opened(settings) as (database, store):
        decisions = plan(database, store, settings)
        if not dry_run:
            carry_out(decisions, database, store, settings)
    told = decisions if dry_run else [one for one in decisions if one.action != "keep"]
    if as_json:
        print(_DECISIONS.dump_json(told, indent=2).decode())
        return
    for one in told:
        print(f"{one.action:<8}{one.place:<8}{one.bytes:>13} {one.name}: {one.reason}")
    for action in ("trash", "restore", "delete", "keep"):
        sizes = [one.bytes for one in decisions if one.action == action]
        print(f"{action:<8}{len(sizes):>9} files {_megabytes(sum(sizes))}")


def _megabytes(size: int) -> str:
    return f"{size / 1e6:>12,.1f} MB"
