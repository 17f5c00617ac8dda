"""Whether an exported model answers the golden rows as the model did when it was made."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from app.ml.errors import ExportError
from app.ml.exports.graph import Graph

RTOL, ATOL = 1e-3, 1e-4  # of the largest number of an output: as golden rows are replayed before a model is served
Run = Callable[[Tensor], Mapping[str, Tensor]]


def check_golden(graph: Graph, run: Run, form: str) -> float:
    """Run the golden rows together, one alone and the others, and return the largest difference of any number.

    Raises:
        ExportError: an answer differs by more than RTOL of itself and ATOL of the output's largest number (at least
            of 1), or rows cannot be answered in batches of any size.
    """
    rows = graph.rows
    try:
        whole = run(rows)
        parts = [run(rows[:1]), run(rows[1:])]
    except Exception as error:  # whatever a runtime raises, it means that the file is of no use
        msg = f"the {form} file does not run: {str(error)[:300]}"
        raise ExportError(msg) from error
    apart = {name: torch.cat([torch.as_tensor(part[name]) for part in parts]) for name in graph.answers}
    return max(
        _difference(name, expected, torch.as_tensor(answers[name]), form)
        for answers in (whole, apart)
        for name, expected in graph.answers.items()
    )


def _difference(name: str, expected: Tensor, answer: Tensor, form: str) -> float:
    scale = max(expected.abs().amax().item(), 1.0) if expected.numel() else 1.0
    fits = answer.shape == expected.shape and bool(answer.isfinite().all())
    if not fits or not torch.allclose(answer.double(), expected.double(), rtol=RTOL, atol=ATOL * scale):
        msg = f"the {form} file does not answer the model's golden rows as the model does: {name} differs"
        raise ExportError(msg)
    return (answer.double() - expected.double()).abs().amax().item()
