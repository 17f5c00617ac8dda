"""Loop state: all that a resumed run needs, and how it is kept."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pydantic
import torch
from torch import Tensor
from torch.optim import Optimizer

from app.ml.errors import CorruptCheckpointError
from app.ml.interfaces import Losses, Objective
from app.ml.models import checkpoint
from app.ml.models.checkpoint import Tensors


class Progress(pydantic.BaseModel):
    """Where a training is. `position` counts the steps done in this epoch."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True)

    step: int = 0
    epoch: int = 0
    position: int = 0
    best_loss: float | None = None
    evaluations_without_gain: int = 0
    stopped_early: bool = False
    best_score: float | None = None  # of a watching probe
    best_step: int | None = None  # where it was
    looks_without_gain: int = 0
    pieces: int = 1  # into which a batch is cut, where the device has too little memory for all of it
    rate: float = 1.0  # share of the configured learning rate
    setbacks: int = 0  # how often the training diverged and went back

    @property
    def went_through(self) -> bool:
        """Whether every step was taken once, as configured."""
        return not self.stopped_early and self.setbacks == 0 and self.pieces == 1


class StepSharing(Protocol):
    """How several devices share a step; `worker.distributed` implements it."""

    def shard(self, step: int, indices: Tensor | None, rows: int) -> Tensor:
        """Return this device's rows (b,) of a step on `indices` (B,), None being all `rows`."""

    def average(self, optimizer: Optimizer, losses: Losses) -> Losses:
        """Replace the gradients by those of the whole batch, and return the losses, (), of the whole batch."""


@dataclass
class LoopState:
    """Objective, optimizer, progress and best weights. `save` is legal at any event of the loop."""

    objective: Objective
    optimizer: Optimizer
    device: torch.device
    progress: Progress = field(default_factory=Progress)
    best: Tensors | None = None
    ranks: StepSharing | None = None  # set while several devices share each step

    def save(self, path: Path) -> str:
        """Write everything, random generators included, atomically; returns the file's SHA-256."""
        tensors = {
            **_prefixed("objective", self.objective.state_dict()),
            **_prefixed("best", self.best or {}),
            **_prefixed("optimizer", self._optimizer_tensors()),
            **_prefixed("random", self._generators()),
        }
        manifest = {"format": 1, "progress": self.progress.model_dump(), "stepped": self._stepped()}
        return checkpoint.write_atomically(path, checkpoint.to_bytes(tensors, manifest))

    def load(self, path: Path) -> None:
        """Take everything back, bit for bit. Raises `CorruptCheckpointError`, and then nothing has changed."""
        tensors, manifest = checkpoint.read(path)
        progress = _progress(manifest)
        objective, best = _under(tensors, "objective"), _under(tensors, "best")
        expected = self.objective.state_dict()
        wrong = checkpoint.differences(objective, expected)
        wrong += checkpoint.differences(best, expected) if best else []
        generators = _under(tensors, "random")
        wrong += self._generator_differences(generators)
        optimizer = _under(tensors, "optimizer")
        wrong += self._optimizer_differences(optimizer, manifest.get("stepped"))
        if wrong:
            msg = f"{path.name} does not belong to this training: {'; '.join(wrong[:10])}"
            raise CorruptCheckpointError(msg)
        self.progress = progress
        self.objective.load_state_dict(objective)
        self.best = {name: tensor.to(self.device) for name, tensor in best.items()} or None
        self._load_optimizer(optimizer)
        self._set_generators(generators)

    def go_on(self) -> None:
        """Forget that the training has ended: what stopped it early may come again."""
        self.progress.stopped_early = False
        self.progress.evaluations_without_gain = self.progress.looks_without_gain = 0

    def is_finite(self) -> bool:
        """Tell whether every weight is a number."""
        tensors = self.objective.state_dict().values()
        return all(bool(tensor.isfinite().all()) for tensor in tensors if tensor.is_floating_point())

    def gradient_norm(self) -> float:
        """The Euclidean norm of the last step's gradients; infinite or no number where one of them is."""
        gradients = [parameter.grad for _, parameter in self._parameters() if parameter.grad is not None]
        return float(torch.nn.utils.get_total_norm(gradients))

    def keep_best(self) -> None:
        """Remember the weights as they are now."""
        self.best = {name: tensor.detach().clone() for name, tensor in self.objective.state_dict().items()}

    def restore_best(self) -> None:
        """Return to the remembered weights, if there are any."""
        if self.best is not None:
            self.objective.load_state_dict(self.best)

    def _parameters(self) -> Iterator[tuple[int, Tensor]]:
        """Numbered as torch numbers them in an optimizer's state_dict."""
        groups = self.optimizer.param_groups
        return enumerate(parameter for group in groups for parameter in group["params"])

    def _optimizer_tensors(self) -> Tensors:
        """Per parameter and moment; empty before the first step."""
        return {
            f"{index}.{name}": value
            for index, state in self.optimizer.state_dict()["state"].items()
            for name, value in state.items()
            if isinstance(value, Tensor)
        }

    def _stepped(self) -> list[int]:
        """The parameters that the optimizer has moved; one that is still frozen has no moments."""
        return sorted(self.optimizer.state_dict()["state"])

    def _optimizer_differences(self, found: Tensors, stepped: object) -> list[str]:
        """Moments have their parameter's shape, step counts are scalars, and all that moved have the same ones."""
        parameters = dict(self._parameters())
        wrong = []
        for name, value in found.items():
            index, _, moment = name.partition(".")
            parameter = parameters.get(int(index)) if index.isdigit() else None
            if parameter is None or value.shape != (() if moment == "step" else parameter.shape):
                wrong.append(f"optimizer state {name} fits no parameter")
        moments = {name.partition(".")[2] for name in found}
        moved = stepped if isinstance(stepped, list) else list(parameters)
        expected = [f"{index}.{moment}" for index in moved for moment in sorted(moments)]
        return wrong + [f"lacks optimizer state {name}" for name in expected if name not in found]

    def _load_optimizer(self, found: Tensors) -> None:
        state: dict[int, dict[str, Any]] = {}
        for name, value in found.items():
            index, _, moment = name.partition(".")
            state.setdefault(int(index), {})[moment] = value
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state})

    def _generators(self) -> Tensors:
        found = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            found["cuda"] = torch.cuda.get_rng_state(self.device)
        return found

    def _generator_differences(self, found: Tensors) -> list[str]:
        """A GPU's generator may be on one side only: a training may move between workers with and without one."""
        mine = self._generators()
        optional = {"cuda"} - (found.keys() & mine.keys())
        found = {name: value for name, value in found.items() if name not in optional}
        return checkpoint.differences(found, {name: value for name, value in mine.items() if name not in optional})

    def _set_generators(self, found: Tensors) -> None:
        torch.set_rng_state(found["cpu"])
        if self.device.type == "cuda" and "cuda" in found:
            torch.cuda.set_rng_state(found["cuda"], self.device)


def _progress(manifest: dict[str, Any]) -> Progress:
    try:
        return Progress.model_validate(manifest.get("progress"))
    except pydantic.ValidationError as error:
        msg = f"the checkpoint's progress cannot be read: {error}"
        raise CorruptCheckpointError(msg) from error


def _prefixed(prefix: str, tensors: Tensors) -> Tensors:
    return {f"{prefix}/{name}": tensor for name, tensor in tensors.items()}


def _under(tensors: Tensors, prefix: str) -> Tensors:
    start = f"{prefix}/"
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}
