"""Times instant heads next to a fine_tuning job for the same head, interleaved: medians of wall seconds.

1,000 rows of 10 classes whose features are cached, and 64 rows in the request that the service has never seen, on the
article's perceptron 784-256-128. A job is timed from its request to its end, as a client sees it.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable

import numpy as np
from digits import digits
from service import service

from graftwork import Graftwork

ROWS, FEW = 1000, 64
TARGET_SECONDS = {"cached": 0.3, "rows": 0.5}
PROBE = {"kind": "linear_probe", "layer": "last", "solver": "exact"}


def timed(request: Callable[[], object]) -> float:
    """Return the seconds that a request takes."""
    began = time.monotonic()
    request()
    return time.monotonic() - began


def prepare(client: Graftwork) -> None:
    """Upload the rows, and pretrain the backbone on them for an epoch."""
    x, y = digits()
    client.datasets.create({"x": x[:ROWS], "y": y[:ROWS]}, name="digits")
    backbone, training = {"kind": "mlp", "hidden": [256, 128]}, {"epochs": 1}
    fields = {"backbone": backbone, "method": {"kind": "autoencoder"}, "training": training}
    client.jobs.create(kind="pretraining", dataset="digits", name="backbone", wait=True, **fields)


def measure(client: Graftwork, pairs: int) -> dict[str, list[float]]:
    """Return the seconds of each kind of request, interleaved."""
    x, y = digits()
    random = np.random.default_rng(0)
    target = client.datasets.get(next(client.datasets.list())["id"])["targets"][0]["name"]
    heads = [{"kind": "classifier", "target": target}]

    def job() -> None:
        fields = {"dataset": "digits", "model": "backbone", "heads": heads, "strategy": PROBE, "name": "by-job"}
        client.jobs.create(kind="fine_tuning", wait=True, **fields)

    def cached() -> None:
        client.heads.create(model="backbone", dataset="digits", name="instant")

    def unseen() -> None:
        chosen = random.choice(np.arange(ROWS, len(x)), FEW, replace=False)
        rows = [image.tolist() for image in x[chosen]]
        client.heads.create(model="backbone", rows=rows, labels=[str(label) for label in y[chosen]], name="unseen")

    kinds = {"job": job, "cached": cached, "rows": unseen}
    for request in kinds.values():
        request()  # the first loads the model, and caches the features
    seconds: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(pairs):
        for name, request in kinds.items():
            seconds[name].append(timed(request))
    return seconds


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=9)
    arguments = parser.parse_args()
    with service() as client:
        prepare(client)
        seconds = measure(client, arguments.pairs)
    medians = {name: round(statistics.median(values), 3) for name, values in seconds.items()}
    met = {name: medians[name] <= target for name, target in TARGET_SECONDS.items()}
    worst = {name: round(max(values), 3) for name, values in seconds.items()}
    print(json.dumps({"median": medians, "worst": worst, "met": met}, indent=2))


if __name__ == "__main__":
    main()
