"""The processes of a node's ranks: how they are started and watched. See `worker.distributed.rank` for what they do."""

import json
import logging
import os
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from worker.attempt.exit_codes import RANK_LOST, RANK_OUT_OF_MEMORY

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class RankPlace:
    """What a rank's process needs to know to join the others."""

    address: str  # of the leader's store
    host: str  # the address of its own machine
    rank: int
    world_size: int
    device: str  # such as cpu or cuda:1
    folder: str  # the attempt's on this machine: `data`, and `parent` where the training starts from a model
    parent_pid: int  # it does not outlive this process


class RankProcesses:
    """Some processes of ranks; one that ends by itself with a code other than 0 ends this process, too."""

    def __init__(self, places: list[RankPlace]) -> None:
        self._processes = [_start(place) for place in places]
        self._places = places
        self._closing = threading.Event()
        self._watcher = threading.Thread(target=self._exit_when_one_fails, daemon=True)
        self._watcher.start()

    def wait(self) -> None:
        """Wait until all have ended well."""
        while any(process.poll() is None for process in self._processes):
            time.sleep(_POLL_SECONDS)
        self.close()

    def wait_for_failure(self, seconds: float) -> None:
        """Give the watcher time to see a rank that has ended: then this process exits here."""
        self._watcher.join(seconds)

    def close(self) -> None:
        """End all."""
        self._closing.set()
        self._watcher.join()
        _kill(self._processes)

    def _exit_when_one_fails(self) -> None:
        while not self._closing.wait(_POLL_SECONDS):
            for place, process in zip(self._places, self._processes, strict=True):
                code = process.poll()
                if code and not self._closing.is_set():
                    log.error("rank %d has ended with code %s", place.rank, code)
                    _kill(self._processes)
                    os._exit(RANK_OUT_OF_MEMORY if code == RANK_OUT_OF_MEMORY else RANK_LOST)


def places_of_node(
    node: int, devices: int, nodes: int, kind: str, *, address: str, host: str, folder: Path
) -> list[RankPlace]:
    """Return the places of a node's ranks, one a device of this kind; the ranks of node 0 come first."""
    return [
        RankPlace(
            address=address,
            host=host,
            rank=node * devices + device,
            world_size=nodes * devices,
            device=f"{kind}:{device}" if kind == "cuda" else kind,
            folder=str(folder),
            parent_pid=os.getpid(),
        )
        for device in range(devices)
    ]


def _start(place: RankPlace) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "worker.distributed.rank", json.dumps(asdict(place))]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL)


def _kill(processes: "list[subprocess.Popen[bytes]]") -> None:
    for process in processes:
        process.kill()
        process.wait()
