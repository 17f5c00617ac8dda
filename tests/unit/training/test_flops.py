"""What computations are expected to cost, by their operations."""

import pytest

from app.ml.configs.learning import PretrainingConfig
from app.ml.data.arrays import ArrayData
from app.ml.interfaces import Backbone, Encoding, Modality
from app.ml.kinds.backbones.bert import Bert
from app.ml.resolution.pretraining import resolve_pretraining
from tests.support import tiny
from worker.training.flops import mean_tokens, row_seconds, training_seconds
from worker.training.run import prepare


def transformer(data: ArrayData, max_tokens: int) -> tuple[Backbone, Modality]:
    """One that reads up to so many tokens of a text."""
    request = {
        "backbone": {"kind": "transformer", "width": 32, "depth": 2},
        "preprocessing": {"kind": "text", "tokenizer": "character", "max_tokens": max_tokens},
        "training": {"steps": 1, "batch_size": 8},
    }
    config = resolve_pretraining(PretrainingConfig.model_validate(request), data.spec).config
    run = prepare(config, data)
    return run.state.objective.backbone, run.modality


def test_short_texts_cost_what_they_hold_and_not_what_might_be_read() -> None:
    data = tiny.texts()
    _, modality = transformer(data, max_tokens=512)
    tokens = mean_tokens(data, data.positions("train"), modality)
    assert tokens is not None
    assert 10 <= tokens <= 30, "a few words each"
    encoding = Encoding(shape=(512,), vocabulary=22)
    bert = Bert(width=32, depth=2, heads=2, hidden=64).build(encoding)
    assert row_seconds(bert, tokens) < row_seconds(bert) / 8, "it passes over what is padding"
    assert training_seconds(bert, 10, tokens) == pytest.approx(30 * row_seconds(bert, tokens))


def test_a_large_vocabulary_costs_nothing_by_itself() -> None:
    """An embedding is looked up, and not multiplied with."""
    data = tiny.texts()
    backbone, _ = transformer(data, max_tokens=64)
    before = row_seconds(backbone, 8)
    table = next(module for name, module in backbone.named_modules() if type(module).__name__ == "Embedding")
    table.weight.data = table.weight.data.repeat(1000, 1)
    assert row_seconds(backbone, 8) == before


def test_other_data_have_no_tokens() -> None:
    data = tiny.table()
    config = resolve_pretraining(PretrainingConfig(), data.spec).config
    assert mean_tokens(data, data.positions("train"), prepare(config, data).modality) is None
