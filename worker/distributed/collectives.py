"""What the ranks of a training on several devices send each other, by torch.distributed.

Rank 0, the leader, runs the loop. Before each step it broadcasts the step's number and rows to the other ranks; each
rank computes the gradient of its own shard of the rows; one all-reduce sums the gradients, weighted by rows, which is
the gradient of the whole batch; and each rank updates its own copy of the weights with it. Evaluating, stopping early
and saving are the leader's alone: meanwhile the other ranks wait for the next step.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor
from torch.optim import Optimizer

from app.ml.interfaces import Losses

_STEP_TIMEOUT = timedelta(seconds=120)
# The leader may evaluate for long. A rank that waits for a dead leader needs no timeout: it is killed with it.
_CONTROL_TIMEOUT = timedelta(days=30)


@dataclass
class Ranks:
    """The ranks of a training, as one of them sees them: a `worker.training.state.StepSharing`."""

    rank: int
    world_size: int
    control: dist.ProcessGroup  # on the CPU: announces steps, however long the next one takes to come
    device: torch.device
    _weight: float = field(default=1.0, init=False)  # this rank's share of the rows of the current step

    @classmethod
    def join(cls, folder: Path, rank: int, world_size: int, device: torch.device) -> "Ranks":
        """Wait for the other ranks, which meet in a folder that all of them see and that none has used before."""
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        store = dist.FileStore(str(folder / "meeting"), world_size)  # type: ignore[attr-defined]
        backend = "nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, store=store, rank=rank, world_size=world_size, timeout=_STEP_TIMEOUT)
        return cls(rank, world_size, dist.new_group(backend="gloo", timeout=_CONTROL_TIMEOUT), device)

    def shard(self, step: int, indices: Tensor | None, rows: int) -> Tensor:
        """Return this rank's rows (b,) of a step on `indices` (B,), None being all `rows`; the leader announces it.

        A rank that is left without rows (B < world size) computes one whose weight is 0: all ranks must have the same
        losses and gradients to reduce.
        """
        batch = torch.arange(rows) if indices is None else indices
        if self.rank == 0:
            # Two messages: the other ranks learn the batch's size first, to make room for its rows.
            dist.broadcast(torch.tensor([step, len(batch)]), 0, group=self.control)
            dist.broadcast(batch.contiguous(), 0, group=self.control)
        shard = batch.tensor_split(self.world_size)[self.rank]
        self._weight = len(shard) / len(batch)
        return shard if len(shard) else batch[:1]

    def announced_steps(self) -> Iterator[tuple[int, Tensor]]:
        """Wait for each step that the leader announces and give its number and rows int64 (B,); never ends."""
        while True:
            header = torch.zeros(2, dtype=torch.int64)
            dist.broadcast(header, 0, group=self.control)
            step, count = header.tolist()
            indices = torch.empty(count, dtype=torch.int64)
            dist.broadcast(indices, 0, group=self.control)
            yield step, indices

    def average(self, optimizer: Optimizer, losses: Losses) -> Losses:
        """Replace the gradients by those of the whole batch, and return the losses, (), of the whole batch."""
        parameters = (parameter for group in optimizer.param_groups for parameter in group["params"])
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        reported = torch.stack([value.detach().float() for value in losses.values()])
        # One flat vector (L + P,) of L losses and P gradient entries: a single all-reduce costs one latency, not many.
        # Losses are means over rows, so each rank's part is weighted by its share of the rows; the sum is the mean.
        flat = torch.cat([reported, *(gradient.flatten().float() for gradient in gradients)]) * self._weight
        dist.all_reduce(flat)
        reported, *averaged = torch.split(flat, [len(reported), *(gradient.numel() for gradient in gradients)])
        for gradient, value in zip(gradients, averaged, strict=True):
            gradient.copy_(value.view_as(gradient))
        return dict(zip(losses, reported.unbind(), strict=True))

    def leave(self) -> None:
        """Close the connections to the other ranks."""
        dist.destroy_process_group()
