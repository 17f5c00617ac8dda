"""Controls on the same label draws: what is reached without pretraining, so that only a gain counts."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from protocol import Json, Lab
from sklearn.linear_model import LogisticRegression
from sources import Array, Labelled

PROBE: Json = {"kind": "linear_probe", "layer": "all"}


def raw(data: Labelled, draws: Sequence[Array]) -> float:
    """Return the mean accuracy of logistic regression on the raw input over the draws."""
    return float(np.mean([_raw(data, chosen) for chosen in draws]))


def untrained(lab: Lab, data: Labelled, datasets: Sequence[str], backbone: Json, probe: Json = PROBE) -> float:
    """Return the mean accuracy of a linear probe on the same backbone with random weights."""
    return float(np.mean(lab.scores(data, datasets, None, backbone=backbone, strategy=probe)))


def scratch(lab: Lab, data: Labelled, datasets: Sequence[str], backbone: Json, **fields: Any) -> float:
    """Return the mean accuracy of a network trained from scratch on the labels; images are lightly augmented."""
    fields = {"augmentations": [{"kind": "crop"}, {"kind": "flip"}] if data.modality == "image" else [], **fields}
    return float(np.mean(lab.scores(data, datasets, None, backbone=backbone, strategy={"kind": "full"}, **fields)))


def _raw(data: Labelled, chosen: Array) -> float:
    rows, test = (_flat(data, x) for x in (data.x[chosen], data.test_x))
    model = LogisticRegression(C=0.1, max_iter=1000).fit(rows, data.y[chosen])
    return 100 * float(model.score(test, data.test_y))


def _flat(data: Labelled, x: Array) -> Array:
    rows = x.reshape(len(x), -1).astype(np.float32)
    return rows / 255 if data.modality == "image" else rows
