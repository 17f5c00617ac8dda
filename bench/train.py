"""Compares the article's training as a job to the same loop in plain PyTorch; times POST to the first step.

Autoencoder 784-256-128-256-784, 10,000 rows, full batch, Adam 0.001, 100 epochs; interleaved, equal threads. The job's
time is that of its training loop, which includes reporting, checkpoints and supervision.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from datetime import datetime

import numpy as np
import torch
from digits import digits, enlarge
from service import event, service

from graftwork import Graftwork

BODY = {
    "backbone": {"kind": "mlp", "hidden": [256, 128]},
    "method": {"kind": "autoencoder"},
    "training": {
        "batch_size": 10_000,
        "optimizer": {"kind": "adam", "lr": 0.001},
        "schedule": {"kind": "constant"},
        "precision": "float32",
    },
}


def plain(epochs: int) -> None:
    """Run the article's training loop, and print its seconds and its last error as JSON."""
    images, labels = digits()
    rows = torch.from_numpy(enlarge(images, labels, 10_000)[0].reshape(-1, 784).astype(np.float32) / 255)
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Linear(784, 256), torch.nn.ReLU(),
        torch.nn.Linear(256, 128), torch.nn.ReLU(),
        torch.nn.Linear(128, 256), torch.nn.ReLU(),
        torch.nn.Linear(256, 784),
    )  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    wall, cpu = time.monotonic(), time.process_time()
    for _ in range(epochs):
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(model(rows), rows)
        loss.backward()
        optimizer.step()
    figures = {"seconds": time.monotonic() - wall, "cpu_seconds": time.process_time() - cpu, "mse": loss.item()}
    print(json.dumps(figures))


def run_plain(epochs: int) -> dict[str, float]:
    """Run `plain` in a process of its own, and return what it prints."""
    program = [sys.executable, __file__, "--plain", "--epochs", str(epochs)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    output = subprocess.run(program, env=environment, check=True, capture_output=True).stdout
    figures: dict[str, float] = json.loads(output)
    return figures


def run_job(client: Graftwork, dataset: str, epochs: int) -> dict[str, float]:
    """Train as a job, and return the seconds of its training loop and its last error."""
    training = {**BODY["training"], "epochs": epochs}
    job = client.jobs.create(kind="pretraining", dataset=dataset, **{**BODY, "training": training}, wait=True)
    mse = client.jobs.metrics(job["id"])["data"][-1]["values"]["train/mse"]
    return {**event(client, job["id"], "training.finished"), "mse": mse}


def first_step(client: Graftwork, dataset: str, batch_size: int) -> float:
    """Return the seconds from POST to the end of the first step, by the database's clock, on an idle worker."""
    time.sleep(6)  # until the worker has a spare trainer again
    training = {**BODY["training"], "steps": 1, "batch_size": batch_size}
    job = client.jobs.create(kind="pretraining", dataset=dataset, **{**BODY, "training": training}, wait=True)
    done_at = client.jobs.metrics(job["id"])["data"][0]["created_at"]
    return (datetime.fromisoformat(done_at) - datetime.fromisoformat(job["created_at"])).total_seconds()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plain", action="store_true", help="only the plain loop, once")
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    if arguments.plain:
        plain(arguments.epochs)
        return
    images, labels = digits()
    with service() as client:
        rows = {"x": enlarge(images, labels, 10_000)[0]}
        splits = {"train": 1.0, "validation": 0.0, "test": 0.0}
        dataset = client.datasets.create(rows, name="article", splits=splits, duplicates="keep")
        if dataset["rows"]["train"] != 10_000:
            sys.exit(f"not the article's workload: {dataset['rows']}")
        pairs = []
        for number in range(arguments.runs):
            pairs.append((run_plain(arguments.epochs), run_job(client, dataset["id"], arguments.epochs)))
            plain_figures, job_figures = pairs[-1]
            print(f"run {number + 1}: plain {plain_figures}, job {job_figures}", flush=True)
        for unit in ("cpu_seconds", "seconds"):
            ratio = statistics.median(job_figures[unit] / plain_figures[unit] for plain_figures, job_figures in pairs)
            print(f"job / plain loop, {unit}, median of {len(pairs)} pairs: {ratio:.3f} (target: at most 1.05)")
        for name, size in (("batches of 256", 256), ("full batch", 10_000)):
            times = sorted(first_step(client, dataset["id"], size) for _ in range(5))
            print(
                f"POST to the first step done, {name}: median {times[2]:.3f} s, worst {times[-1]:.3f} s (target: 0.5)"
            )


if __name__ == "__main__":
    main()
