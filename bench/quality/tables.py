"""P6: MNIST flattened as a table, a linear probe on frozen features with every label."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from controls import PROBE, raw, scratch, untrained
from protocol import Figure, Json, Lab
from sources import idx_images

SWAP: Json = {"kind": "swap", "share": 0.3}  # twice the default: neighbouring pixels predict each other
PRETRAINING: Json = {"method": {"kind": "denoising_autoencoder", "corruption": SWAP}}


def probe(lab: Lab, data: Path) -> Iterator[Figure]:
    """P6: denoising and a linear probe; and the defaults."""
    digits = idx_images(data, "mnist")
    rows, test = (x.reshape(len(x), -1).astype(np.float32) / 255 for x in (digits.x, digits.test_x))
    table = replace(digits, x=rows, test_x=test, modality="table")
    all_rows = np.arange(len(rows))
    labelled = lab.labelled(table, all_rows)
    lab.fresh()
    model = lab.pretrain(labelled, **PRETRAINING)
    values = lab.scores(table, [labelled], model, strategy=PROBE)
    cpu = lab.cpu_seconds
    backbone = lab.client.models.get(model)["backbone"]
    controls = {
        "raw": raw(table, [all_rows]),
        "untrained": untrained(lab, table, [labelled], backbone),
        "scratch, not frozen": scratch(lab, table, [labelled], backbone, training={"epochs": 3}),
    }
    reference = "AE 92.77, DAE 96.30, SubTab 97.86"
    figure = Figure("P6", "accuracy, linear probe, all labels", values, controls, reference, 97.0, cpu)
    yield figure
    lab.fresh()
    values = lab.scores(table, [labelled], lab.pretrain(labelled))
    yield figure.of_defaults(values, lab.cpu_seconds)
