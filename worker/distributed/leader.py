"""The leader's side of a training on several devices: it starts the other ranks, watches them and ends them."""

import json
import logging
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.ml.configs.resolved import ResolvedPretraining
from worker.attempt.exit_codes import RANK_LOST, RANK_OUT_OF_MEMORY
from worker.distributed.collectives import Ranks
from worker.training.run import Run

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.2
_GRACE_SECONDS = 2.0

Processes = list[subprocess.Popen[bytes]]


@contextmanager
def distributed(training: Run, devices: int, folder: Path) -> Iterator[None]:
    """Run the loop inside on `devices` devices; `folder` is the attempt's, with its `data` and its `parent`.

    When another rank ends, this process exits with a code of `worker.attempt.exit_codes`: the attempt has died, and the
    next one resumes from its checkpoint.
    """
    if devices == 1 or training.plan.solves:  # what is solved for takes no steps to share
        yield
        return
    rank_folder = Path(tempfile.mkdtemp(prefix="ranks-", dir=folder))
    _write_setup(training, folder, rank_folder)
    ended = threading.Event()
    processes = [_start(rank_folder, rank, devices, training.state.device.type) for rank in range(1, devices)]
    watcher = threading.Thread(target=_exit_when_a_rank_ends, args=(processes, ended), daemon=True)
    watcher.start()
    ranks: Ranks | None = None
    try:
        training.state.ranks = ranks = Ranks.join(rank_folder, 0, devices, training.state.device)
        yield
    except RuntimeError:
        watcher.join(_GRACE_SECONDS)  # a lost rank shows as a broken connection first; then the watcher exits
        raise
    finally:
        ended.set()
        watcher.join()
        for process in processes:
            process.kill()
            process.wait()
        training.state.ranks = None
        if ranks is not None:
            ranks.leave()


def _write_setup(training: Run, folder: Path, rank_folder: Path) -> None:
    """Write what another rank prepares the same training from: the state, the config and where the files are."""
    training.state.save(rank_folder / "state.safetensors")
    parent = folder / "parent"
    setup = {
        "kind": "pretraining" if isinstance(training.config, ResolvedPretraining) else "fine_tuning",
        "config": (training.requested or training.config).model_dump(mode="json"),
        "data": str(folder / "data"),
        "parent": str(parent) if parent.exists() else None,
        "selected": training.selected.model_dump(mode="json") if training.selected else None,
        "strategy": training.strategy.model_dump(mode="json") if training.strategy else None,
    }
    (rank_folder / "setup.json").write_text(json.dumps(setup))


def _start(rank_folder: Path, rank: int, world_size: int, device: str) -> subprocess.Popen[bytes]:
    arguments = [str(rank_folder), str(rank), str(world_size), device, str(os.getpid())]
    return subprocess.Popen([sys.executable, "-m", "worker.distributed.rank", *arguments], stdin=subprocess.DEVNULL)


def _exit_when_a_rank_ends(processes: Processes, ended: threading.Event) -> None:
    while not ended.wait(_POLL_SECONDS):
        lost = [process for process in processes if process.poll() is not None]
        if lost and not ended.is_set():
            code = lost[0].returncode
            log.error("rank %d has ended with code %s", processes.index(lost[0]) + 1, code)
            for process in processes:
                process.kill()
                process.wait()
            os._exit(RANK_OUT_OF_MEMORY if code == RANK_OUT_OF_MEMORY else RANK_LOST)
