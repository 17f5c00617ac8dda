"""P4: MNIST-1D, 4,000 series; a linear probe with every label, and with ten of each class."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from controls import raw, scratch, untrained
from protocol import DRAWS, Figure, Lab
from sources import few, mnist1d

PRETRAINING: dict[str, Any] = {
    "backbone": {"kind": "tcn", "width": 64, "depth": 4},
    "method": {"kind": "masked_steps", "span": 3},
    "training": {"steps": 600, "batch_size": 32},
}
PROBE: dict[str, Any] = {"kind": "linear_probe", "layer": "all"}


def probes(lab: Lab, data: Path) -> Iterator[Figure]:
    """P4: a linear probe with all labels, and with ten of each class."""
    series = mnist1d(data)
    unlabelled = lab.upload({"x": series.x}, modality="series")
    lab.fresh()
    model = lab.pretrain(unlabelled, **PRETRAINING)
    pretraining = lab.cpu_seconds
    backbone = lab.client.models.get(model)["backbone"]
    all_rows = [np.arange(len(series.y))]
    ten = [few(series.y, 10, draw) for draw in DRAWS]
    for what, draws, target, reference in (
        ("linear probe, all labels", all_rows, 84.0, "SimCLR 82.1 to 83.5"),
        ("linear probe, 10 labels a class", ten, 50.0, ""),
    ):
        sets = [lab.labelled(series, chosen) for chosen in draws]
        lab.fresh()
        values = lab.scores(series, sets, model, strategy=PROBE)
        cpu = pretraining + lab.cpu_seconds
        controls = {
            "raw": raw(series, draws),
            "untrained": untrained(lab, series, sets, backbone, PROBE),
            "scratch, not frozen": scratch(lab, series, sets, backbone),
        }
        yield Figure("P4", what, values, controls, reference, target, cpu)
