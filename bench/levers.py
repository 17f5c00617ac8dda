"""Compares each optimisation of training speed to what it replaces, interleaved in one process on one thread.

Loading: an epoch of batches of 128 from 10,000 rows x 784 in memory, by indexing against torch's DataLoader.
Recipe: the article's autoencoder, trained with our default mini-batches against its full-batch epochs; CPU seconds
until the reconstruction error is equal. Arithmetic: a strided convolutional autoencoder in batches of 256, bfloat16
with channels last against float32; only on processors that multiply bfloat16.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from digits import digits, enlarge
from torch.utils.data import DataLoader, TensorDataset

from app.ml.configs.learning import PretrainingConfig
from app.ml.data.arrays import ArrayData, InMemory
from app.ml.fitting.evaluation import evaluate
from app.ml.resolution.pretraining import resolve_pretraining
from app.ml.spec import DataSpec
from worker.training.batches import epoch_batches
from worker.training.events import EpochDone, StepDone
from worker.training.precision import multiplies_bfloat16
from worker.training.run import Run, prepare

ROWS, BATCH = 10_000, 128
MLP = {"backbone": {"kind": "mlp", "hidden": [256, 128]}, "method": {"kind": "autoencoder"}}
FULL = {"batch_size": ROWS, "optimizer": {"kind": "adam", "lr": 0.001}, "schedule": {"kind": "constant"}}
Clock = Callable[[], float]


def timed(work: Callable[[], Any], clock: Clock) -> float:
    """Return the time that `work` takes by `clock`, in seconds."""
    started_at = clock()
    work()
    return clock() - started_at


def loading(runs: int) -> None:
    """Time batches by index and by DataLoader: without workers in CPU seconds, with two workers in wall seconds."""
    values = torch.rand(ROWS, 784)
    source, dataset = InMemory(values), TensorDataset(values)

    def by_index() -> None:
        for indices in epoch_batches(ROWS, BATCH, seed=0, epoch=0):
            source.take(indices)

    def by_loader(workers: int) -> None:
        for (_,) in DataLoader(dataset, BATCH, shuffle=True, num_workers=workers):
            pass

    by_index()
    rounds: list[tuple[float, float, float, float]] = []
    for _ in range(runs):
        index_cpu, loader_cpu = timed(by_index, time.process_time), timed(lambda: by_loader(0), time.process_time)
        index_wall, loader_wall = timed(by_index, time.monotonic), timed(lambda: by_loader(2), time.monotonic)
        rounds.append((index_cpu, loader_cpu, index_wall, loader_wall))
    index, loader = (1000 * statistics.median(times[column] for times in rounds) for column in (0, 1))
    ratio = statistics.median(loader_cpu / index_cpu for index_cpu, loader_cpu, _, _ in rounds)
    print(
        f"batches: {index:.1f} ms by index, {loader:.1f} by DataLoader; median ratio {ratio:.1f} (target: at least 5)"
    )
    ratio = statistics.median(loader_wall / index_wall for _, _, index_wall, loader_wall in rounds)
    print(f"batches: DataLoader with two workers / by index, wall: {ratio:.0f}", flush=True)


def image_data() -> ArrayData:
    """Return ROWS digits as training data without labels."""
    pixels = enlarge(*digits(), ROWS)[0][..., None]
    spec = DataSpec(modality="image", shape=pixels.shape[1:], columns=(), targets=(), rows={"train": ROWS}, labelled={})
    return ArrayData(spec, pixels, np.empty((ROWS, 0)), np.zeros(ROWS, np.uint8))


def prepare_run(data: ArrayData, request: dict[str, Any], **training: Any) -> Run:
    """Resolve a pretraining request and prepare its run."""
    config = PretrainingConfig.model_validate({**request, "training": training})
    return prepare(resolve_pretraining(config, data.spec).config, data)


def reconstruction_error(run: Run) -> float:
    """Return the mean squared error on the train rows."""
    return evaluate(run.state.objective, run.examples("train"), "train").losses["mse"]


def full_batch(data: ArrayData, epochs: int) -> tuple[float, float]:
    """Return the CPU seconds of the article's full-batch epochs, and the error after them."""
    run = prepare_run(data, MLP, **FULL, epochs=epochs)
    seconds = timed(lambda: [None for _ in run.train()], time.process_time)
    return seconds, reconstruction_error(run)


def seconds_to_error(data: ArrayData, target: float) -> float:
    """Return the CPU seconds that our defaults train until the error is at most `target`; infinity if it never is."""
    run = prepare_run(data, MLP)
    seconds, started_at = 0.0, time.process_time()
    for event in run.train():
        if isinstance(event, EpochDone):
            seconds += time.process_time() - started_at
            if reconstruction_error(run) <= target:
                return seconds
            started_at = time.process_time()  # the evaluation does not count
    return float("inf")


def recipe(runs: int, epochs: int) -> None:
    """Print how much longer full-batch epochs take than our defaults to reach the same error."""
    data, ratios = image_data(), []
    for number in range(runs):
        full, target = full_batch(data, epochs)
        ours = seconds_to_error(data, target)
        ratios.append(full / ours)
        print(f"recipe, run {number + 1}: {full:.1f} CPU s to {target:.4f}, the defaults {ours:.2f}", flush=True)
    print(f"recipe: full batch / defaults, CPU seconds to one error: {statistics.median(ratios):.1f} (target: 7)")


def rate(data: ArrayData, precision: str, steps: int) -> float:
    """Return the images per CPU second of training, without the first three steps."""
    request = {"backbone": {"kind": "convnet"}, "method": {"kind": "autoencoder"}}
    run, started_at = prepare_run(data, request, batch_size=256, steps=steps + 3, precision=precision), 0.0
    for event in run.train():
        if isinstance(event, StepDone) and event.step == 3:  # caches are warm
            started_at = time.process_time()
        if isinstance(event, StepDone) and event.step == steps + 3:
            break
    return 256 * steps / (time.process_time() - started_at)


def arithmetic(runs: int) -> None:
    """Print how much faster bfloat16 is than float32."""
    if not multiplies_bfloat16(torch.device("cpu")):
        print("arithmetic: this processor does not multiply bfloat16 in hardware, so trainings stay in float32")
        return
    data = image_data()
    pairs = [(rate(data, "float32", 20), rate(data, "bfloat16", 20)) for _ in range(runs)]
    float32, bfloat16 = (statistics.median(pair[column] for pair in pairs) for column in (0, 1))
    ratio = statistics.median(fast / slow for slow, fast in pairs)
    print(f"arithmetic: {float32:.0f} images/s in float32, {bfloat16:.0f} in bfloat16; ratio {ratio:.2f} (target: 1.8)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=100, help="of the full batch")
    parser.add_argument("--only", choices=["loading", "recipe", "arithmetic"])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.only in (None, "loading"):
        loading(5 * arguments.runs)
    if arguments.only in (None, "recipe"):
        recipe(arguments.runs, arguments.epochs)
    if arguments.only in (None, "arithmetic"):
        arithmetic(arguments.runs)


if __name__ == "__main__":
    main()
