"""The encoded row as features: itself, or averages of its stretches."""

import pytest
import torch
import torch.nn.functional as F

from app.ml.configs.learning import FineTuningConfig
from app.ml.interfaces import Encoding, ModalityKind
from app.ml.kinds.backbones.raw import RawBackbone, coarser
from app.ml.resolution.fine_tuning import resolve_fine_tuning
from tests.support import tiny
from worker.training.run import prepare


def test_small_rows_are_their_own_features() -> None:
    rows = torch.rand(5, 3, 4, 6)
    assert torch.equal(RawBackbone(Encoding(shape=(3, 4, 6)))(rows), rows.flatten(1))


@pytest.mark.parametrize("shape", [(1, 200, 200), (3, 640, 97), (9, 10_000), (3, 50, 5_000)])
def test_large_rows_are_averaged_as_by_adaptive_pooling(shape: tuple[int, ...]) -> None:
    rows = torch.rand(2, *shape)
    grid = coarser(shape)
    if len(shape) == 3:
        expected = F.adaptive_avg_pool2d(rows, (grid[1], grid[2]))
    else:
        expected = F.adaptive_avg_pool1d(rows, grid[1])
    features = RawBackbone(Encoding(shape=shape))(rows)
    assert features.shape[1] <= 12_288
    assert torch.allclose(features, expected.flatten(1), atol=1e-5)


def test_sides_are_scaled_alike() -> None:
    assert coarser((3, 640, 480)) == (3, 73, 55)
    assert coarser((9, 100_000)) == (9, 1365)
    assert coarser((100_000,)) == (100_000,), "columns of a table have no neighbours"


@pytest.mark.parametrize("modality", ["image", "table", "series"])
def test_a_probe_on_the_row_is_a_linear_model(modality: ModalityKind) -> None:
    data = tiny.DATASETS[modality](96)
    request = {"backbone": {"kind": "raw"}, "heads": [{"kind": "classifier", "target": "label"}]}
    resolved = resolve_fine_tuning(FineTuningConfig.model_validate(request), data.spec, None)
    assert resolved.config.strategy.kind == "linear_probe"
    run = prepare(resolved.config, data)
    for _ in run.train():
        pass
    measured = run.evaluate("test")
    assert measured is not None
    accuracy = measured.heads["label"]["accuracy"]
    assert isinstance(accuracy, float)
    assert accuracy > 0.9
