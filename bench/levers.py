"""The levers of training speed, each beside what it replaces, interleaved in one process on one thread.

Batches: of 128 from 10,000 rows x 784 in memory, taken by index, against torch's DataLoader; loading alone, an epoch.
Recipe: the defaults' mini-batches on the article's autoencoder, against its full-batch epochs; CPU seconds of training
until the rows are rebuilt as well. Arithmetic: a strided convolutional autoencoder in batches of 256, bfloat16 with
channels last against float32; only where the processor multiplies bfloat16.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from digits import digits, many
from torch.utils.data import DataLoader, TensorDataset

from app.ml.configs.learning import PretrainingConfig
from app.ml.data.arrays import ArrayData, InMemory
from app.ml.data.spec import DataSpec
from app.ml.resolution.requests import resolve_pretraining
from worker.training.batches import epoch_batches
from worker.training.evaluation import evaluate
from worker.training.events import EpochDone, StepDone
from worker.training.precision import multiplies_bfloat16
from worker.training.run import Run, prepare

ROWS, BATCH = 10_000, 128
MLP = {"backbone": {"kind": "mlp", "hidden": [256, 128]}, "method": {"kind": "autoencoder"}}
FULL = {"batch_size": ROWS, "optimizer": {"kind": "adam", "lr": 0.001}, "schedule": {"kind": "constant"}}
Seconds = Callable[[], float]


def timed(work: Callable[[], Any], clock: Seconds) -> float:
    before = clock()
    work()
    return clock() - before


def loading(runs: int) -> None:
    """By index, by DataLoader in this process, and by two workers; wall seconds for the latter, else CPU seconds."""
    values = torch.rand(ROWS, 784)
    source, dataset = InMemory(values), TensorDataset(values)

    def by_index() -> None:
        for indices in epoch_batches(ROWS, BATCH, seed=0, epoch=0):
            source.take(indices)

    def by_loader(workers: int) -> None:
        for (_,) in DataLoader(dataset, BATCH, shuffle=True, num_workers=workers):
            pass

    by_index()
    pairs: list[tuple[float, float, float, float]] = []
    for _ in range(runs):
        ours, alone = timed(by_index, time.process_time), timed(lambda: by_loader(0), time.process_time)
        wall, workers = timed(by_index, time.monotonic), timed(lambda: by_loader(2), time.monotonic)
        pairs.append((ours, alone, wall, workers))
    mine, loader = (1000 * statistics.median(pair[side] for pair in pairs) for side in (0, 1))
    ratio = statistics.median(alone / ours for ours, alone, _, _ in pairs)
    print(f"batches: {mine:.1f} ms by index, {loader:.1f} by DataLoader; median ratio {ratio:.1f} (asked: at least 5)")
    ratio = statistics.median(workers / wall for _, _, wall, workers in pairs)
    print(f"batches: DataLoader with two workers / by index, wall: {ratio:.0f}", flush=True)


def images() -> ArrayData:
    pixels = many(*digits(), ROWS)[0][..., None]
    spec = DataSpec(modality="image", shape=pixels.shape[1:], columns=(), targets=(), rows={"train": ROWS}, labelled={})
    return ArrayData(spec, pixels, np.empty((ROWS, 0)), np.zeros(ROWS, np.uint8))


def built(data: ArrayData, request: dict[str, Any], **training: Any) -> Run:
    config = PretrainingConfig.model_validate({**request, "training": training})
    return prepare(resolve_pretraining(config, data.spec).config, data)


def error(run: Run) -> float:
    measured = evaluate(run.state.objective, run.examples("train"), "train")
    return measured.losses["mse"]


def full_batch(data: ArrayData, epochs: int) -> tuple[float, float]:
    """CPU seconds of the article's epochs, and the error after them."""
    run = built(data, MLP, **FULL, epochs=epochs)
    spent = timed(lambda: [None for _ in run.train()], time.process_time)
    return spent, error(run)


def until(data: ArrayData, wanted: float) -> float:
    """CPU seconds that the defaults train until the error is no larger; infinite where it never is."""
    run = built(data, MLP)
    spent, before = 0.0, time.process_time()
    for event in run.train():
        if isinstance(event, EpochDone):
            spent += time.process_time() - before
            if error(run) <= wanted:
                return spent
            before = time.process_time()
    return float("inf")


def recipe(runs: int, epochs: int) -> None:
    data, ratios = images(), []
    for number in range(runs):
        spent, wanted = full_batch(data, epochs)
        ours = until(data, wanted)
        ratios.append(spent / ours)
        print(f"recipe, run {number + 1}: {spent:.1f} CPU s to {wanted:.4f}, the defaults {ours:.2f}", flush=True)
    print(f"recipe: full batch / defaults, CPU seconds to one error: {statistics.median(ratios):.1f} (asked: 7)")


def rate(data: ArrayData, precision: str, steps: int) -> float:
    """Images a CPU second of training, the first steps left out."""
    request = {"backbone": {"kind": "convnet"}, "method": {"kind": "autoencoder"}}
    run, begun = built(data, request, batch_size=256, steps=steps + 3, precision=precision), 0.0
    for event in run.train():
        if isinstance(event, StepDone) and event.step == 3:  # caches are warm
            begun = time.process_time()
        if isinstance(event, StepDone) and event.step == steps + 3:
            break
    return 256 * steps / (time.process_time() - begun)


def arithmetic(runs: int) -> None:
    if not multiplies_bfloat16(torch.device("cpu")):
        print("arithmetic: this processor does not multiply bfloat16 in hardware, so trainings stay in float32")
        return
    data = images()
    pairs = [(rate(data, "float32", 20), rate(data, "bfloat16", 20)) for _ in range(runs)]
    plain, ours = (statistics.median(pair[side] for pair in pairs) for side in (0, 1))
    ratio = statistics.median(faster / slower for slower, faster in pairs)
    print(f"arithmetic: {plain:.0f} images/s in float32, {ours:.0f} in bfloat16; ratio {ratio:.2f} (asked: 1.8)")


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
