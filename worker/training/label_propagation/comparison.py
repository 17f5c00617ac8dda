"""A probe with pseudo-labels and one without, compared on the same labels left out, each by its out-of-fold outputs."""

from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from app.ml.kinds.heads.temperature import fitted_temperature
from app.ml.solvers.solution import OutOfFold


@dataclass(frozen=True, slots=True)
class Comparison:
    """The shares of right answers with and without pseudo-labels, the gain and its standard error.

    The same of the log loss, each at its best temperature: what the gain in it is, positive where it falls.
    """

    rows: int
    joined: float
    probe: float
    standard_error: float
    log_loss_gain: float
    log_loss_error: float

    @property
    def is_worse(self) -> bool:
        """Whether pseudo-labels cost right answers, or raise the log loss, by more than a standard error."""
        return self.joined < self.probe - self.standard_error or self.log_loss_gain < -self.log_loss_error

    @property
    def is_better(self) -> bool:
        """Whether pseudo-labels pay by either figure, by more than a standard error, and cost nothing by the other."""
        gain = self.joined - self.probe
        pays = gain > self.standard_error or self.log_loss_gain > self.log_loss_error
        return pays and gain >= 0 and self.log_loss_gain >= 0

    def as_json(self) -> dict[str, Any]:
        """The figures by name; `rows` as `left_out`."""
        figures = asdict(self)
        return {"left_out": figures.pop("rows"), **figures}


def compare(joined: OutOfFold | None, probe: OutOfFold | None, labels: Tensor) -> Comparison | None:
    """Compare the outputs for labels (n,) that both have left out; None where there is no such label."""
    if joined is None or probe is None:
        return None
    rows = joined.rows[torch.isin(joined.rows, probe.rows)]
    if not len(rows):
        return None
    truth = labels[rows]
    outputs = [each.outputs[torch.isin(each.rows, rows)].double() for each in (joined, probe)]
    correct = [(output.argmax(1) == truth).double() for output in outputs]
    losses = [
        F.cross_entropy(output / fitted_temperature(output, truth), truth, reduction="none") for output in outputs
    ]
    error = paired(*correct)[1]
    return Comparison(
        len(rows), float(correct[0].mean()), float(correct[1].mean()), error, *paired(losses[1], losses[0])
    )


def paired(values: Tensor, others: Tensor) -> tuple[float, float]:
    """The mean difference of values (m,) and others (m,) of the same rows, and its standard error."""
    differences = values - others
    return float(differences.mean()), float(differences.std(correction=0)) / len(differences) ** 0.5
