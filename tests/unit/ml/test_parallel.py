"""What trains on several devices, and what is refused since it takes no steps that they could share."""

from typing import Any

import pytest

from app.ml.configs.learning import FineTuningConfig, PretrainingConfig
from app.ml.errors import ConfigError
from app.ml.resolution.devices import check_splittable
from app.ml.resolution.fine_tuning import resolve_fine_tuning
from app.ml.resolution.pretraining import resolve_pretraining
from tests.support import tiny

Json = dict[str, Any]
MLP, CLASSES = {"kind": "mlp"}, [{"kind": "classifier", "target": "label"}]
SIZE = {"kind": "regressor", "target": "size"}
FULL, EXACT = {"kind": "full"}, {"kind": "linear_probe", "solver": "exact"}


def check(request: Json, devices: int) -> None:
    spec = tiny.images().spec
    if "heads" in request:
        config: Any = resolve_fine_tuning(FineTuningConfig.model_validate(request), spec, None).config
    else:
        config = resolve_pretraining(PretrainingConfig.model_validate(request), spec).config
    check_splittable(config, devices)


@pytest.mark.parametrize(
    "request_",
    [
        {"backbone": MLP, "method": {"kind": "autoencoder", "regularizer": {"kind": "sparse"}}},
        {"backbone": {"kind": "convnet"}, "method": {"kind": "simclr"}},
        {"backbone": MLP, "method": {"kind": "vae", "free_bits": 0.1}, "augmentations": [{"kind": "mixup"}]},
        {"backbone": {"kind": "resnet", "norm": "batch"}, "heads": CLASSES, "strategy": FULL},
        {"backbone": MLP, "heads": [{**CLASSES[0], "class_weights": "balanced"}, SIZE], "strategy": FULL},
        {"backbone": MLP, "heads": CLASSES, "strategy": {"kind": "linear_probe", "solver": "gradient"}},
        {"backbone": MLP, "heads": CLASSES, "strategy": {"kind": "lp_ft"}},
        {"heads": CLASSES, "strategy": {"kind": "automatic"}},
    ],
)
def test_what_takes_steps_may_be_shared(request_: Json) -> None:
    check(request_, 2)


@pytest.mark.parametrize(
    "head", [CLASSES[0], {**CLASSES[0], "estimator": {"kind": "random_forest"}}], ids=["linear", "estimator"]
)
def test_what_is_solved_for_at_once_is_refused_on_several_devices_alone(head: Json) -> None:
    request = {"backbone": MLP, "heads": [head], "strategy": EXACT}
    check(request, 1)
    with pytest.raises(ConfigError, match="solved for at once") as refusal:
        check(request, 2)
    assert refusal.value.loc == ("resources", "devices")
