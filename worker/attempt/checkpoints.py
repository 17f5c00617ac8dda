"""A training's checkpoints: when one is due, how it is kept and taken up again, and the way back to the last one."""

import errno
import time
from pathlib import Path

from app.artifacts import fetch_intact
from app.errors import CorruptError
from app.kit.files import space
from app.ml.errors import CorruptCheckpointError
from worker.attempt.attempt import Attempt
from worker.attempt.divergence import DivergedError
from worker.training.run import Run

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_MAX_FAILURES = 3
_MAX_SETBACKS = 2
_ROOM = 3  # states that must fit into the free room at the start


class StorageFullError(Exception):
    """There is no room for checkpoints."""


class Checkpoints:
    """Those of one attempt. The last sound state also stays in the attempt's folder."""

    def __init__(self, attempt: Attempt, training: Run, folder: Path, last_step: int | None) -> None:
        self._attempt = attempt
        self._training = training
        self._path = folder / "state.safetensors"
        self._sound = self._path
        self._last_step = last_step  # kept whenever it comes: a job may be extended from there
        self._saved = time.monotonic()
        self._failures = 0

    def resume(self) -> int:
        """Take up the newest intact checkpoint and return its step; 0 where there is none."""
        for row in self._attempt.checkpoints():
            try:
                self._sound = fetch_intact(self._attempt.artifacts, row.key, row.sha256)
                self._training.state.load(self._sound)
            except (CorruptCheckpointError, CorruptError) as error:
                self._attempt.drop_checkpoint(row, str(error))
            else:
                if row.job_id != self._attempt.lease.job_id:
                    self._training.state.clear_early_stopping()
                return row.step
        self._sound = self._path
        self._training.state.save(self._path)
        refuse_where_too_full(self._path)
        return 0

    def due(self, step: int) -> bool:
        """Tell whether to save now."""
        config = self._training.config.training
        silent = time.monotonic() - self._saved >= config.checkpoint_seconds
        every = config.checkpoint_steps
        return silent or step == self._last_step or (every is not None and step % every == 0)

    def save(self) -> None:
        """Keep the state as it is now. Where there is no room for it, an event says so, and it is tried again when due.

        Raises:
            DivergedError: it is not sound.
            StorageFullError: there was no room several times in a row.
        """
        self.refuse_unsound()
        self._saved = time.monotonic()
        try:
            self._keep()
        except OSError as error:
            if error.errno not in _FULL:
                raise
            self._tell_full(error)
        else:
            self._failures = 0

    def _keep(self) -> None:
        training, progress = self._training, self._training.state.progress
        training.state.save(self._path)
        self._sound = self._path
        strategy = training.strategy.model_dump(mode="json") if training.strategy else None
        selected = training.selected.model_dump(mode="json") if training.selected else None
        manifest = {"progress": progress.model_dump(), "strategy": strategy, "selected": selected}
        self._attempt.save_checkpoint(self._path, progress.step, progress.epoch, manifest)

    def _tell_full(self, error: OSError) -> None:
        self._failures += 1
        if self._failures == _MAX_FAILURES:
            raise StorageFullError from error
        step = self._training.state.progress.step
        message = f"No room for the checkpoint of step {step}; the one before stays, and it is tried again."
        data = {"step": step, "reason": error.strerror, "failures": self._failures}
        self._attempt.record_event("checkpoint.failed", message, data, "warning")

    def refuse_unsound(self) -> None:
        """Raise `DivergedError` where a weight is no number."""
        state = self._training.state
        if not state.is_finite():
            raise DivergedError(state.progress.step, self._training.lr, state)

    def go_back(self, error: DivergedError) -> None:
        """Return to the last sound state, at half the rate. Raises `error` where that was done too often."""
        state = self._training.state
        rate, setbacks = state.progress.rate / 2, state.progress.setbacks + 1
        if setbacks > _MAX_SETBACKS:
            raise error
        state.load(self._sound)
        state.progress.rate, state.progress.setbacks = rate, setbacks
        message = f"{error.what()} Back to step {state.progress.step}, at {rate:g} times the configured rate."
        self._attempt.go_back(state.progress.step, message, {**error.data(), "rate": rate})


def refuse_where_too_full(state: Path) -> None:
    """Raise `StorageFullError` where the disk has not the room for a few states like this one."""
    free, _ = space(state.parent)
    if free < _ROOM * state.stat().st_size:
        raise StorageFullError
