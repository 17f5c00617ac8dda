"""The leader's side of a training on several devices: it calls the other ranks together and leads them."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from torch.distributed import TCPStore  # type: ignore[attr-defined]

from app.ml.configs.resolved import ResolvedPretraining
from worker.distributed import meeting
from worker.distributed.collectives import Ranks
from worker.distributed.rank_processes import RankProcesses, places_of_node
from worker.training.run import Run

log = logging.getLogger(__name__)

_GRACE_SECONDS = 2.0


class Nodes(Protocol):
    """The nodes that train together; `worker.attempt.gang` implements it."""

    count: int
    host: str  # the leader's address

    def call(self, address: str) -> None:
        """Let the ranks of the other nodes come to an address (host:port)."""

    def look(self) -> None:
        """Tell that the leader still waits for them; raises where it is not to wait any longer."""

    def wait_for_loss(self) -> None:
        """Give the supervisor time to see that a node is lost: then this process is killed here."""


@contextmanager
def distributed(training: Run, devices: int, folder: Path, nodes: Nodes | None = None) -> Iterator[None]:
    """Run the loop inside on `devices` devices, of each of the `nodes`; `folder` is the attempt's.

    When a rank of this node ends, this process exits with a code of `worker.attempt.exit_codes`: the attempt has died,
    and the next one resumes from its checkpoint.
    """
    count = nodes.count if nodes else 1
    world_size = count * devices
    if world_size == 1 or training.plan.solves:  # what is solved for takes no steps to share
        yield
        return
    host = nodes.host if nodes else meeting.LOOPBACK
    store, address = meeting.open_store(host, world_size)
    kind = training.state.device.type
    _, *others = places_of_node(0, devices, count, kind, address=address, host=host, folder=folder)
    processes = RankProcesses(others)
    ranks: Ranks | None = None
    is_broken = False
    try:
        if nodes is not None:
            nodes.call(address)
        ranks = _join(training, folder, store, world_size, host, nodes)
        training.state.ranks = ranks
        yield
        ranks.finish()
    except RuntimeError:
        # A lost rank shows as a broken connection first; then the watcher, or the supervisor, ends this process.
        processes.wait_for_failure(_GRACE_SECONDS)
        if nodes is not None:
            nodes.wait_for_loss()
        is_broken = True
        raise
    finally:
        training.state.ranks = None
        if ranks is not None and not is_broken:
            with suppress(RuntimeError):  # one of them has just been killed
                ranks.announce_end()
        processes.close()
        if ranks is not None:
            ranks.leave()


def _join(training: Run, folder: Path, store: TCPStore, world_size: int, host: str, nodes: Nodes | None) -> Ranks:
    """Wait for all ranks, and hand out what they prepare the same training from."""
    look = nodes.look if nodes is not None else _no_look
    meeting.use_interface_of(host)
    meeting.arrive(store, "here", 0)
    meeting.wait_for_all(store, "here", world_size, look)
    ranks = Ranks.join(store, 0, world_size, training.state.device)
    ranks.send(json.dumps(_setup(training, folder)).encode())
    state = folder / "state-of-ranks.safetensors"
    training.state.save(state)
    ranks.send_file(state)
    state.unlink()
    meeting.arrive(store, "prepared", 0)
    meeting.wait_for_all(store, "prepared", world_size, look)
    return ranks


def _no_look() -> None:
    """Wait for ranks of the own machine: the watcher sees those that end."""


def _setup(training: Run, folder: Path) -> dict[str, object]:
    """What another rank prepares the same training from, next to the state and the files of its own machine."""
    return {
        "kind": "pretraining" if isinstance(training.config, ResolvedPretraining) else "fine_tuning",
        "config": (training.requested or training.config).model_dump(mode="json"),
        "has_parent": (folder / "parent").exists(),
        "sharded": training.state.sharded,
        "selected": training.selected.model_dump(mode="json") if training.selected else None,
        "strategy": training.strategy.model_dump(mode="json") if training.strategy else None,
    }
