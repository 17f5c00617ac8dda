"""Loop state: all that a resumed run needs, and how it is saved and loaded."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pydantic
import torch
from torch import Tensor
from torch.optim import Optimizer

from app.ml.blocks.generators import generator_states, set_generator_states
from app.ml.blocks.sized import expected_tensors
from app.ml.data import tensor_file
from app.ml.data.arrays import Examples
from app.ml.data.tensor_file import Tensors
from app.ml.errors import CorruptCheckpointError
from app.ml.interfaces import Losses, Objective


class TrainingProgress(pydantic.BaseModel):
    """Where a training is. `position` counts the steps done in this epoch. Saved in checkpoints: names must stay."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True)

    step: int = 0
    epoch: int = 0
    position: int = 0
    best_loss: float | None = None
    best_loss_step: int | None = None  # the step whose validation loss that is; None in checkpoints of before
    evaluations_without_gain: int = 0
    stopped_early: bool = False
    best_score: float | None = None  # of the online probe
    best_step: int | None = None  # the step of that score
    looks_without_gain: int = 0  # evaluations of the online probe since then
    looks_below_untrained: int = 0  # evaluations in a row at which the probe was clearly below the untrained network
    warned_of_untrained: bool = False
    pieces: int = 1  # into which a batch is cut, where the device has too little memory for all of it
    rate: float = 1.0  # share of the configured learning rate
    setbacks: int = 0  # how often the training diverged and went back

    @property
    def went_through(self) -> bool:
        """Whether every step was taken once, as configured."""
        return not self.stopped_early and self.setbacks == 0 and self.pieces == 1


class StepSharing(Protocol):
    """How several devices share a step; `worker.distributed` implements it."""

    def announce(self, step: int, indices: Tensor | None, rows: int) -> Tensor:
        """Return the rows (B,) of a step on `indices` (B,), None being all `rows`, and let the other devices know."""

    def begin(self, state: "LoopState", total: int) -> None:
        """Begin a step of `total`, once it is announced."""

    def training_loss(self, objective: Objective, examples: Examples, rows: Tensor, *, last: bool) -> Losses:
        """Return the losses, (), of rows (B,), of which this device computes its shard.

        Their backward pass adds to every device's gradients; that of the `last` rows of a step averages them.
        """

    def take_gradients(self) -> None:
        """Hand the averaged gradients of a step to the optimizer."""

    def total_norm(self, parameters: Iterable[Tensor], *, asked: bool) -> Tensor:
        """Return the Euclidean norm () of the gradients; `asked` says that it is asked for between steps."""

    def gather(self) -> None:
        """Have the weights as they are in the objective of this device, which leads."""

    def moments(self) -> dict[int, dict[str, Any]] | None:
        """Return the optimizer's state by the numbers of its parameters, None where this device's optimizer has it."""


