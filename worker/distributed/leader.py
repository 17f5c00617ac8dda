"""The other ranks of a training on several devices, as its leader starts, watches and ends them."""

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

from app.ml.configs.learning import PretrainingConfig
from worker.process.exit_codes import RANK_LOST, RANK_OUT_OF_MEMORY
from worker.training.collectives import Team
from worker.training.run import Run

log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.2
_GRACE_SECONDS = 2.0

Processes = list[subprocess.Popen[bytes]]


@contextmanager
def together(training: Run, devices: int, folder: Path) -> Iterator[None]:
    """Train on so many devices within; `folder` is the attempt's, with its `data` and its `parent`.

    Where one of the others ends, this process ends, too: the attempt has died; the next goes on from its checkpoint.
    """
    if devices == 1:
        yield
        return
    here = Path(tempfile.mkdtemp(prefix="team-", dir=folder))
    _leave_order(training, folder, here)
    ended = threading.Event()
    processes = [_start(here, rank, devices, training.state.device.type) for rank in range(1, devices)]
    watch = threading.Thread(target=_watch, args=(processes, ended), daemon=True)
    watch.start()
    try:
        training.state.team = Team.meet(here, 0, devices, training.state.device)
        yield
    except RuntimeError:
        watch.join(_GRACE_SECONDS)  # a lost rank shows as a broken connection first, and then this process ends
        raise
    finally:
        ended.set()
        watch.join()
        for process in processes:
            process.kill()
            process.wait()
        if training.state.team is not None:
            training.state.team.part()
            training.state.team = None


def _leave_order(training: Run, folder: Path, here: Path) -> None:
    training.state.save(here / "state.safetensors")
    parent = folder / "parent"
    order = {
        "kind": "pretraining" if isinstance(training.config, PretrainingConfig) else "fine_tuning",
        "config": training.config.model_dump(mode="json"),
        "data": str(folder / "data"),
        "parent": str(parent) if parent.exists() else None,
        "strategy": training.strategy.model_dump(mode="json") if training.strategy else None,
    }
    (here / "order.json").write_text(json.dumps(order))


def _start(here: Path, rank: int, size: int, kind: str) -> subprocess.Popen[bytes]:
    words = [str(here), str(rank), str(size), kind, str(os.getpid())]
    return subprocess.Popen([sys.executable, "-m", "worker.distributed.rank", *words], stdin=subprocess.DEVNULL)


def _watch(processes: Processes, ended: threading.Event) -> None:
    while not ended.wait(_LOOK_SECONDS):
        lost = [process for process in processes if process.poll() is not None]
        if lost and not ended.is_set():
            code = lost[0].returncode
            log.error("rank %d has ended with code %s", processes.index(lost[0]) + 1, code)
            for process in processes:
                process.kill()
                process.wait()
            os._exit(RANK_OUT_OF_MEMORY if code == RANK_OUT_OF_MEMORY else RANK_LOST)
