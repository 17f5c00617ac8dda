"""P4: MNIST-1D, 4,000 series; a linear probe with every label, and with ten of each class."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from protocol import DRAWS, Figure, Lab
from sources import Array, Labelled, few, mnist1d

METHOD: dict[str, Any] = {"method": {"kind": "simclr"}}
PROBE = {"kind": "linear_probe"}


def probes(lab: Lab, data: Path) -> Iterator[Figure]:
    """Both figures of P4."""
    series = mnist1d(data)
    lab.fresh()
    model = lab.pretrain(lab.upload({"x": series.x}, modality="series"), **METHOD)
    pretraining = lab.cpu_seconds
    backbone = lab.client.models.get(model)["manifest"]["backbone"]
    every = [np.arange(len(series.y))]
    ten = [few(series.y, 10, draw) for draw in DRAWS]
    for what, draws, target, reference in (
        ("linear probe, all labels", every, 84.0, "SimCLR 82.1 to 83.5"),
        ("linear probe, 10 labels a class", ten, 50.0, ""),
    ):
        lab.fresh()
        values = [_draw(lab, series, model, chosen) for chosen in draws]
        cpu = pretraining + lab.cpu_seconds
        untrained = [_draw(lab, series, None, chosen, backbone=backbone) for chosen in draws]
        yield Figure("P4", what, values, {"untrained": float(np.mean(untrained))}, reference, target, cpu)


def _draw(lab: Lab, series: Labelled, model: str | None, chosen: Array, **fields: Any) -> float:
    arrays = {"x": series.x[chosen], "y": series.y[chosen]}
    dataset = lab.upload(arrays, modality="series", columns={"y": "target"})
    heads = [{"kind": "classifier", "target": "y", "name": "label"}]
    fine_tuned = lab.fine_tune(dataset, model, heads=heads, strategy=PROBE, **fields)
    return lab.accuracy(fine_tuned, series.test_x, series.test_y)
