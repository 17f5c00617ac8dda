"""The parts of the results: each is a checkpoint of the job, so that the next attempt goes on behind the last one."""

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from app.artifacts import fetch_intact
from app.errors import CorruptError
from app.jobs.repository import CheckpointRow
from worker.attempt.attempt import Attempt
from worker.batch_prediction.tally import Tally

PART_SECONDS = 10.0
_GROUP_BYTES = 8 << 20  # of a group of rows, which is all that is in memory


@dataclass(frozen=True, slots=True)
class Counts:
    """Rows so far, those that were answered, those that could not be read, and those with warnings."""

    rows: int = 0
    answered: int = 0
    unreadable: int = 0
    doubtful: int = 0

    def plus(self, other: "Counts") -> "Counts":
        """Return the sums."""
        return Counts(*(own + more for own, more in zip(asdict(self).values(), asdict(other).values(), strict=True)))


class Parts:
    """The parts that are kept, and the one that is being written."""

    def __init__(self, attempt: Attempt, folder: Path, schema: Any, every: int | None) -> None:
        self._attempt, self._folder, self._schema, self._every = attempt, folder, schema, every
        self.kept: list[Path] = []
        self.counts, self.tally = Counts(), Tally()
        self._writer: pq.ParquetWriter | None = None
        self._buffered: list[Any] = []
        self._start = 0
        self._saved = time.monotonic()
        folder.mkdir()

    def resume(self) -> int:
        """Take up the parts of earlier attempts, and return the place of the first row that none holds.

        A damaged part is dropped with those behind it: their rows are answered again.
        """
        rows = sorted(self._attempt.checkpoints(), key=lambda row: row.step)
        for index, row in enumerate(rows):
            try:
                self.kept.append(self._fetched(row))
            except CorruptError as error:
                for dropped in rows[index:]:
                    self._attempt.drop_checkpoint(dropped, str(error))
                break
            self.counts = Counts(**row.manifest["counts"])
            self.tally = Tally.of_json(row.manifest["tally"])
        self._start = self.counts.rows
        return self._start

    def _fetched(self, row: CheckpointRow) -> Path:
        """Return the file of a part that follows the ones before it. Raises CorruptError."""
        if row.manifest["start"] != self.counts.rows:
            msg = f"the part begins at row {row.manifest['start']} instead of {self.counts.rows}"
            raise CorruptError(msg)
        return fetch_intact(self._attempt.artifacts, row.key, row.sha256)

    def add(self, batch: Any, counts: Counts) -> None:
        """Add the rows of a block, of which `counts` tell; the tally is the caller's to add to."""
        self._buffered.append(batch)
        self.counts = self.counts.plus(counts)
        if sum(buffered.nbytes for buffered in self._buffered) >= _GROUP_BYTES:
            self._flush()

    @property
    def is_due(self) -> bool:
        """Whether the part is to be kept now."""
        rows = self.counts.rows - self._start
        if self._every is not None and rows >= self._every:
            return True
        return rows > 0 and time.monotonic() - self._saved >= PART_SECONDS

    def save(self) -> None:
        """Keep the rows since the last part as a part, if there are any."""
        self._saved = time.monotonic()
        if self.counts.rows == self._start:
            return
        self._flush()
        assert self._writer is not None
        self._writer.close()
        self._writer = None
        manifest = {"start": self._start, "counts": asdict(self.counts), "tally": self.tally.as_json()}
        path = self._path()
        self._attempt.save_checkpoint(path, self.counts.rows, 0, manifest, keep_all=True)
        self.kept.append(path)
        self._start = self.counts.rows

    def _flush(self) -> None:
        """Write the buffered rows as a group."""
        if not self._buffered:
            return
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._path(), self._schema)
        self._writer.write_table(pa.Table.from_batches(self._buffered))
        self._buffered.clear()

    def _path(self) -> Path:
        return self._folder / f"{self._start:015}.parquet"
