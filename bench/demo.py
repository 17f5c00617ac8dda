"""The demo, all over HTTP: `make demo`.

Pretrains a backbone on 4,000 digits without labels. With ten labels per digit, compares a linear probe and a full
fine-tuning of it to the same network trained from scratch. Then predicts unseen digits with the fine-tuned model.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from digits import Array, digits
from rich.console import Console
from rich.table import Table
from service import KEY, start, wait_ready

from app.kit.process import free_port
from graftwork import Graftwork

UNLABELLED, PER_CLASS = 4000, 10
HEADS = [{"kind": "classifier", "target": "label"}]
RUNS = (
    ("linear probe on the pretrained backbone", "digits-probe", "digits", "linear_probe"),
    ("full fine-tuning of it", "digits-full", "digits", "full"),
    ("the same network from scratch", "digits-scratch", None, "full"),
)
console = Console(highlight=False, soft_wrap=True)


def labelled(images: Array, labels: Array) -> dict[str, Array]:
    """Return a dataset with ten labelled digits of each class in train, and the rest in test."""
    train = np.concatenate([np.flatnonzero(labels == digit)[:PER_CLASS] for digit in range(10)])
    test = np.setdiff1d(np.arange(len(labels)), train)
    split = np.array(["train"] * len(train) + ["test"] * len(test))
    rows = np.concatenate([train, test])
    return {"x": images[rows], "y": labels[rows], "split": split}


def pretrain(client: Graftwork, images: Array) -> None:
    """Upload the images, pretrain a backbone on them, and print the progress."""
    all_train = {"train": 1.0, "validation": 0.0, "test": 0.0}
    dataset = client.datasets.create({"x": images}, name="digits", splits=all_train)
    console.print(f"uploaded {len(images)} digits without labels: {dataset['rows']}")
    job = client.jobs.create(kind="pretraining", dataset=dataset["id"], name="digits", method={"kind": "vae"})
    config = job["config"]
    console.print(f"pretraining: {config['method']['kind']} with a {config['backbone']['kind']}")
    with console.status("pretraining") as status:
        while (job := client.jobs.get(job["id"]))["status"] not in ("succeeded", "failed", "cancelled"):
            if job["progress"]:
                status.update(f"pretraining: {job['progress']['fraction']:.0%}")
            time.sleep(0.2)
    if job["status"] != "succeeded":
        sys.exit(f"the pretraining has {job['status']}: {job['error']}")


def fine_tune(client: Graftwork, arrays: dict[str, Array]) -> None:
    """Train each of RUNS on the same labels, and predict the test digits over HTTP."""
    dataset = client.datasets.create(arrays, name="digits-labelled")["id"]
    test = arrays["split"] == "test"
    truth = arrays["y"][test].astype(str)
    table = Table("trained on 100 labels", "test accuracy", "macro F1", "AUC-ROC")
    for title, name, model, strategy in RUNS:
        fields: dict[str, Any] = {"model": model, "heads": HEADS, "strategy": {"kind": strategy}}
        job = client.jobs.create(kind="fine_tuning", dataset=dataset, name=name, **fields, wait=True)
        metrics = job["metrics"]["heads"]["label"]
        answers = client.models.predict(name, arrays["x"][test])
        accuracy = np.mean([answer["label"]["class"] for answer in answers] == truth)
        if abs(accuracy - metrics["accuracy"]) > 1e-9:
            sys.exit(f"{name}: the service measured {metrics['accuracy']}, its predictions give {accuracy}")
        table.add_row(title, f"{accuracy:.1%}", f"{metrics['macro_f1']:.3f}", f"{metrics['auc_roc']:.3f}")
    console.print(table)


def show(client: Graftwork, images: Array, labels: Array) -> None:
    """Print digits that no model has seen, with the prediction of each."""
    for image, label, answer in zip(images, labels, client.models.predict("digits-full", images), strict=True):
        prediction = answer["label"]
        console.print("\n".join("".join(" .:*#"[pixel // 52] for pixel in row) for row in image[4:24:2]))
        probability = prediction["probabilities"][prediction["class"]]
        console.print(f"the model says {prediction['class']} ({probability:.0%}); it is a {label}\n")


def main() -> None:
    """Start the service, run the demo on it, and keep serving unless `--ci` is given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ci", action="store_true", help="stop the service after the demo")
    parser.add_argument("--data", type=Path, default=Path("demo-data"), help="data folder of the service; it is kept")
    arguments = parser.parse_args()
    started_at = time.monotonic()
    url = f"http://127.0.0.1:{free_port()}"
    process = start(arguments.data, url, os.cpu_count() or 1)
    try:
        wait_ready(url, process)
        run(url)
        console.print(f"the demo took {time.monotonic() - started_at:.0f} s")
        if not arguments.ci:
            serve(url, process)
    except KeyboardInterrupt:
        console.print("stopping")
    finally:
        process.terminate()
        process.wait()


def run(url: str) -> None:
    """Run the demo on the service at `url`."""
    images, labels = digits()
    with Graftwork(url, KEY) as client:
        pretrain(client, images[:UNLABELLED])
        arrays = labelled(images[UNLABELLED:], labels[UNLABELLED:])
        fine_tune(client, arrays)
        show(client, arrays["x"][-3:], arrays["y"][-3:])


def serve(url: str, process: "subprocess.Popen[bytes]") -> None:
    """Wait until the service ends, usually by Ctrl-C."""
    console.print(f"serving at {url} (documentation: {url}/docs), API key {KEY}; Ctrl-C stops")
    process.wait()


if __name__ == "__main__":
    main()
