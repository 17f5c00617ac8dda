"""A linear probe on a frozen backbone as a job against the plain loop that runs the backbone in each epoch.

The backbones: the article's perceptron 784-256-128, and a convnet.

10,000 rows, 20 epochs, batches of 256, AdamW 0.01; interleaved, one thread each. The job's time is that of making the
features and of training on them; both are measured on the same 1,000 rows that neither has seen. Features that an
earlier job kept are deleted before each; a last job finds them. Beside them a job that leaves the solver to itself, so
that the head is solved for, its penalty by cross-validation, and no step is taken.
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
from digits import digits, many
from service import event, service

from app.client import Graftwork
from app.ml.models.bundle import read_bundle

EPOCHS, ROWS, TEST = 20, 10_000, 1000
ASKED = {"mlp": 5, "convnet": 10}  # how many times faster
PROBE = {"kind": "linear_probe", "solver": "gradient", "layer": "last"}  # as the plain loop does
SOLVED = {**PROBE, "solver": "auto"}
FILES = ("manifest.json", "backbone.safetensors", "golden.safetensors")


def labelled() -> dict[str, np.ndarray]:
    images, labels = digits()
    x, y = many(images[TEST:], labels[TEST:], ROWS)
    split = np.array(["train"] * ROWS + ["test"] * TEST)
    return {"x": np.concatenate([x, images[:TEST]]), "y": np.concatenate([y, labels[:TEST]]), "split": split}


def plain(folder: Path) -> None:
    """Freeze the backbone, train a linear layer, run both in each epoch; prints seconds and accuracy."""
    arrays = labelled()
    x = torch.from_numpy(arrays["x"].astype(np.float32) / 255).unsqueeze(1)
    y = torch.from_numpy(arrays["y"].astype(np.int64))
    backbone = read_bundle(folder).backbone.requires_grad_(requires_grad=False).eval()
    torch.manual_seed(0)
    head = torch.nn.Linear(backbone.features, 10)
    wall, cpu = time.monotonic(), time.process_time()
    with torch.no_grad():  # standardised features, as the job's
        sample = torch.cat([backbone(block) for block in x[:ROWS].split(1024)])
        mean, deviation = sample.mean(0), sample.std(0).clamp_min(1e-6)
    optimizer = torch.optim.AdamW(head.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS * -(-ROWS // 256))
    for _ in range(EPOCHS):
        for chosen in torch.randperm(ROWS).split(256):
            with torch.no_grad():
                features = backbone(x[chosen])
            loss = torch.nn.functional.cross_entropy(head((features - mean) / deviation), y[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    spent = {"seconds": time.monotonic() - wall, "cpu_seconds": time.process_time() - cpu}
    with torch.no_grad():
        found = head((backbone(x[ROWS:]) - mean) / deviation).argmax(1)
    print(json.dumps({**spent, "accuracy": (found == y[ROWS:]).double().mean().item()}))


def run_plain(folder: Path) -> dict[str, float]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    program = [sys.executable, __file__, "--plain", str(folder)]
    found: dict[str, float] = json.loads(
        subprocess.run(program, env=environment, check=True, capture_output=True).stdout
    )
    return found


def run_job(client: Graftwork, dataset: str, root: str, strategy: dict[str, str] = PROBE) -> dict[str, float]:
    training = {"epochs": EPOCHS, "batch_size": 256, "optimizer": {"kind": "adamw", "lr": 0.01}}
    heads = [{"kind": "classifier", "target": "label"}]
    body = {"model": root, "heads": heads, "strategy": strategy, "training": training}
    job = client.jobs.create(kind="fine_tuning", dataset=dataset, **body, wait=True)
    prepared, trained = event(client, job["id"], "job.running"), event(client, job["id"], "training.finished")
    spent = {unit: prepared[unit] + trained[unit] for unit in ("seconds", "cpu_seconds")}
    return {**spent, "accuracy": job["metrics"]["heads"]["label"]["accuracy"]}


def compare(client: Graftwork, dataset: str, kind: str, runs: int, scratch: Path) -> None:
    """Pretrain a backbone of the kind for an epoch, and print what a probe on it costs either way."""
    root = {"backbone": {"kind": kind}, "training": {"epochs": 1}}
    client.jobs.create(kind="pretraining", dataset=dataset, name=kind, **root, wait=True)
    folder = scratch / kind
    folder.mkdir()
    for name in FILES:
        client.models.download(kind, name, folder / name)
    rounds = []
    for number in range(runs):
        found = [run_plain(folder)]
        for strategy in (PROBE, SOLVED):
            shutil.rmtree(scratch / "service" / "cache" / "features", ignore_errors=True)
            found.append(run_job(client, dataset, kind, strategy))
        rounds.append(found)
        print(f"{kind}, run {number + 1}: plain {found[0]}, trained {found[1]}, solved {found[2]}", flush=True)
    for side, name in ((1, "job that trains"), (2, "job that solves")):
        for unit in ("cpu_seconds", "seconds"):
            ratio = statistics.median(found[0][unit] / found[side][unit] for found in rounds)
            print(f"{kind}: plain loop / {name}, {unit}, median of {runs}: {ratio:.1f} (asked: {ASKED[kind]})")
    accuracies = [statistics.median(found[side]["accuracy"] for found in rounds) for side in range(3)]
    print("{}: test accuracy: plain {:.3f}, trained {:.3f}, solved {:.3f}".format(kind, *accuracies))
    seconds = [run_job(client, dataset, kind)["cpu_seconds"] for _ in range(runs)]
    ratio = statistics.median(found[1]["cpu_seconds"] / second for found, second in zip(rounds, seconds, strict=True))
    print(f"{kind}: job that makes its features / one that finds them, cpu_seconds: {ratio:.2f}", flush=True)


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
        for kind in ASKED:
            compare(client, dataset, kind, arguments.runs, Path(scratch))


if __name__ == "__main__":
    main()
