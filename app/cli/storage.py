"""The commands `graftwork server storage`, the space that files take, and `graftwork gc`, garbage collection."""

from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import TypeAdapter

from app.artifacts import ArtifactStore, open_store
from app.cli.database import exit_unless_usable
from app.db.session import Database
from app.settings import Settings
from app.storage.garbage_collection import Verdict, carry_out, plan
from app.storage.schemas import Amount
from app.storage.service import whole_service

_VERDICTS = TypeAdapter(list[Verdict])


@contextmanager
def _opened(settings: Settings) -> Iterator[tuple[Database, ArtifactStore]]:
    exit_unless_usable(settings)
    database = Database(settings.sql_url)
    try:
        yield database, open_store(settings)
    finally:
        database.close()


def show(*, as_json: bool) -> None:
    """Print the space that files take."""
    settings = Settings()
    with _opened(settings) as (database, store):
        storage = whole_service(database, store, settings)
    if as_json:
        print(storage.model_dump_json(indent=2))
        return
    amounts = {**dict(storage.named), **{name: value for name, value in storage if isinstance(value, Amount)}}
    for name, amount in amounts.items():
        print(f"{name:<13}{amount.count:>9} files {_megabytes(amount.bytes)}")
    print(f"{'free':<13}{'':>15} {_megabytes(storage.free_bytes)} of {_megabytes(storage.total_bytes).strip()}")


def collect(*, dry_run: bool, as_json: bool) -> None:
    """Remove unreferenced files and print what was done; with `dry_run`, only print the verdict on every file."""
    settings = Settings()
    with _opened(settings) as (database, store):
        verdicts = plan(database, store, settings)
        if not dry_run:
            carry_out(verdicts, database, store, settings)
    printed = verdicts if dry_run else [verdict for verdict in verdicts if verdict.action != "keep"]
    if as_json:
        print(_VERDICTS.dump_json(printed, indent=2).decode())
        return
    for verdict in printed:
        print(f"{verdict.action:<8}{verdict.place:<8}{verdict.bytes:>13} {verdict.name}: {verdict.reason}")
    for action in ("trash", "restore", "delete", "keep"):
        sizes = [verdict.bytes for verdict in verdicts if verdict.action == action]
        print(f"{action:<8}{len(sizes):>9} files {_megabytes(sum(sizes))}")


def _megabytes(size: int) -> str:
    return f"{size / 1e6:>12,.1f} MB"
