"""Models on one backbone answer together what each answers alone."""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from app.ml.configs.learning import FineTuningConfig
from app.ml.models.bundle import Bundle
from app.ml.models.predictor import Predictor
from app.ml.resolution.fine_tuning import resolve_fine_tuning
from tests.support import tiny
from tests.support.answers import flat
from worker.training.run import prepare

CLASSIFIER = {"kind": "classifier", "target": "label"}
REGRESSOR = {"kind": "regressor", "target": "size"}
MULTI_LABEL = {"kind": "multi_label", "target": ["round", "large"], "name": "labels"}


def models(*heads: list[dict[str, Any]], layers: Sequence[int | str] = ("last",)) -> list[Predictor]:
    """Models on one backbone, with heads of random weights, standardisation and temperature."""
    data, made = tiny.table(), []
    shared: Bundle | None = None
    for number, of_model in enumerate(heads):
        torch.manual_seed(number)
        strategy = {"kind": "linear_probe", "layer": layers[number % len(layers)], "solver": "gradient"}
        request = {"backbone": {"kind": "mlp", "hidden": [7, 5]}, "heads": of_model, "strategy": strategy}
        config = FineTuningConfig.model_validate({**request, "training": {"epochs": 1}})
        bundle = prepare(resolve_fine_tuning(config, data.spec, None).config, data).bundle()
        for head in bundle.heads.values():
            for name, values in head.named_buffers():
                if values.is_floating_point() and name != "spread":
                    values.uniform_(0.5, 2)
            head.eval()
        shared = shared or bundle
        shared.backbone.eval()
        manifest = bundle.manifest.model_copy(update={"modality": shared.manifest.modality})
        made.append(Predictor(Bundle(manifest, shared.backbone, bundle.heads)))
    return made


@pytest.mark.parametrize("layers", [("last",), ("last", 0, "all")])
@pytest.mark.parametrize("counts", [(1, 1, 1, 1, 1, 1, 1), (3, 1, 4, 2, 5, 2, 1), (0, 2, 0, 1, 1, 0, 2)])
def test_the_answers_are_those_of_each_alone(counts: tuple[int, ...], layers: tuple[int | str, ...]) -> None:
    predictors = models(
        [CLASSIFIER],
        [CLASSIFIER, REGRESSOR],
        [{**CLASSIFIER, "hidden": [5]}],
        [{**REGRESSOR, "loss": "gaussian"}],
        [{**CLASSIFIER, "name": "kind"}, {**REGRESSOR, "name": "how large"}],
        [MULTI_LABEL, CLASSIFIER],
        [{**MULTI_LABEL, "name": "others"}],
        layers=layers,
    )
    assert len({predictor.family for predictor in predictors}) == 1
    rows = tiny.table().inputs[: sum(counts)]
    together = predictors[0].predict_together(rows, list(zip(predictors, counts, strict=True)))
    start = 0
    for predictor, count in zip(predictors, counts, strict=True):
        for answer, expected in zip(
            together[start : start + count], predictor.predict(rows[start : start + count]), strict=True
        ):
            assert classes(answer) == classes(expected)
            assert flat(answer) == pytest.approx(flat(expected), rel=1e-5, abs=1e-6)
            assert list(answer) == list(expected)
        start += count
    assert start == len(together)


def classes(answer: dict[str, Any]) -> list[str]:
    return [of_head["class"] for of_head in answer.values() if "class" in of_head]


def test_what_differs_in_more_than_heads_is_no_family() -> None:
    one, other = models([CLASSIFIER], [CLASSIFIER])
    assert one.family == other.family
    another = Predictor(Bundle(other.manifest, copy.deepcopy(other.bundle.backbone), other.bundle.heads))
    assert another.family != one.family
    modality = other.manifest.model_copy(update={"modality": other.manifest.modality.model_copy()})
    assert Predictor(Bundle(modality, other.bundle.backbone, other.bundle.heads)).family != one.family
    (elsewhere,) = models([CLASSIFIER])
    assert elsewhere.family != one.family


def test_each_part_is_counted_with_its_bytes() -> None:
    one, other = models([CLASSIFIER], [CLASSIFIER])
    common = one.parts.keys() & other.parts.keys()
    assert len(common) == 2
    backbone = sum(tensor.nbytes for tensor in one.bundle.backbone.state_dict().values())
    assert backbone in [one.parts[part] for part in common]
    assert np.sum(list(one.parts.values())) > backbone
