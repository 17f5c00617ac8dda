"""Opens the canonical form of a dataset: linked whole, or in shards that are fetched when they are read."""

from pathlib import Path

from app.artifacts import ArtifactStore, link_files
from app.datasets.shard_cache import Files, ShardCache, shard_of
from app.ml.data.stored_rows import ShardFiles


def link_dataset(
    store: ArtifactStore, files: Files, folder: Path, max_bytes: int, *, reads_some: bool = False
) -> ShardFiles | None:
    """Link the files of a dataset into `folder`; return where its shards come from, None: they are all in the folder.

    Shards of more than `max_bytes` together come through a cache of this size below the folder. With `reads_some`,
    which says that only some rows will be read, any shards do.

    Raises:
        CorruptError: the bytes of a file are missing or damaged.
    """
    cache = ShardCache(store, files, folder / "shards", max_bytes)
    whole = cache.bytes <= (0 if reads_some else max_bytes)
    link_files(store, {name: blob for name, blob in files.items() if whole or shard_of(name) is None}, folder)
    return None if whole else cache
