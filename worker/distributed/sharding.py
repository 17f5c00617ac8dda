"""Weights, gradients and moments in parts, one for each rank, by torch's FSDP2 (`fully_shard`).

Only steps are sharded. A copy of the objective computes them, whose parameters are DTensors: the ranks gather them for
a forward and backward pass, and each keeps its part of the averaged gradients. The optimizer moves this rank's
parts, as plain tensors. Meanwhile the parameters of the objective itself are empty: whoever read them would fail.
Before the leader evaluates or saves, all ranks gather the weights into its objective, and for a checkpoint the moments.

Rajbhandari et al., "ZeRO: memory optimizations toward training trillion parameter models", 2020; Zhao et al., "PyTorch
FSDP: experiences on scaling fully sharded data parallel", 2023.
"""

import copy
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from app.ml.data.arrays import Examples
from app.ml.interfaces import Batch, Losses, Objective
from worker.distributed.batch_losses import BatchLosses
from worker.training.state import LoopState


@dataclass
class _Parameter:
    """A parameter in its three forms. Scalars cannot be cut: every rank has them, and averages their gradient."""

    whole: nn.Parameter  # the objective's: empty while the optimizer may have moved its parts
    shape: torch.Size
    shared: nn.Parameter  # the copy's: a DTensor
    own: nn.Parameter  # this rank's part of it, in the same memory: what the optimizer moves
    frozen: Tensor | None  # the leader has its values in the host's memory, where nothing trains it
    trains: bool
    version: int = 0  # how often the gathered values were changed in place

    @torch.no_grad()
    def keep(self, values: Tensor) -> None:
        """Keep this rank's part of the gathered values where a loss has changed them."""
        version = values._version  # noqa: SLF001 - nothing else says that a tensor was changed
        if version != self.version and isinstance(self.shared, DTensor):
            self.own.copy_(_part(values.detach(), self.shared))
        self.version = version

    def gather(self) -> Tensor:
        """Return its values; every rank takes part."""
        return _gathered(self.own.detach(), self.shared)

    def take_gradient(self) -> None:
        """Hand the gradient of this rank's part to the optimizer."""
        gradient, self.shared.grad = self.shared.grad, None
        if isinstance(gradient, DTensor):
            gradient = gradient.to_local()
        elif gradient is not None:
            dist.all_reduce(gradient)
            gradient /= dist.get_world_size()
        self.own.grad = gradient


