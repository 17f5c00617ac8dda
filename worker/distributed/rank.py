"""One more rank of a training on several devices: `python -m worker.distributed.rank FOLDER RANK SIZE DEVICE PARENT`.

It prepares the same training from what the leader left in the folder, takes up the leader's state, and takes part in
each of its steps until it is killed. It reads no SQL and writes nothing.
"""

import hashlib
import json
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter

from app.jobs.plan import learning_config
from app.kit import logs
from app.kit.process import die_with_parent
from app.ml.configs.learning import PretrainingConfig
from app.ml.data.arrays import ArrayData
from app.ml.kinds.strategies import AnyStrategy
from app.ml.models.bundle import read_bundle
from worker.process.exit_codes import RANK_OUT_OF_MEMORY
from worker.training.collectives import Team, device_of
from worker.training.loop import follow
from worker.training.micro_batches import DeviceMemoryError
from worker.training.run import Run, prepare

log = logging.getLogger(__name__)


def main() -> None:
    """Prepare, meet the others, follow."""
    folder, rank, size, kind, parent = sys.argv[1:]
    die_with_parent(int(parent))
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the leader saves, and then ends this process
    logs.configure(f"rank {rank}")
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    here, device = Path(folder), device_of(int(rank), kind)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    order = json.loads((here / "order.json").read_text())
    training = _prepare(order, device)
    training.state.load(here / "state.safetensors")
    seed = hashlib.sha256(f"{training.config.training.seed}/{rank}/{training.state.progress.step}".encode()).digest()
    torch.manual_seed(int.from_bytes(seed[:8], "little") >> 1)
    training.state.team = team = Team.meet(here, int(rank), int(size), device)
    try:
        follow(training.state, training.examples("train"), training.plan, team)
    except DeviceMemoryError:
        log.exception("rank %s has too little memory", rank)
        os._exit(RANK_OUT_OF_MEMORY)


def _prepare(order: dict[str, Any], device: torch.device) -> Run:
    config = learning_config(order["kind"], order["config"])
    if isinstance(config, PretrainingConfig):
        config = config.model_copy(update={"watch": None})  # the leader looks
    parent = read_bundle(Path(order["parent"]), for_training=True) if order["parent"] else None
    strategy = TypeAdapter[AnyStrategy | None](AnyStrategy | None).validate_python(order["strategy"])
    return prepare(config, ArrayData.open(Path(order["data"])), device=device, parent=parent, strategy=strategy)


if __name__ == "__main__":
    main()
