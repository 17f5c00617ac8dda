"""A bounded local cache of a dataset's shards, which a thread fills ahead of whoever reads them."""

import logging
import re
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from app.artifacts import ArtifactStore, export_blob
from app.errors import CorruptError, UnavailableError
from app.ml.data.stored_rows import INPUT_FILES

log = logging.getLogger(__name__)

_NAMES = "|".join(name.removesuffix(".npy") for name in INPUT_FILES)
_SHARD_FILE = re.compile(rf"({_NAMES})-(\d{{5,}})\.npy")
Files = Mapping[str, Mapping[str, Any]]  # {name: {"sha256", "bytes"}}


def shard_of(name: str) -> int | None:
    """Return the number of the shard that a file of a dataset belongs to; None: it belongs to all rows."""
    match = _SHARD_FILE.fullmatch(name)
    return int(match[2]) if match else None


class ShardCache:
    """Copies of shards in a folder of its own, of at most `max_bytes` together.

    `opened` returns a shard's files, fetching them where the thread has not done so yet. Once `expect` has said which
    shards will be read, window after window, the thread fetches them in this order; a shard that is needed later, or
    no more, makes room for one that is needed sooner.
    """

    def __init__(self, store: ArtifactStore, files: Files, folder: Path, max_bytes: int) -> None:
        self._store, self._folder, self._max_bytes = store, folder, max_bytes
        self._shards: dict[int, dict[str, Mapping[str, Any]]] = {}
        for name, blob in files.items():
            number = shard_of(name)
            if number is not None:
                self._shards.setdefault(number, {})[name] = blob
        self._bytes = {number: sum(blob["bytes"] for blob in blobs.values()) for number, blobs in self._shards.items()}
        self._changed = threading.Condition()
        # All below is guarded by the condition.
        self._present: dict[int, None] = {}  # the one read longest ago first
        self._fetched: set[int] = set()  # that are being fetched
        self._open: Counter[int] = Counter()
        self._windows: list[Sequence[int]] = []  # from the one that is read on
        self._broken: set[int] = set()  # that the thread could not fetch: the reader tries itself, and hears why
        self._thread: threading.Thread | None = None
        self._closed = False
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def bytes(self) -> int:
        """Bytes of all shards, here or not."""
        return sum(self._bytes.values())

    @property
    def largest(self) -> int:
        """Bytes of the largest shard."""
        return max(self._bytes.values(), default=0)

    @property
    def held(self) -> int:
        """Bytes of the copies that are in the folder, or on their way."""
        return sum(self._bytes[number] for number in (*self._present, *self._fetched))

    @contextmanager
    def opened(self, shard: int) -> Iterator[Path]:
        """Return the folder with the files of a shard, which stay there while the context lasts.

        Raises:
            CorruptError: the bytes of a file are missing or damaged.
            UnavailableError: the store does not answer.
        """
        with self._changed:
            self._advance_to(shard)
            while shard in self._fetched:
                self._changed.wait()
            self._open[shard] += 1
            fetch = shard not in self._present
            if fetch:
                self._make_room(shard)
                self._fetched.add(shard)
        try:
            if fetch:
                self._fetch(shard)
            with self._changed:
                self._present[shard] = self._present.pop(shard, None)  # read last
            yield self._folder
        finally:
            with self._changed:
                self._open[shard] -= 1
                self._changed.notify_all()

    def expect(self, windows: Sequence[Sequence[int]]) -> None:
        """Fetch these shards from here on, window after window, as far as there is room."""
        with self._changed:
            self._windows = list(windows)
            self._broken.clear()
            if self._thread is None:
                self._thread = threading.Thread(target=self._read_ahead, name="read-ahead", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def close(self) -> None:
        """End the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _advance_to(self, shard: int) -> None:
        """Forget the windows before the next one that the shard is in; shards that are in none change nothing."""
        for index, window in enumerate(self._windows[:2]):  # a split that is read in between is in no window
            if shard in window:
                if index:
                    self._windows = self._windows[index:]
                    self._changed.notify_all()
                return

    def _next_use(self, shard: int) -> int:
        """Return after how many windows a shard is read, or a number above all where it is not."""
        uses = (index for index, window in enumerate(self._windows) if shard in window)
        return next(uses, len(self._windows))

    def _make_room(self, shard: int, sooner_than: int | None = None) -> bool:
        """Delete copies that are read last until there is room for a shard; return whether there is.

        With `sooner_than` only those whose next use is after that window; None: any that nobody has open.
        """
        room = self._max_bytes - self._bytes[shard]
        while self.held > room:
            closed = [number for number in self._present if not self._open[number]]
            latest = max(closed, key=self._next_use, default=None)  # of equal ones that which was read longest ago
            if latest is None or (sooner_than is not None and self._next_use(latest) <= sooner_than):
                return False
            del self._present[latest]
            for name in self._shards[latest]:
                (self._folder / name).unlink()
        return True

    def _fetch(self, shard: int) -> None:
        """Copy the files of a shard that is marked as being fetched."""
        try:
            for name, blob in self._shards[shard].items():
                export_blob(self._store, blob["sha256"], self._folder / name)
        except BaseException:
            with self._changed:
                for name in self._shards[shard]:
                    (self._folder / name).unlink(missing_ok=True)
                self._fetched.discard(shard)
                self._changed.notify_all()
            raise
        with self._changed:
            self._fetched.discard(shard)
            self._present[shard] = None
            self._changed.notify_all()

    def _read_ahead(self) -> None:
        """Fetch what is expected next, until the cache is closed."""
        while True:
            with self._changed:
                while (shard := self._next_to_fetch()) is None and not self._closed:
                    self._changed.wait()
                if self._closed or shard is None:
                    return
                self._fetched.add(shard)
            try:
                self._fetch(shard)
            except (CorruptError, UnavailableError, OSError):
                log.warning("shard %d could not be read ahead", shard, exc_info=True)
                with self._changed:
                    self._broken.add(shard)

    def _next_to_fetch(self) -> int | None:
        """Return the first expected shard that is not here, if there is room for it."""
        here = self._present.keys() | self._fetched | self._broken
        for index, window in enumerate(self._windows):
            for shard in window:
                if shard not in here:
                    return shard if self._make_room(shard, sooner_than=index) else None
        return None