class ShardedSteps:
    """The objective and the optimizer of a training while its steps are sharded; made on all ranks at once."""

    def __init__(self, state: LoopState) -> None:
        """Take the leader's weights and buffers, and this rank's parts of the weights and moments that it has."""
        self._state = state
        for values in state.objective.state_dict().values():
            dist.broadcast(values, 0)
        whole = dict(state.objective.named_parameters())
        aliases = {id(values): nn.Parameter(values.detach(), values.requires_grad) for values in whole.values()}
        # The buffers are the same tensors in both: steps and measurements move them in place. Rows are not copied.
        attributes = (value for module in state.objective.modules() for value in vars(module).values())
        rows = (value for value in attributes if isinstance(value, Examples))
        in_both: dict[int, Any] = {id(value): value for value in (*state.objective.buffers(), *rows)}
        self.objective: Objective = copy.deepcopy(state.objective, {**in_both, **aliases})
        self.objective.train()
        self._wrapped = BatchLosses(self.objective)
        mesh = DeviceMesh.from_group(dist.group.WORLD, state.device.type)  # type: ignore[arg-type]
        scalars = {values for values in self.objective.parameters() if values.ndim == 0}
        # What is wrapped by itself is gathered for its own forward and backward pass alone, the rest for a whole step.
        units = [] if self.objective.reads_weights else self.objective.backbone.units()
        for module in (*units, self._wrapped):
            fully_shard(module, mesh=mesh, ignored_params=scalars)
        trained = {id(values) for values in self.trained()}
        self._parameters: list[_Parameter] = []
        for name, shared in self.objective.named_parameters():
            values = shared.detach()
            own = nn.Parameter(values.to_local()) if isinstance(values, DTensor) else shared
            trains = id(whole[name]) in trained
            frozen = whole[name].detach().cpu() if dist.get_rank() == 0 and not trains else None
            self._parameters.append(_Parameter(whole[name], whole[name].shape, shared, own, frozen, trains))
        for alias in aliases.values():
            if alias.ndim > 0:  # the copy has other parameters now, and only holds these in memory
                alias.data = alias.new_empty(0)
        self._by_whole = {id(parameter.whole): parameter for parameter in self._parameters}
        self._by_own = {id(parameter.own): parameter for parameter in self._parameters}
        self._shard_optimizer()
        self._gathered = True

    def begin(self, step: int, total: int) -> None:
        """Prepare a step: from here on the objective has no weights until they are gathered."""
        self.objective.begin(step, total)
        if self._gathered:
            for parameter in self._parameters:
                parameter.whole.data = parameter.whole.new_empty(0)
            self._gathered = False

    def losses(self, batch: Batch) -> Losses:
        """Return the losses, (), of the whole batch, of which this rank has the rows of its shard."""
        losses: Losses = self._wrapped(batch)
        # All weights but those of units are still whole. What a loss has written into them, every rank wrote alike.
        for parameter, values in zip(self._parameters, self.objective.parameters(), strict=True):
            if not isinstance(values, DTensor):
                parameter.keep(values)
        return losses

    def take_gradients(self) -> None:
        """Hand the gradients of this rank's parts to the optimizer, once all of a step's rows were computed."""
        for parameter in self._parameters:
            parameter.take_gradient()

    def total_norm(self, parameters: Iterable[Tensor]) -> Tensor:
        """Return the Euclidean norm () of the whole gradients; every rank takes part."""
        rank, norms = dist.get_rank(), torch.zeros(dist.get_world_size(), device=self._state.device)
        gradients = [
            values.grad
            for values in parameters
            if values.grad is not None and (rank == 0 or isinstance(self._by_own[id(values)].shared, DTensor))
        ]
        norms[rank] = torch.nn.utils.get_total_norm(gradients)
        dist.all_reduce(norms)
        norm: Tensor = torch.linalg.vector_norm(norms)
        return norm

    def trained(self) -> Iterator[Tensor]:
        """This rank's parts that the optimizer moves, in its order."""
        return (own for group in self._state.optimizer.param_groups for own in group["params"])

    @property
    def gathered(self) -> bool:
        """Whether the objective has the weights as they are."""
        return self._gathered

    def gather(self) -> None:
        """Gather the weights into the leader's objective; every rank takes part."""
        leads = dist.get_rank() == 0
        for parameter in self._parameters:
            values = parameter.gather() if parameter.trains else parameter.frozen
            if leads and values is not None:
                parameter.whole.data = values.to(self._state.device)
        self._gathered = leads

    def moments(self) -> dict[int, dict[str, Any]]:
        """Gather the optimizer's state, by the numbers of its parameters, on the host; every rank takes part."""
        optimizer = self._state.optimizer
        return {
            number: {
                name: (_gathered(value, self._by_own[id(own)].shared) if _is_cut(value, own) else value).cpu()
                for name, value in optimizer.state[own].items()
            }
            for number, own in enumerate(self.trained())
            if own in optimizer.state
        }

    def end(self, moments: dict[int, dict[str, Any]] | None) -> None:
        """Give the optimizer its parameters back, with `moments`; weights that were not gathered become NaN.

        The moments stay in the host's memory: they might not fit on the device, and no step needs them there.
        """
        optimizer = self._state.optimizer
        optimizer.state = defaultdict(dict)
        number = 0
        for group in optimizer.param_groups:
            group["params"] = [self._by_own[id(own)].whole for own in group["params"]]
            for whole in group["params"]:
                if moments is not None and number in moments:
                    optimizer.state[whole] = moments[number]
                number += 1
        if not self._gathered:
            for parameter in self._parameters:
                values = parameter.frozen
                empty = torch.full(parameter.shape, torch.nan, device=self._state.device)
                parameter.whole.data = empty if values is None else values.to(self._state.device)

    def _shard_optimizer(self) -> None:
        """Let the optimizer move this rank's parts, with its parts of the moments."""
        optimizer = self._state.optimizer
        moments = optimizer.state
        optimizer.state = defaultdict(dict)
        for group in optimizer.param_groups:
            for whole in group["params"]:
                parameter = self._by_whole[id(whole)]
                if whole in moments:
                    optimizer.state[parameter.own] = {
                        name: _part(value, parameter.shared)
                        if _is_cut(value, whole)
                        else value.to(parameter.own.device)
                        for name, value in moments[whole].items()
                    }
            group["params"] = [self._by_whole[id(whole)].own for whole in group["params"]]


def _is_cut(moment: Any, parameter: Tensor) -> bool:
    """Whether a value of the optimizer's state is cut as its parameter is; counts of steps, (), are not."""
    return isinstance(moment, Tensor) and moment.ndim > 0 and moment.shape == parameter.shape


def _part(whole: Tensor, shared: nn.Parameter) -> Tensor:
    """Return this rank's part of a value of a parameter's shape, in memory of its own."""
    if not isinstance(shared, DTensor):
        return whole
    mesh, placements = shared.device_mesh, shared.placements
    return distribute_tensor(whole, mesh, placements, src_data_rank=None).to_local().clone()


def _gathered(own: Tensor, shared: nn.Parameter) -> Tensor:
    """Return the whole of a value of which each rank has its part, as it has of the parameter."""
    if not isinstance(shared, DTensor):
        return own.clone()
    whole = DTensor.from_local(own, shared.device_mesh, shared.placements, shape=shared.shape, stride=shared.stride())
    return whole.full_tensor()
