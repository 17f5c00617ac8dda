"""Published weights that a fine-tuning without a model is told of."""

from typing import Any

import pytest

from app.jobs.kinds.fine_tuning import FineTuningRequest
from app.ml.configs.learning import FineTuningConfig
from app.ml.resolution.fine_tuning import resolve_fine_tuning
from app.ml.spec import DataSpec, ModalityKind, WarningCode
from tests.support import tiny


def spec_of(modality: ModalityKind, rows: int = 120, **changes: Any) -> DataSpec:
    counts = {"train": rows, "validation": 0, "test": 20}
    changes = {"rows": counts, "labelled": {"label": counts}, **changes}
    return tiny.DATASETS[modality]().spec.model_copy(update=changes)


def proposed(spec: DataSpec, **fields: Any) -> tuple[list[str], list[str]]:
    """The options of the decisions, and the messages of the warnings."""
    body = {"kind": "fine_tuning", "dataset": "x", "heads": [{"kind": "classifier", "target": "label"}], **fields}
    request = FineTuningRequest.model_validate(body)
    resolved = resolve_fine_tuning(FineTuningConfig(**request.learning_half()), spec, None)
    decisions, warnings = request.proposals(resolved, spec)
    assert all(decision.field == "model" and decision.value is None for decision in decisions)
    assert all(warning.code == WarningCode.PUBLISHED_WEIGHTS for warning in warnings)
    assert all('POST /v1/models {"source": "' in (warning.remedy or "") for warning in warnings)
    return [decision.option or "" for decision in decisions], [warning.message for warning in warnings]


def test_texts_are_told_of_minilm_and_of_what_scratch_costs() -> None:
    options, (message,) = proposed(spec_of("text", shape=(300,)))
    assert options == ['"model": "minilm"']
    assert "from scratch on 120 labelled texts takes about" in message
    assert "minutes of a core" in message
    assert "all-MiniLM-L6-v2 knows English already (Apache-2.0)" in message


def test_photographs_are_told_of_efficientnet() -> None:
    options, (message,) = proposed(spec_of("image", shape=(96, 96, 3)))
    assert options == ['"model": "efficientnet_lite0"']
    assert "EfficientNet-Lite0 knows photographs already" in message


@pytest.mark.parametrize(
    ("spec", "fields"),
    [
        (spec_of("image"), {}),
        (spec_of("image", shape=(96, 96, 1)), {}),
        (spec_of("table"), {}),
        (spec_of("series"), {}),
        (spec_of("text", rows=50_000), {}),
        (spec_of("text", continuous=True), {}),
        (spec_of("text"), {"backbone": {"kind": "tfidf"}}),
        (spec_of("text"), {"model": "some"}),
    ],
    ids=["small images", "gray images", "tables", "series", "many labels", "one text", "a backbone", "a model"],
)
def test_others_are_told_nothing(spec: DataSpec, fields: dict[str, Any]) -> None:
    assert proposed(spec, **fields) == ([], [])
