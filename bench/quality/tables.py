"""P6: MNIST flattened as a table, a linear probe on frozen features with every label."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from protocol import Figure, Lab
from sklearn.linear_model import LogisticRegression
from sources import Labelled, idx_images

METHOD: dict[str, Any] = {"method": {"kind": "denoising_autoencoder"}}
PROBE = {"kind": "linear_probe", "layer": "all"}


def probe(lab: Lab, data: Path) -> Iterator[Figure]:
    """P6."""
    digits = idx_images(data, "mnist")
    rows, test = (x.reshape(len(x), -1).astype(np.float32) / 255 for x in (digits.x, digits.test_x))
    labelled = lab.upload({"x": rows, "y": digits.y}, columns={"y": "target"})
    lab.fresh()
    model = lab.pretrain(labelled, **METHOD)
    value = _probe(lab, labelled, model, test, digits, strategy=PROBE)
    cpu = lab.cpu_seconds
    raw = LogisticRegression(C=0.1, max_iter=200).fit(rows, digits.y)
    usual = lab.pretrain(labelled)
    controls = {
        "raw": 100 * float(raw.score(test, digits.test_y)),
        "untrained": _probe(lab, labelled, None, test, digits, strategy=PROBE),
        "defaults alone": _probe(lab, labelled, usual, test, digits),
    }
    reference = "AE 92.77, DAE 96.30, SubTab 97.86"
    yield Figure("P6", "accuracy, linear probe, all labels", [value], controls, reference, 97.0, cpu)


def _probe(lab: Lab, dataset: str, model: str | None, test: Any, digits: Labelled, **fields: Any) -> float:
    heads = [{"kind": "classifier", "target": "y", "name": "label"}]
    fine_tuned = lab.fine_tune(dataset, model, heads=heads, **fields)
    return lab.accuracy(fine_tuned, test, digits.test_y)
