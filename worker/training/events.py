"""The events that the training loop yields to its caller, in the order in which they come."""

from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from app.ml.spec import WarningItem

Reason = Literal["completed", "early_stopping"]


@dataclass(frozen=True, slots=True)
class Started:
    """Before the first step; `step` is above 0 after a resume."""

    step: int
    total_steps: int
    steps_per_epoch: int


@dataclass(frozen=True, slots=True)
class StepDone:
    """After a step. `step` counts from 1, `epoch` from 0. Reading `losses` waits for the device: not every step."""

    step: int
    epoch: int
    lr: float
    losses: dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class EpochDone:
    """After an epoch's last step; `epoch` counts from 0."""

    epoch: int
    step: int


@dataclass(frozen=True, slots=True)
class Evaluated:
    """After an evaluation on the validation split."""

    epoch: int
    step: int
    metrics: dict[str, float]
    best: bool  # whether the validation loss is the lowest so far


@dataclass(frozen=True, slots=True)
class Note:
    """Something that a user may want to know: what was selected or happened, and why. `data` is JSON."""

    kind: str
    message: str
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Finished:
    """After the last step; the weights are final (with early stopping: the best ones)."""

    step: int
    reason: Reason
    kept_step: int  # whose weights are kept: an earlier one where early stopping, or the online probe, chose them


Event = Started | StepDone | EpochDone | Evaluated | Note | WarningItem | Finished
