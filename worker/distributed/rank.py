"""A rank other than the leader: `python -m worker.distributed.rank PLACE`, where PLACE is a `RankPlace` as JSON.

It joins the others, prepares the same training from what the leader sends and from the data of its own machine, and
takes part in each step until the leader announces the end, or it is killed. It reads no SQL.
"""

import json
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter

from app.jobs.kinds import learning_config
from app.kit import logs
from app.kit.process import die_with_parent
from app.ml.configs.resolved import ResolvedFineTuning, ResolvedPretraining
from app.ml.data.arrays import ArrayData
from app.ml.kinds.strategies import ResolvedStrategy
from app.ml.kinds.strategies.base import StrategyConfig
from app.ml.models.bundle import read_bundle
from worker.attempt.exit_codes import RANK_OUT_OF_MEMORY
from worker.distributed import meeting
from worker.distributed.collectives import Ranks
from worker.distributed.rank_processes import RankPlace
from worker.training.loop import follow
from worker.training.micro_batches import DeviceMemoryError
from worker.training.model_selection.automatic import prepare
from worker.training.run import Run
from worker.training.selected import Selected

log = logging.getLogger(__name__)


def main() -> None:
    """Join the other ranks, prepare the training that the leader describes, take part in every step."""
    place = RankPlace(**json.loads(sys.argv[1]))
    die_with_parent(place.parent_pid)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the leader saves, and then ends this process
    logs.configure(f"rank {place.rank}")
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    device = torch.device(place.device)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    meeting.use_interface_of(place.host)
    store = meeting.connect(place.address, place.world_size)
    meeting.arrive(store, "here", place.rank)
    meeting.wait(store, "here", place.world_size)
    ranks = Ranks.join(store, place.rank, place.world_size, device)
    setup = json.loads(ranks.receive())
    training = _prepare(setup, device, Path(place.folder))
    training.state.sharded = setup["sharded"]
    state = Path(place.folder, f"state-of-rank-{place.rank}.safetensors")
    ranks.receive_file(state)
    training.state.load(state)
    state.unlink()
    training.state.ranks = ranks
    meeting.arrive(store, "prepared", place.rank)
    try:
        follow(training.state, training.examples("train"), training.plan, ranks.announced_steps())
    except DeviceMemoryError:
        log.exception("rank %d has too little memory", place.rank)
        os._exit(RANK_OUT_OF_MEMORY)
    os._exit(0)  # without waiting for the leader, which closes the connections


def _prepare(setup: dict[str, Any], device: torch.device, folder: Path) -> Run:
    config = learning_config(setup["kind"], setup["config"])
    if isinstance(config, ResolvedPretraining):
        config = config.model_copy(update={"watch": None})  # only the leader evaluates
    elif isinstance(config, ResolvedFineTuning):
        config = config.model_copy(update={"unlabelled": None})  # and solves for heads
    parent = read_bundle(folder / "parent", for_training=True) if setup["has_parent"] else None
    strategy = TypeAdapter[StrategyConfig | None](ResolvedStrategy | None).validate_python(setup["strategy"])
    data = ArrayData.open(folder / "data")
    selected = Selected.model_validate(setup["selected"]) if setup["selected"] else None
    return prepare(config, data, device=device, parent=parent, selected=selected, strategy=strategy)


if __name__ == "__main__":
    main()
