"""A rank other than the leader: `python -m worker.distributed.rank FOLDER RANK WORLD_SIZE DEVICE LEADER_PID`.

It prepares the same training from the files that the leader wrote into the folder, loads the leader's state, and takes
part in each of its steps until it is killed. It reads no SQL and writes nothing.
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
from worker.distributed.collectives import Ranks
from worker.training.loop import follow
from worker.training.micro_batches import DeviceMemoryError
from worker.training.model_selection.automatic import prepare
from worker.training.run import Run
from worker.training.selected import Selected

log = logging.getLogger(__name__)


def main() -> None:
    """Prepare the training, join the other ranks, take part in every step."""
    folder, rank, world_size, kind, leader = sys.argv[1:]
    die_with_parent(int(leader))
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the leader saves, and then ends this process
    logs.configure(f"rank {rank}")
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    rank_folder = Path(folder)
    device = torch.device("cuda", int(rank)) if kind == "cuda" else torch.device(kind)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    training = _prepare(json.loads((rank_folder / "setup.json").read_text()), device)
    training.state.load(rank_folder / "state.safetensors")
    training.state.ranks = ranks = Ranks.join(rank_folder, int(rank), int(world_size), device)
    try:
        follow(training.state, training.examples("train"), training.plan, ranks.announced_steps())
    except DeviceMemoryError:
        log.exception("rank %s has too little memory", rank)
        os._exit(RANK_OUT_OF_MEMORY)


def _prepare(setup: dict[str, Any], device: torch.device) -> Run:
    config = learning_config(setup["kind"], setup["config"])
    if isinstance(config, ResolvedPretraining):
        config = config.model_copy(update={"watch": None})  # only the leader evaluates
    elif isinstance(config, ResolvedFineTuning):
        config = config.model_copy(update={"unlabelled": None})  # and solves for heads
    parent = read_bundle(Path(setup["parent"]), for_training=True) if setup["parent"] else None
    strategy = TypeAdapter[StrategyConfig | None](ResolvedStrategy | None).validate_python(setup["strategy"])
    data = ArrayData.open(Path(setup["data"]))
    selected = Selected.model_validate(setup["selected"]) if setup["selected"] else None
    return prepare(config, data, device=device, parent=parent, selected=selected, strategy=strategy)


if __name__ == "__main__":
    main()