@dataclass
class LoopState:
    """Objective, optimizer, progress and best weights. `save` is legal at any event of the loop.

    `frozen` names the weights that training leaves as they come from the pretrained model: they are not saved, and a
    resumed run has them from that model. With `sharded`, set before anything is loaded, each of several devices has its
    part of weights and moments in steps; moments that are loaded, and the best weights, are in the host's memory.
    """

    objective: Objective
    optimizer: Optimizer
    device: torch.device
    progress: TrainingProgress = field(default_factory=TrainingProgress)
    best: Tensors | None = None
    ranks: StepSharing | None = None  # set while several devices share each step
    sharded: bool = False
    frozen: frozenset[str] = frozenset()
    held_out: Tensors = field(default_factory=dict)  # `rows` (n,), and the outputs (n, K) of each head without them

    def save(self, path: Path) -> str:
        """Write everything, random generators included, atomically; return the file's SHA-256."""
        self.gather()
        tensors = {
            **_prefixed("objective", self._trained()),
            **_prefixed("best", self.best or {}),
            **_prefixed("optimizer", self._optimizer_tensors()),
            **_prefixed("random", self._generators()),
            **_prefixed("held_out", self.held_out),
        }
        # The optimizer's state has tensors alone; which parameters have any, in order to miss none, is in the manifest.
        manifest = {"format": 1, "progress": self.progress.model_dump(), "stepped": self._stepped()}
        if self.frozen:
            manifest["frozen"] = self._frozen_digest()
        return tensor_file.write_atomically(path, tensor_file.to_bytes(tensors, manifest))

    def load(self, path: Path) -> None:
        """Load everything, bit for bit. Raises `CorruptCheckpointError`, and then nothing has changed."""
        tensors, manifest = tensor_file.read(path)
        # Everything is checked before anything is loaded: a state half taken from a bad file could not be recognised.
        progress = _progress(manifest)
        objective, best = _under(tensors, "objective"), _under(tensors, "best")
        # Checkpoints of earlier releases hold the frozen weights, too.
        expected = self._expected(objective)
        if "frozen" in manifest:
            expected = {name: tensor for name, tensor in expected.items() if name not in self.frozen}
        differences = self._frozen_differences(manifest.get("frozen"))
        differences += tensor_file.differences(objective, expected)
        differences += tensor_file.differences(best, expected) if best else []
        generators = _under(tensors, "random")
        differences += self._generator_differences(generators)
        optimizer = _under(tensors, "optimizer")
        differences += self._optimizer_differences(optimizer, manifest.get("stepped"))
        if differences:
            msg = f"{path.name} does not belong to this training: {'; '.join(differences[:10])}"
            raise CorruptCheckpointError(msg)
        self.progress = progress
        self._load_weights(objective)
        self.best = {name: tensor.to(self._waiting_device) for name, tensor in best.items()} or None
        self._load_optimizer(optimizer)
        self._set_generators(generators)
        self.held_out = _under(tensors, "held_out")

    def clear_early_stopping(self) -> None:
        """Forget that the training has stopped early, and count evaluations without gain anew: it is extended."""
        self.progress.stopped_early = False
        self.progress.evaluations_without_gain = self.progress.looks_without_gain = 0

    def gather(self) -> None:
        """Have the weights as they are in the objective: after a step other devices may hold parts of them."""
        if self.ranks is not None:
            self.ranks.gather()

    def is_finite(self) -> bool:
        """Whether every weight is a finite number."""
        self.gather()
        tensors = self.objective.state_dict().values()
        return all(bool(tensor.isfinite().all()) for tensor in tensors if tensor.is_floating_point())

    def gradient_norm(self) -> float:
        """The Euclidean norm of the last step's gradients; infinite or NaN where one of them is."""
        return float(self._total_norm(asked=True))

    def clip_gradients(self, limit: float) -> None:
        """Scale the gradients of a step to a norm of at most `limit`, as `torch.nn.utils.clip_grad_norm_` does."""
        parameters = [parameter for _, parameter in self._parameters()]
        torch.nn.utils.clip_grads_with_norm_(parameters, limit, self._total_norm(asked=False))

    def keep_best(self) -> None:
        """Copy the weights as they are now, as the best so far."""
        self.gather()
        # Copies: state_dict shares its memory with the weights, which the next step moves in place.
        where = self._waiting_device
        self.best = {name: tensor.detach().to(where, copy=True) for name, tensor in self._trained().items()}

    def restore_best(self) -> None:
        """Load the best weights, if any were kept; else those of the last step stay."""
        self.gather()
        if self.best is not None:
            self._load_weights(self.best)

    @property
    def _waiting_device(self) -> torch.device:
        """Where tensors are kept that no step needs."""
        return torch.device("cpu") if self.sharded else self.device

    def _trained(self) -> Tensors:
        """The weights that training may change, by name, and buffers."""
        return {name: tensor for name, tensor in self.objective.state_dict().items() if name not in self.frozen}

    def _expected(self, weights: Tensors) -> Tensors:
        """The objective's tensors in the sizes that a checkpoint gives them. Raises `CorruptCheckpointError`."""
        try:
            return expected_tensors(self.objective, weights)
        except ValueError as error:
            msg = f"the checkpoint's weights cannot be loaded: {error}"
            raise CorruptCheckpointError(msg) from error

    def _load_weights(self, weights: Tensors) -> None:
        """Load weights; frozen ones that are not among them stay as they are."""
        self.objective.load_state_dict({**self.objective.state_dict(), **weights})

    def _frozen_digest(self) -> str:
        """SHA-256 of the frozen weights, by which a resumed run knows that it has the same."""
        state, digest = self.objective.state_dict(), hashlib.sha256()
        for name in sorted(self.frozen):
            digest.update(name.encode())
            digest.update(state[name].detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
        return digest.hexdigest()

    def _frozen_differences(self, saved: object) -> list[str]:
        """In words, whether a checkpoint was saved next to other frozen weights than this training has."""
        if saved is None or saved == self._frozen_digest():
            return []
        return ["the frozen weights are not those that it was saved with"]

    def _total_norm(self, *, asked: bool) -> Tensor:
        parameters = [parameter for _, parameter in self._parameters()]
        if self.ranks is not None:
            return self.ranks.total_norm(parameters, asked=asked)
        return torch.nn.utils.get_total_norm([values.grad for values in parameters if values.grad is not None])

    def _parameters(self) -> Iterator[tuple[int, Tensor]]:
        """The optimizer's parameters, numbered as torch numbers them in an optimizer's state_dict."""
        groups = self.optimizer.param_groups
        return enumerate(parameter for group in groups for parameter in group["params"])

    def _optimizer_tensors(self) -> Tensors:
        """The optimizer's state as PARAMETER.MOMENT: tensor (torch numbers parameters); empty before the first step."""
        gathered = None if self.ranks is None else self.ranks.moments()
        states = self.optimizer.state_dict()["state"] if gathered is None else gathered
        return {
            f"{index}.{name}": value
            for index, state in states.items()
            for name, value in state.items()
            if isinstance(value, Tensor)
        }

    def _stepped(self) -> list[int]:
        """The numbers of the parameters that the optimizer has moved; one that is still frozen has no moments."""
        return sorted(self.optimizer.state_dict()["state"])

    def _optimizer_differences(self, tensors: Tensors, stepped: object) -> list[str]:
        """In words, how the optimizer's state in a checkpoint differs from what this training's must look like.

        Moments have their parameter's shape, step counts are scalars, and all parameters that moved have the same ones.
        """
        parameters = dict(self._parameters())
        differences = []
        for name, value in tensors.items():
            index, _, moment = name.partition(".")
            parameter = parameters.get(int(index)) if index.isdigit() else None
            if parameter is None or value.shape != (() if moment == "step" else parameter.shape):
                differences.append(f"optimizer state {name} fits no parameter")
        # Adam has step, exp_avg and exp_avg_sq of each parameter, SGD a momentum_buffer or nothing.
        moments = {name.partition(".")[2] for name in tensors}
        # Checkpoints of earlier releases do not say which parameters have moved: then all must have.
        moved = stepped if isinstance(stepped, list) else list(parameters)
        expected = [f"{index}.{moment}" for index in moved for moment in sorted(moments)]
        return differences + [f"lacks optimizer state {name}" for name in expected if name not in tensors]

    def _load_optimizer(self, tensors: Tensors) -> None:
        state: dict[int, dict[str, Any]] = {}
        for name, value in tensors.items():
            number, _, moment = name.partition(".")
            state.setdefault(int(number), {})[moment] = value
        if self.sharded:  # the first step takes this device's part of them
            parameters = dict(self._parameters())
            self.optimizer.state = defaultdict(dict, {parameters[index]: values for index, values in state.items()})
            return
        # Rates and decays stay those of the configuration: only the moments come from the checkpoint.
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state})

    def _generators(self) -> Tensors:
        """The states of torch's global random generators, by device."""
        return generator_states(self.device)

    def _generator_differences(self, states: Tensors) -> list[str]:
        """A GPU's generator may be on one side only: a training may move between workers with and without one."""
        expected = self._generators()
        one_sided = {"cuda"} - (states.keys() & expected.keys())
        states = {name: state for name, state in states.items() if name not in one_sided}
        return tensor_file.differences(
            states, {name: state for name, state in expected.items() if name not in one_sided}
        )

    def _set_generators(self, states: Tensors) -> None:
        set_generator_states(states, self.device)


def _progress(manifest: dict[str, Any]) -> TrainingProgress:
    try:
        return TrainingProgress.model_validate(manifest.get("progress"))
    except pydantic.ValidationError as error:
        msg = f"the checkpoint's progress cannot be read: {error}"
        raise CorruptCheckpointError(msg) from error


def _prefixed(prefix: str, tensors: Tensors) -> Tensors:
    return {f"{prefix}/{name}": tensor for name, tensor in tensors.items()}


def _under(tensors: Tensors, prefix: str) -> Tensors:
    start = f"{prefix}/"
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}
