"""What trains on several devices, and what is refused because it would be another training there."""

from typing import Any

import pytest

from app.ml.configs.learning import FineTuningConfig, PretrainingConfig
from app.ml.errors import ConfigError
from app.ml.resolution.devices import check_splittable
from app.ml.resolution.fine_tuning import resolve_fine_tuning
from app.ml.resolution.pretraining import resolve_pretraining
from app.ml.spec import DataSpec
from tests.support import tiny

Config = PretrainingConfig | FineTuningConfig
Json = dict[str, Any]
MLP, CLASSES = {"kind": "mlp"}, [{"kind": "classifier", "target": "label"}]
SIZE = {"kind": "regressor", "target": "size"}
FULL = {"kind": "full"}


def resolved(request: Json, spec: DataSpec | None = None) -> Config:
    spec = spec or tiny.images().spec
    if "heads" in request:
        return resolve_fine_tuning(FineTuningConfig.model_validate(request), spec, None).config
    return resolve_pretraining(PretrainingConfig.model_validate(request), spec).config


@pytest.mark.parametrize(
    "request_",
    [
        {"backbone": MLP, "method": {"kind": "autoencoder", "regularizer": {"kind": "l2"}}},
        {"backbone": {"kind": "convnet"}, "method": {"kind": "denoising_autoencoder"}},
        {"backbone": MLP, "method": {"kind": "vae"}},
        {"backbone": {"kind": "vit", "patch": 4, "width": 16, "depth": 1}, "method": {"kind": "masked_autoencoder"}},
        {"backbone": MLP, "heads": CLASSES, "strategy": FULL},
        {"backbone": MLP, "heads": [SIZE], "strategy": FULL},
    ],
)
def test_a_mean_over_rows_may_be_shared(request_: Json) -> None:
    check_splittable(resolved(request_), 2)


REFUSED: list[tuple[Json, str]] = [
    ({"backbone": MLP, "method": {"kind": "autoencoder", "regularizer": {"kind": "sparse"}}}, "how active"),
    ({"backbone": MLP, "method": {"kind": "vae", "free_bits": 0.1}}, "free_bits"),
    ({"backbone": {"kind": "convnet"}, "method": {"kind": "simclr"}}, "simclr"),
    ({"backbone": {"kind": "resnet", "norm": "batch"}, "heads": CLASSES, "strategy": FULL}, "whole batch"),
    ({"backbone": MLP, "heads": CLASSES, "strategy": {"kind": "linear_probe"}}, "cached features"),
    (
        {"backbone": MLP, "heads": [*CLASSES, SIZE], "strategy": FULL},
        "several heads",
    ),
    ({"backbone": MLP, "heads": [{**CLASSES[0], "class_weights": "balanced"}], "strategy": FULL}, "plain mean"),
]


@pytest.mark.parametrize(("request_", "words"), REFUSED)
def test_what_looks_at_a_whole_batch_is_refused_on_several_devices_alone(request_: Json, words: str) -> None:
    config = resolved(request_)
    check_splittable(config, 1)
    with pytest.raises(ConfigError, match=words) as refusal:
        check_splittable(config, 2)
    assert refusal.value.loc == ("resources", "devices")


MIXING: list[tuple[Json, str]] = [
    ({"augmentations": [{"kind": "noise"}, {"kind": "mixup"}]}, "mixup mixes the rows"),
    ({"augmentations": [{"kind": "cutmix"}]}, "cutmix mixes the rows"),
    (
        {"backbone": MLP, "method": {"kind": "autoencoder"}, "augmentations": [{"kind": "mixup"}]},
        "mixup mixes the rows",
    ),
    (
        {"backbone": MLP, "method": {"kind": "denoising_autoencoder", "corruption": {"kind": "swap"}}},
        "swap mixes the rows",
    ),
]
MIXING_TABLES: list[tuple[Json, str]] = [
    ({"augmentations": [{"kind": "swap"}]}, "swap mixes the rows"),
    ({"backbone": MLP, "method": {"kind": "vae"}, "augmentations": [{"kind": "swap"}]}, "swap mixes the rows"),
    ({"backbone": MLP, "method": {"kind": "denoising_autoencoder"}}, "swap mixes the rows"),
]


@pytest.mark.parametrize(
    ("request_", "words", "spec"),
    [
        *((request_, words, tiny.images().spec) for request_, words in MIXING),
        *((request_, words, tiny.table().spec) for request_, words in MIXING_TABLES),
    ],
)
def test_what_mixes_the_rows_of_a_batch_is_refused_on_several_devices(
    request_: Json, words: str, spec: DataSpec
) -> None:
    if "method" not in request_:
        request_ = {"backbone": MLP, "heads": CLASSES, "strategy": FULL, **request_}
    config = resolved(request_, spec)
    check_splittable(config, 1)
    with pytest.raises(ConfigError, match=words) as refusal:
        check_splittable(config, 2)
    assert refusal.value.loc == ("resources", "devices")
