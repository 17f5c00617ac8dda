"""An exported model is offered only where it answers the golden rows as the model does."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from app.ml.errors import ExportError
from app.ml.exports.golden import check_golden

ROWS = torch.arange(16, dtype=torch.float64).reshape(8, 2)
GRAPH: Any = SimpleNamespace(rows=ROWS, answers={"label": ROWS * 3})


def test_the_largest_difference_is_told() -> None:
    assert check_golden(GRAPH, lambda rows: {"label": rows * 3}, "onnx") == 0
    assert check_golden(GRAPH, lambda rows: {"label": rows * 3 + 1e-5}, "onnx") == pytest.approx(1e-5)


@pytest.mark.parametrize(
    "run",
    [
        lambda rows: {"label": rows * 3.1},
        lambda rows: {"label": rows * 3 + (0.1 if len(rows) < len(ROWS) else 0)},  # in batches of another size
        lambda rows: {"label": (rows * 3)[:, :1]},
        lambda rows: {"label": rows * 3 + torch.tensor([torch.nan, 0])},
        lambda rows: rows.no_such_attribute,
    ],
)
def test_what_answers_otherwise_or_not_at_all_is_refused(run: Any) -> None:
    def answers(rows: Tensor) -> Any:
        return run(rows)

    with pytest.raises(ExportError, match="onnx"):
        check_golden(GRAPH, answers, "onnx")
