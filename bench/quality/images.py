"""P1, P2 and P3: Fashion-MNIST, 60,000 images without labels, 10, 100 or 1,000 labels a class, 10,000 to test on."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from protocol import DRAWS, Figure, Lab
from sklearn.linear_model import LogisticRegression
from sources import Array, Labelled, few, idx_images

PROBE = {"kind": "linear_probe", "layer": "all"}
BEST = {"method": {"kind": "kmeans"}}
P3_METHODS: dict[str, tuple[dict[str, Any], float]] = {
    "plain autoencoder": ({"backbone": {"kind": "mlp"}, "method": {"kind": "autoencoder"}}, 82.0),
    "variational autoencoder": ({"backbone": {"kind": "mlp"}, "method": {"kind": "vae"}}, 80.0),
    "convolutional autoencoder": ({"backbone": {"kind": "convnet"}, "method": {"kind": "autoencoder"}}, 84.0),
}


def few_labels(lab: Lab, data: Path) -> Iterator[Figure]:
    """P1 and P2: the best pretraining, with defaults beside it."""
    images = idx_images(data, "fashion-mnist")
    unlabelled = lab.upload({"x": images.x})
    lab.fresh()
    model = lab.pretrain(unlabelled, **BEST)
    pretraining = lab.cpu_seconds
    usual = lab.pretrain(unlabelled)
    for row, per_class, target, reference in (
        ("P1", 10, 74.0, "Poisson learning on VAE features 75.2, PoissonMBO 76.1 (transductive)"),
        ("P2", 100, 85.0, ""),
        ("P2", 1000, 89.5, ""),
    ):
        lab.fresh()
        values = [_draw(lab, images, model, per_class, draw, strategy=PROBE) for draw in DRAWS]
        cpu = pretraining + lab.cpu_seconds
        controls = _controls(lab, images, per_class)
        controls["defaults alone"] = float(np.mean([_draw(lab, images, usual, per_class, draw) for draw in DRAWS]))
        yield Figure(row, f"accuracy, {per_class} labels a class", values, controls, reference, target, cpu)


def autoencoders(lab: Lab, data: Path) -> Iterator[Figure]:
    """P3: each kind of autoencoder, 100 labels a class, the best probe."""
    images = idx_images(data, "fashion-mnist")
    unlabelled = lab.upload({"x": images.x})
    controls = _controls(lab, images, 100)
    for name, (choice, target) in P3_METHODS.items():
        lab.fresh()
        model = lab.pretrain(unlabelled, **choice)
        values = [_draw(lab, images, model, 100, draw, strategy=PROBE) for draw in DRAWS]
        yield Figure("P3", f"accuracy, {name}", values, controls, "", target, lab.cpu_seconds)


def _draw(lab: Lab, images: Labelled, model: str | None, per_class: int, draw: int, **fields: Any) -> float:
    """Fine-tune on one draw of labels and measure on the test images."""
    chosen = few(images.y, per_class, draw)
    dataset = lab.upload({"x": images.x[chosen], "y": images.y[chosen]}, columns={"y": "target"})
    heads = [{"kind": "classifier", "target": "y", "name": "label"}]
    fine_tuned = lab.fine_tune(dataset, model, heads=heads, **fields)
    return lab.accuracy(fine_tuned, images.test_x, images.test_y)


def _controls(lab: Lab, images: Labelled, per_class: int) -> dict[str, float]:
    """What no pretraining reaches, on the same draws: raw pixels, untrained features, training from scratch."""
    pixels = [_pixels(images, few(images.y, per_class, draw)) for draw in DRAWS]
    network = {"backbone": {"kind": "convnet"}}
    untrained = [_draw(lab, images, None, per_class, draw, strategy=PROBE, **network) for draw in DRAWS]
    light = [{"kind": "crop"}, {"kind": "flip"}]
    scratch = [
        _draw(lab, images, None, per_class, draw, strategy={"kind": "full"}, augmentations=light, **network)
        for draw in DRAWS
    ]
    found = {"pixels": pixels, "untrained": untrained, "scratch": scratch}
    return {name: float(np.mean(values)) for name, values in found.items()}


def _pixels(images: Labelled, chosen: Array) -> float:
    """Logistic regression on the pixels."""
    rows = images.x[chosen].reshape(len(chosen), -1) / 255
    model = LogisticRegression(C=0.1, max_iter=1000).fit(rows, images.y[chosen])
    return 100 * float(model.score(images.test_x.reshape(len(images.test_x), -1) / 255, images.test_y))
