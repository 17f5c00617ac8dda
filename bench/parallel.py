"""Steps of a convnet on one and on two ranks, and what the wrappers cost a single one: `python -m bench.parallel`.

    efficiency  a step in one process / twice a step on two ranks, of one core each
    overhead    a step through the wrapper in a world of one rank / a plain step, in one process

Each for replicated weights (DistributedDataParallel) and for sharded ones (FSDP2). All sides take turns. Times are the
least of all steps, since others may use the machine, and CPU seconds: of one process alone, and of both ranks together.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import psutil
import torch
import torch.distributed as dist

from app.ml.configs.learning import FineTuningConfig
from app.ml.data.arrays import ArrayData
from app.ml.resolution.fine_tuning import resolve_fine_tuning
from app.ml.spec import DataSpec, TargetSpec
from worker.distributed.collectives import Ranks
from worker.distributed.leader import distributed
from worker.training.events import Event, StepDone
from worker.training.run import Run, prepare

_SIDE, _BATCHES = 32, 10  # of equal size: the least time is that of a whole batch
_WARM_UP = 3  # steps: the second one builds the buckets of gradients anew
SHARDING = ("replicate", "shard")
CONVNET = {"kind": "convnet", "channels": [32, 64, 128], "features": 256}


@dataclass
class Steps:
    """The wall and CPU seconds of steps."""

    wall: list[float]
    cpu: list[float]


def dataset(folder: Path, batch_size: int) -> ArrayData:
    """Write random images of ten classes, and open them."""
    rows = _BATCHES * batch_size
    random = np.random.default_rng(0)
    folder.mkdir()
    np.save(folder / "inputs.npy", random.integers(0, 256, (rows, _SIDE, _SIDE, 3), dtype=np.uint8))
    np.save(folder / "targets.npy", random.integers(0, 10, (rows, 1)).astype(np.float64))
    np.save(folder / "split.npy", np.zeros(rows, dtype=np.int8))
    spec = DataSpec(
        modality="image",
        shape=(_SIDE, _SIDE, 3),
        targets=(TargetSpec(name="label", type="category", classes=tuple(map(str, range(10)))),),
        rows={"train": rows, "validation": 0, "test": 0},
    )
    (folder / "manifest.json").write_text(json.dumps({"spec": spec.model_dump(mode="json")}))
    return ArrayData.open(folder)


def training(data: ArrayData, batch_size: int) -> Run:
    """Prepare full fine-tuning of a fresh convnet, in float32."""
    request = {
        "backbone": CONVNET,
        "heads": [{"kind": "classifier", "target": "label"}],
        "strategy": {"kind": "full"},
        "training": {"steps": 100_000, "batch_size": batch_size, "precision": "float32", "seed": 0},
    }
    return prepare(resolve_fine_tuning(FineTuningConfig.model_validate(request), data.spec, None).config, data)


def time_steps(events: Iterator[Event], count: int) -> Steps:
    """Time `count` steps after some that warm up; CPU seconds are of this process and the ranks that it started."""
    measured = Steps([], [])
    for step in range(-_WARM_UP, count):
        processes = [psutil.Process(), *psutil.Process().children()]
        wall, cpu = time.perf_counter(), _cpu_seconds(processes)
        while not isinstance(next(events), StepDone):
            pass
        if step >= 0:
            measured.wall.append(time.perf_counter() - wall)
            measured.cpu.append(_cpu_seconds(processes) - cpu)
    return measured


def _cpu_seconds(processes: list[psutil.Process]) -> float:
    return sum(times.user + times.system for times in (process.cpu_times() for process in processes))


def efficiency(folder: Path, data: ArrayData, batch_size: int, pairs: int, steps: int) -> None:
    """Print how much faster two ranks are, by the least times and by CPU seconds."""
    alone = Steps([], [])
    shared = {sharding: Steps([], []) for sharding in SHARDING}
    for _ in range(pairs):
        for ranks, sharding, total in ((1, "replicate", alone), *((2, name, shared[name]) for name in SHARDING)):
            run = training(data, batch_size)
            run.state.sharded = sharding == "shard"
            with distributed(run, ranks, folder):
                measured = time_steps(run.train(), steps)
            total.wall += measured.wall
            total.cpu += measured.cpu
    one = min(alone.wall)
    print(f"one process: {one * 1000:.0f} ms a step")
    for sharding, measured in shared.items():
        two, cpu = min(measured.wall), sum(alone.cpu) / sum(measured.cpu)
        print(
            f"two ranks, {sharding}: {two * 1000:.0f} ms a step, efficiency {one / (2 * two):.2f}; "
            f"CPU seconds of one process / of both ranks: {cpu:.2f}"
        )


def overhead(data: ArrayData, batch_size: int, steps: int) -> None:
    """Print what a step costs through each wrapper in a world of one rank, beside a plain step."""
    sides = {name: (training(data, batch_size), Steps([], [])) for name in ("plain", *SHARDING)}
    ranks = Ranks.join(dist.HashStore(), 0, 1, torch.device("cpu"))
    for name in SHARDING:
        state = sides[name][0].state
        state.ranks, state.sharded = replace(ranks), name == "shard"
    running = [(run.train(), measured) for run, measured in sides.values()]
    for step in range(-_WARM_UP, steps):
        for events, measured in running if step % 2 else reversed(running):
            wall, cpu = time.perf_counter(), time.process_time()
            while not isinstance(next(events), StepDone):
                pass
            if step >= 0:
                measured.wall.append(time.perf_counter() - wall)
                measured.cpu.append(time.process_time() - cpu)
    ranks.leave()
    before = sides["plain"][1]
    for name in SHARDING:
        after = sides[name][1]
        least = min(after.wall) / min(before.wall) - 1
        pairs = (ours / theirs for ours, theirs in zip(after.cpu, before.cpu, strict=True))
        cpu_seconds = f"{statistics.median(pairs) - 1:+.1%} CPU seconds, median of pairs"
        print(f"one rank, {name}: {least:+.1%} by the least time, {cpu_seconds}")


def main() -> None:
    """Measure all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-size", type=int, default=704, help="rows of a step, for about 200 ms")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20, help="of each run")
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"  # of the ranks, too
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = dataset(folder / "data", arguments.batch_size)
        overhead(data, arguments.batch_size, 2 * arguments.steps)
        efficiency(folder, data, arguments.batch_size, arguments.pairs, arguments.steps)


if __name__ == "__main__":
    main()
