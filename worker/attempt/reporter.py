"""What a training tells its job: progress and measurements, at most once a second."""

import math
import time
from dataclasses import dataclass, field
from typing import Any

import torch

from worker.attempt.attempt import Attempt
from worker.attempt.divergence import DivergedError
from worker.training.events import Evaluated, Finished, Started, StepDone
from worker.training.state import LoopState

_REPORT_SECONDS = 1.0


@dataclass
class Reporter:
    """Collects what the loop tells and writes it at most once a second: reading a loss waits for the device."""

    attempt: Attempt
    state: LoopState
    first_step: int = 0
    total_steps: int = 1
    began: float = field(default_factory=time.monotonic)
    reported: float = 0.0
    points: dict[int, dict[str, Any]] = field(default_factory=dict)
    losses: list[dict[str, torch.Tensor]] = field(default_factory=list)
    last: StepDone | None = None
    loss: float | None = None

    def start(self, event: Started) -> None:
        """Note where the run begins."""
        self.first_step, self.total_steps = event.step, event.total_steps

    def step(self, event: StepDone) -> None:
        """Collect a step; report when it is time to, and at once after the first.

        Raises:
            DivergedError: the loss is no number. On a GPU, where looking costs, that is seen when it is reported.
        """
        self.last = event
        if event.losses["loss"].device.type == "cpu":
            self._refuse_diverged(event, event.losses["loss"].item())
        self.losses.append(event.losses)
        if time.monotonic() - self.reported >= _REPORT_SECONDS:
            self._write(event)
            self.reported = time.monotonic()

    def finish(self, step: int) -> None:
        """Write what is left; after a resume at the last step that may be measurements alone."""
        if self.last is not None:
            self._write(self.last)
        elif self.points:
            self.attempt.report(progress_of(step, self.total_steps, 0, 0.0), list(self.points.values()), "training")

    def end(self, event: Finished) -> None:
        """Write what is left, and that the training has come to its end, early or not."""
        if self.last is not None:
            self._collect(self.last)
        progress = progress_of(event.step, self.total_steps, self.last.epoch if self.last else 0, 0.0)
        ended = {"fraction": 1.0, "kept_step": event.kept_step}
        self.attempt.report({**progress, **self._loss(), **ended}, list(self.points.values()), "training")

    def evaluated(self, event: Evaluated) -> None:
        """Collect a measurement."""
        self._point(event.step, event.epoch, event.metrics)

    def _collect(self, event: StepDone) -> None:
        losses = self._mean_losses()
        self._refuse_diverged(event, losses.get("train/loss", 0.0))
        self.loss = losses.get("train/loss", self.loss)
        self._point(event.step, event.epoch, {**losses, "train/lr": event.lr})

    def _loss(self) -> dict[str, float | None]:
        return {"loss": None if self.loss is None else _finite(self.loss)}

    def _write(self, event: StepDone) -> None:
        self._collect(event)
        left = self.total_steps - event.step
        done = event.step - self.first_step
        eta = (time.monotonic() - self.began) / done * left if done else None
        progress = progress_of(event.step, self.total_steps, event.epoch, eta)
        if self.attempt.report({**progress, **self._loss()}, list(self.points.values()), "training"):
            self.points.clear()

    def _refuse_diverged(self, event: StepDone, loss: float) -> None:
        if not math.isfinite(loss):
            raise DivergedError(event.step, event.lr, self.state)

    def _mean_losses(self) -> dict[str, float]:
        """Means over the steps since the last report, in one read."""
        collected, self.losses = self.losses, []
        names = list(collected[0]) if collected else []
        if not names:
            return {}
        table = torch.stack([torch.stack([step[name] for name in names]) for step in collected])
        return {f"train/{name}": value for name, value in zip(names, table.mean(0).tolist(), strict=True)}

    def _point(self, step: int, epoch: int, values: dict[str, float]) -> None:
        point = self.points.setdefault(step, {"step": step, "epoch": epoch, "values": {}})
        point["values"].update({name: _finite(value) for name, value in values.items()})


def progress_of(step: int, total: int, epoch: int, eta: float | None) -> dict[str, Any]:
    """Return a job's progress as its row keeps it."""
    fraction = min(1.0, step / max(total, 1))
    return {"fraction": fraction, "step": step, "total_steps": total, "epoch": epoch, "eta_seconds": eta}


def _finite(value: float) -> float | None:
    """JSON has no NaN and no infinity."""
    return value if math.isfinite(value) else None
