"""P1, P2 and P3: Fashion-MNIST, 60,000 images without labels, 10, 100 or 1,000 labels a class, 10,000 to test on."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from controls import PROBE, raw, scratch, untrained
from protocol import DRAWS, Figure, Json, Lab
from sources import Labelled, few, idx_images

CONVNET: Json = {"kind": "convnet"}
P1_REFERENCE = "Poisson learning on VAE features 75.2, PoissonMBO 76.1 (transductive)"
P1_TRANSDUCTIVE = 76.1
# Classes are as frequent as their labels, by design of the row; the probe's rows take half a minute to solve.
P1_GRAPH: Json = {"rows": 4000, "shares": "labels"}
FIRST: Json = {"kind": "linear_probe", "layer": 0}  # of all layers the best on train images without a label
P3_METHODS: dict[str, tuple[dict[str, Any], float]] = {
    "plain autoencoder": (
        {
            "backbone": {"kind": "mlp", "hidden": [2048]},
            "method": {"kind": "autoencoder", "regularizer": {"kind": "sparse", "strength": 0.01, "rate": 0.1}},
            "training": {"epochs": 2, "batch_size": 128},
        },
        82.0,
    ),
    "variational autoencoder": (
        {
            "backbone": {"kind": "mlp", "hidden": [2048, 256]},
            "method": {"kind": "vae", "latent": 64, "beta": 0.1, "warmup": 0.2},
            "training": {"epochs": 1, "batch_size": 128},
        },
        80.0,
    ),
    "convolutional autoencoder": (
        {
            "backbone": {
                "kind": "convnet",
                "channels": [64, 32, 64],
                "kernel_size": 5,
                "norm": "contrast",
                "first_stride": 1,
            },
            "method": {"kind": "autoencoder"},
            "training": {"steps": 700, "batch_size": 128},
        },
        84.0,
    ),
}


def few_labels(lab: Lab, data: Path) -> Iterator[Figure]:
    """P1 and P2: a pretraining with method "auto", and a linear probe."""
    images = idx_images(data, "fashion-mnist")
    unlabelled = lab.upload({"x": images.x})
    lab.fresh()
    model = lab.pretrain(unlabelled)
    pretraining = lab.cpu_seconds
    backbone = lab.client.models.get(model)["backbone"]
    for row, per_class, target, reference, controlled in (
        ("P1", 10, 74.0, P1_REFERENCE, 3),
        ("P2", 100, 85.0, "", 1),  # with this many labels one draw of the controls is enough
        ("P2", 1000, 89.5, "", 1),
    ):
        draws = [few(images.y, per_class, draw) for draw in DRAWS]
        sets = [lab.labelled(images, chosen) for chosen in draws]
        lab.fresh()
        values = lab.scores(images, sets, model, strategy=PROBE)
        cpu = pretraining + lab.cpu_seconds
        controls = {
            "pixels": raw(images, draws[:controlled]),
            "untrained": untrained(lab, images, sets[:controlled], backbone),
            "untrained convnet": untrained(lab, images, sets[:controlled], CONVNET),
            "convnet from scratch": scratch(lab, images, sets[:controlled], CONVNET),
        }
        figure = Figure(row, f"accuracy, {per_class} labels a class", values, controls, reference, target, cpu)
        yield figure
        if row == "P1":
            lab.fresh()
            values = lab.scores(images, sets, model)
            yield figure.of_defaults(values, pretraining + lab.cpu_seconds)
            lab.fresh()
            values = _transductive(lab, images, sets, model)
            cpu = pretraining + lab.cpu_seconds
            controls = {**controls, "without pseudo-labels": figure.mean}
            what = f"{figure.what}, transductive"
            yield Figure(row, what, values, controls, reference, P1_TRANSDUCTIVE, cpu)


def _transductive(lab: Lab, images: Labelled, sets: Sequence[str], model: str) -> list[float]:
    """Return accuracies of probes that use pseudo-labels of unlabelled rows; the test inputs are among these."""
    inputs = lab.upload({"x": np.concatenate([images.x, images.test_x])})
    return lab.scores(images, sets, model, strategy=PROBE, unlabelled={"dataset": inputs, **P1_GRAPH})


def autoencoders(lab: Lab, data: Path) -> Iterator[Figure]:
    """P3: each kind of autoencoder with its best probe, 100 labels a class; and with the defaults."""
    images = idx_images(data, "fashion-mnist")
    unlabelled = lab.upload({"x": images.x})
    draws = [few(images.y, 100, draw) for draw in DRAWS]
    sets = [lab.labelled(images, chosen) for chosen in draws]
    pixels = raw(images, draws)
    for name, (request, target) in P3_METHODS.items():
        lab.fresh()
        model = lab.pretrain(unlabelled, **request)
        values = lab.scores(images, sets, model, strategy=FIRST)
        cpu = lab.cpu_seconds
        backbone = lab.client.models.get(model)["backbone"]
        controls = {
            "pixels": pixels,
            "untrained": untrained(lab, images, sets, backbone, FIRST),
            "scratch": scratch(lab, images, sets[:1], backbone),
        }
        figure = Figure("P3", f"accuracy, {name}", values, controls, "", target, cpu)
        yield figure
        lab.fresh()
        kinds = {part: {"kind": request[part]["kind"]} for part in ("backbone", "method")}
        values = lab.scores(images, sets, lab.pretrain(unlabelled, **kinds))
        yield figure.of_defaults(values, lab.cpu_seconds)
