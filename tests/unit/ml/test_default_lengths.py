"""How long default pretrainings are: minutes on two cores, whatever the data."""

from typing import Any

import pytest
import torch

from app.ml.configs.learning import PretrainingConfig
from app.ml.interfaces import Batch, Encoding, ResolutionContext
from app.ml.kinds.backbones.mlp import Mlp
from app.ml.resolution.cost import row_operations
from app.ml.resolution.pretraining import resolve_pretraining
from app.ml.spec import ColumnSpec, DataSpec, ModalityKind, Split
from tests.support import tiny
from worker.training.run import prepare

SHAPES: list[tuple[ModalityKind, tuple[int, ...]]] = [
    ("table", (7,)),
    ("series", (150, 1)),
    ("series", (1000, 3)),
    ("series", (128, 1)),
    ("image", (28, 28, 1)),
    ("image", (64, 64, 3)),
    ("image", (96, 96, 3)),
    ("image", (224, 224, 3)),
    ("text", (60,)),
    ("text", (900,)),
]


LONG = (("series", (1000, 3)), ("image", (96, 96, 3)), ("image", (224, 224, 3)), ("text", (900,)))


@pytest.mark.parametrize("rows", [160, 4000, 48_000])
@pytest.mark.parametrize(("modality", "shape"), SHAPES)
def test_default_pretrainings_end_in_minutes(modality: ModalityKind, shape: tuple[int, ...], rows: int) -> None:
    columns = tuple(ColumnSpec(name=f"c{index}", type="number") for index in range(shape[-1]))
    spec = DataSpec(
        modality=modality,
        shape=shape,
        columns=columns if modality in ("table", "series") else (),
        rows={"train": rows, "validation": 0, "test": 0},
    )
    resolved = resolve_pretraining(PretrainingConfig(), spec)
    training = resolved.config.training
    steps = training.total_steps(rows)
    assert steps >= 100
    passes = resolved.config.method.backbone_passes
    if not passes:
        return
    with torch.device("meta"):
        backbone = resolved.config.backbone.build(resolved.config.preprocessing.largest(spec))
    computed = 3 * passes * steps * min(training.batch_size, rows) * row_operations(backbone, spec) / 2e10
    assert computed < 1300, "seconds at 2e10 operations each; texts were measured at ten times that"
    shortened = [decision for decision in resolved.decisions if "end in minutes" in decision.reason]
    assert bool(shortened) == ((modality, shape) in LONG or (rows == 48_000 and modality in ("series", "text")))


def test_what_is_asked_for_is_not_shortened() -> None:
    columns = tuple(ColumnSpec(name=f"c{index}", type="number") for index in range(3))
    rows: dict[Split, int] = {"train": 200, "validation": 0, "test": 0}
    spec = DataSpec(modality="series", shape=(1000, 3), columns=columns, rows=rows)
    config = PretrainingConfig.model_validate({"training": {"epochs": 300}})
    assert resolve_pretraining(config, spec).config.training.epochs == 300
    shorter = resolve_pretraining(PretrainingConfig(), spec).config.training
    assert shorter.epochs is not None
    assert 20 < shorter.epochs < 150


def test_operations_are_those_of_every_use_of_a_weight() -> None:
    image = DataSpec(modality="image", shape=(8, 8, 1), rows={"train": 10, "validation": 0, "test": 0})
    with torch.device("meta"):
        mlp = Mlp(hidden=(12, 7)).resolve(ResolutionContext("image", (8, 8, 1), 10))[0].build(Encoding(shape=(1, 8, 8)))
    assert row_operations(mlp, image) == 2 * (64 * 12 + 12 * 7)


@pytest.mark.parametrize("kind", ["autoencoder", "denoising_autoencoder", "vae", "simclr", "vicreg"])
def test_a_method_says_how_often_a_step_runs_the_backbone(kind: str) -> None:
    data = tiny.images()
    request = {"backbone": {"kind": "mlp", "hidden": [8]}, "method": {"kind": kind}}
    config = resolve_pretraining(PretrainingConfig.model_validate(request), data.spec).config
    objective = prepare(config, data).state.objective
    rows = []
    objective.backbone.register_forward_hook(lambda _module, inputs, _output: rows.append(len(inputs[0])))
    objective.training_loss(Batch(torch.rand(6, 1, 8, 8)))
    assert sum(rows) == 6 * config.method.backbone_passes


def test_large_images_are_taken_in_smaller_batches_rather_than_for_an_hour() -> None:
    spec = DataSpec(modality="image", shape=(224, 224, 3), rows={"train": 48_000, "validation": 0, "test": 0})

    def resolved(**training: Any) -> tuple[int, int]:
        config = PretrainingConfig.model_validate({"training": training})
        training_config = resolve_pretraining(config, spec).config.training
        return training_config.batch_size, training_config.total_steps(48_000)

    assert resolved() == (64, 112)
    assert resolved(batch_size=256) == (256, 100)  # what is given is never changed
    assert resolved(steps=3000) == (256, 3000)
