"""One training on several devices: the leader decides, and every rank takes each step with a share of its rows.

Rank 0 runs the loop. Before each step it tells the others which rows the step takes; each computes the gradient of its
share; the sum of the gradients, weighted by rows, is that of the whole batch; and each rank moves its own copy of the
weights alike. Whatever else there is (measuring, stopping, saving) is the leader's alone: the others wait for a step.
"""

import os
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor
from torch.optim import Optimizer

from app.ml.interfaces import Losses

_TIMEOUT = timedelta(seconds=120)
_PATIENCE = timedelta(days=30)  # the leader may measure for long; whoever waits for a dead one is killed with it


@dataclass
class Team:
    """All ranks of a training, as one of them sees it."""

    rank: int
    size: int
    orders: dist.ProcessGroup  # on the CPU, however long the next step takes to come
    device: torch.device
    _weight: float = field(default=1.0, init=False)

    @classmethod
    def meet(cls, folder: Path, rank: int, size: int, device: torch.device) -> "Team":
        """Wait for the others in a folder that all see; it must be new for every team."""
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        store = dist.FileStore(str(folder / "meeting"), size)  # type: ignore[attr-defined]
        backend = "nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=_TIMEOUT)
        return cls(rank, size, dist.new_group(backend="gloo", timeout=_PATIENCE), device)

    def share(self, step: int, indices: Tensor | None, rows: int) -> Tensor:
        """Return this rank's part of a step's rows; the leader tells the others to take the step.

        A rank for which none is left computes a row that does not count, so that all have the same losses to add up.
        """
        whole = torch.arange(rows) if indices is None else indices
        if self.rank == 0:
            dist.broadcast(torch.tensor([step, len(whole)]), 0, group=self.orders)
            dist.broadcast(whole.contiguous(), 0, group=self.orders)
        part = whole.tensor_split(self.size)[self.rank]
        self._weight = len(part) / len(whole)
        return part if len(part) else whole[:1]

    def next_order(self) -> tuple[int, Tensor]:
        """Wait until the leader takes a step; return its number and its rows."""
        header = torch.zeros(2, dtype=torch.int64)
        dist.broadcast(header, 0, group=self.orders)
        step, count = header.tolist()
        indices = torch.empty(count, dtype=torch.int64)
        dist.broadcast(indices, 0, group=self.orders)
        return step, indices

    def average(self, optimizer: Optimizer, losses: Losses) -> Losses:
        """Make the gradients, and the losses returned, those of the whole batch."""
        parameters = (parameter for group in optimizer.param_groups for parameter in group["params"])
        mine = [parameter.grad for parameter in parameters if parameter.grad is not None]
        told = torch.stack([value.detach().float() for value in losses.values()])
        flat = torch.cat([told, *(gradient.flatten().float() for gradient in mine)]) * self._weight
        dist.all_reduce(flat)
        told, *whole = torch.split(flat, [len(told), *(gradient.numel() for gradient in mine)])
        for gradient, value in zip(mine, whole, strict=True):
            gradient.copy_(value.view_as(gradient))
        return dict(zip(losses, told.unbind(), strict=True))

    def part(self) -> None:
        """Leave the team."""
        dist.destroy_process_group()


def device_of(rank: int, kind: str) -> torch.device:
    """Return a rank's own device."""
    return torch.device("cuda", rank) if kind == "cuda" else torch.device(kind)
