"""How long default pretrainings are: minutes on two cores, whatever the data."""

import pytest
import torch

from app.ml.configs.learning import PretrainingConfig
from app.ml.interfaces import Encoding, ResolutionContext
from app.ml.kinds.backbones.mlp import Mlp
from app.ml.resolution.cost import row_operations
from app.ml.resolution.pretraining import resolve_pretraining
from app.ml.spec import ColumnSpec, DataSpec, ModalityKind, Split

SHAPES: list[tuple[ModalityKind, tuple[int, ...]]] = [
    ("table", (7,)),
    ("series", (150, 1)),
    ("series", (1000, 3)),
    ("series", (128, 1)),
    ("image", (28, 28, 1)),
    ("image", (64, 64, 3)),
    ("text", (60,)),
    ("text", (900,)),
]


LONG = (("series", (1000, 3)), ("text", (900,)))


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
    if not resolved.config.method.runs_backbone:
        return
    with torch.device("meta"):
        backbone = resolved.config.backbone.build(resolved.config.preprocessing.largest(spec))
    computed = 3 * steps * min(training.batch_size, rows) * row_operations(backbone, spec) / 2e10
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
