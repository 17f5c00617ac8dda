"""Compares a linear probe as a job to a plain loop that runs the frozen backbone in each epoch.

The backbones are the article's perceptron 784-256-128 and a convnet.

10,000 rows, 20 epochs, batches of 256, AdamW 0.01; interleaved, one thread each. The job's time covers computing the
features and training on them. Accuracies are measured on the same 1,000 unseen rows. Cached features are deleted before
each job; a last job uses the cache. Another job leaves the solver to `auto`: it solves for the head, with a penalty
chosen by cross-validation, and takes no gradient steps.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from digits import digits, enlarge
from service import event, service

from app.ml.models.bundle import read_bundle
from graftwork import Graftwork

EPOCHS, ROWS, TEST = 20, 10_000, 1000
TARGETS = {"mlp": 5, "convnet": 10}  # times faster than the plain loop
PROBE = {"kind": "linear_probe", "solver": "gradient", "layer": "last"}  # like the plain loop
SOLVED = {**PROBE, "solver": "auto"}
FILES = ("manifest.json", "backbone.safetensors", "golden.safetensors")


def labelled() -> dict[str, np.ndarray]:
    """Return the dataset's arrays: ROWS digits in train, other TEST digits in test."""
    images, labels = digits()
    x, y = enlarge(images[TEST:], labels[TEST:], ROWS)
    split = np.array(["train"] * ROWS + ["test"] * TEST)
    return {"x": np.concatenate([x, images[:TEST]]), "y": np.concatenate([y, labels[:TEST]]), "split": split}


def plain(folder: Path) -> None:
    """Train a linear layer on the frozen backbone, running both in each epoch; print seconds and accuracy as JSON."""
    arrays = labelled()
    x = torch.from_numpy(arrays["x"].astype(np.float32) / 255).unsqueeze(1)
    y = torch.from_numpy(arrays["y"].astype(np.int64))
    backbone = read_bundle(folder).backbone.requires_grad_(requires_grad=False).eval()
    torch.manual_seed(0)
    head = torch.nn.Linear(backbone.features, 10)
    wall, cpu = time.monotonic(), time.process_time()
    with torch.no_grad():  # standardise the features, as the job does
        sample = torch.cat([backbone(block) for block in x[:ROWS].split(1024)])
        mean, deviation = sample.mean(0), sample.std(0).clamp_min(1e-6)
    optimizer = torch.optim.AdamW(head.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS * -(-ROWS // 256))
    for _ in range(EPOCHS):
        for batch in torch.randperm(ROWS).split(256):
            with torch.no_grad():
                features = backbone(x[batch])
            loss = torch.nn.functional.cross_entropy(head((features - mean) / deviation), y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    times = {"seconds": time.monotonic() - wall, "cpu_seconds": time.process_time() - cpu}
    with torch.no_grad():
        classes = head((backbone(x[ROWS:]) - mean) / deviation).argmax(1)
    print(json.dumps({**times, "accuracy": (classes == y[ROWS:]).double().mean().item()}))


def run_plain(folder: Path) -> dict[str, float]:
    """Run `plain` in a process of its own, and return what it prints."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    program = [sys.executable, __file__, "--plain", str(folder)]
    output = subprocess.run(program, env=environment, check=True, capture_output=True).stdout
    figures: dict[str, float] = json.loads(output)
    return figures


def run_job(client: Graftwork, dataset: str, model: str, strategy: dict[str, str] = PROBE) -> dict[str, float]:
    """Fine-tune by `strategy`, and return the seconds of computing features and training, and the test accuracy."""
    training = {"epochs": EPOCHS, "batch_size": 256, "optimizer": {"kind": "adamw", "lr": 0.01}}
    heads = [{"kind": "classifier", "target": "label"}]
    body = {"model": model, "heads": heads, "strategy": strategy, "training": training}
    job = client.jobs.create(kind="fine_tuning", dataset=dataset, **body, wait=True)
    prepared, trained = event(client, job["id"], "job.running"), event(client, job["id"], "training.finished")
    times = {unit: prepared[unit] + trained[unit] for unit in ("seconds", "cpu_seconds")}
    return {**times, "accuracy": job["metrics"]["heads"]["label"]["accuracy"]}


def compare(client: Graftwork, dataset: str, kind: str, runs: int, scratch: Path) -> None:
    """Pretrain a backbone of this kind for an epoch, and print the time and accuracy of each way to probe it."""
    request = {"backbone": {"kind": kind}, "training": {"epochs": 1}}
    client.jobs.create(kind="pretraining", dataset=dataset, name=kind, **request, wait=True)
    folder = scratch / kind
    folder.mkdir()
    for name in FILES:
        client.models.download(kind, name, folder / name)
    rounds = []
    for number in range(runs):
        figures = [run_plain(folder)]
        for strategy in (PROBE, SOLVED):
            shutil.rmtree(scratch / "service" / "cache" / "features", ignore_errors=True)
            figures.append(run_job(client, dataset, kind, strategy))
        rounds.append(figures)
        print(f"{kind}, run {number + 1}: plain {figures[0]}, trained {figures[1]}, solved {figures[2]}", flush=True)
    for column, name in ((1, "job that trains"), (2, "job that solves")):
        for unit in ("cpu_seconds", "seconds"):
            ratio = statistics.median(figures[0][unit] / figures[column][unit] for figures in rounds)
            print(f"{kind}: plain loop / {name}, {unit}, median of {runs}: {ratio:.1f} (target: {TARGETS[kind]})")
    accuracies = [statistics.median(figures[column]["accuracy"] for figures in rounds) for column in range(3)]
    print("{}: test accuracy: plain {:.3f}, trained {:.3f}, solved {:.3f}".format(kind, *accuracies))
    seconds = [run_job(client, dataset, kind)["cpu_seconds"] for _ in range(runs)]
    ratio = statistics.median(
        figures[1]["cpu_seconds"] / cached for figures, cached in zip(rounds, seconds, strict=True)
    )
    print(f"{kind}: job that computes its features / one with cached ones, cpu_seconds: {ratio:.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plain", type=Path, help="only the plain loop, on the model in this folder")
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    if arguments.plain:
        plain(arguments.plain)
        return
    with tempfile.TemporaryDirectory() as scratch, service(Path(scratch) / "service") as client:
        dataset = client.datasets.create(labelled(), name="digits", duplicates="keep")["id"]
        for kind in TARGETS:
            compare(client, dataset, kind, arguments.runs, Path(scratch))


if __name__ == "__main__":
    main()
