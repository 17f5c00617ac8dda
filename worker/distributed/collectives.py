"""What the ranks of a training on several devices send each other, by torch.distributed.

Rank 0, the leader, runs the loop. Before each step it broadcasts the step's number and rows to the other ranks; each
rank computes the losses of the whole batch from its own shard (`app.ml.blocks.shards`), DistributedDataParallel
averages the gradients while they are computed, and each rank updates its own copy of the weights; or FSDP2 does both
in parts (`worker.distributed.sharding`). Evaluating, stopping early and saving are the leader's alone: meanwhile the
other ranks wait for the next step, or for their part in what the leader gathers.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import Store  # type: ignore[attr-defined]
from torch.nn.parallel import DistributedDataParallel

from app.ml.blocks.generators import GeneratorStates, generator_states, set_generator_states
from app.ml.blocks.shards import Shard, SharedDraws, sharing
from app.ml.data.arrays import Examples
from app.ml.interfaces import Batch, Losses, Objective
from worker.distributed.batch_losses import BatchLosses
from worker.distributed.sharding import ShardedSteps
from worker.training.state import LoopState

_STEP_TIMEOUT = timedelta(seconds=120)
# The leader may evaluate for long. A rank that waits for a dead leader needs no timeout: it is killed with it.
_CONTROL_TIMEOUT = timedelta(days=30)
_END, _GATHER = -1, -2  # numbers of steps that are none
_PIECE_BYTES = 1 << 24  # of a file that is sent
Gathered = Literal["weights", "moments", "norm"]  # what the leader may ask for between steps
_GATHERED: tuple[Gathered, ...] = ("weights", "moments", "norm")


@dataclass
class Ranks:
    """The ranks of a training, as one of them sees them: a `worker.training.state.StepSharing`."""

    rank: int
    world_size: int
    control: dist.ProcessGroup  # on the CPU: announces steps, however long the next one takes to come
    device: torch.device
    sharded: ShardedSteps | None = field(default=None, init=False)  # from the first step on
    _wrapped: DistributedDataParallel | None = field(default=None, init=False)
    _trained: list[bool] = field(default_factory=list, init=False)  # which of the objective's parameters it wraps

    @classmethod
    def join(
        cls, store: Store, rank: int, world_size: int, device: torch.device, timeout: timedelta = _STEP_TIMEOUT
    ) -> "Ranks":
        """Connect to the other ranks, which join at the same time by a store that none has used before."""
        backend = "nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, store=store, rank=rank, world_size=world_size, timeout=timeout)
        return cls(rank, world_size, dist.new_group(backend="gloo", timeout=_CONTROL_TIMEOUT), device)

    def announce(self, step: int, indices: Tensor | None, rows: int) -> Tensor:
        """Return the rows (B,) of a step on `indices` (B,), None being all `rows`; the leader broadcasts them."""
        batch = torch.arange(rows) if indices is None else indices
        if self.rank == 0:
            # Two messages: the other ranks learn the batch's size first, to make room for its rows.
            dist.broadcast(torch.tensor([step, len(batch)]), 0, group=self.control)
            dist.broadcast(batch.contiguous(), 0, group=self.control)
        return batch

    def announce_end(self) -> None:
        """Let the other ranks end: no step follows."""
        dist.broadcast(torch.tensor([_END, 0]), 0, group=self.control)

    def announced_steps(self) -> Iterator[tuple[int, Tensor]]:
        """Wait for each step that the leader announces and give its number and rows int64 (B,), until the end."""
        while True:
            header = torch.zeros(2, dtype=torch.int64)
            dist.broadcast(header, 0, group=self.control)
            step, count = header.tolist()
            if step == _END:
                return
            if step == _GATHER:
                self._take_part(_GATHERED[count])
                continue
            indices = torch.empty(count, dtype=torch.int64)
            dist.broadcast(indices, 0, group=self.control)
            yield step, indices

    def send(self, content: bytes) -> None:
        """Send bytes from the leader to every other rank."""
        self._broadcast_bytes(len(content), lambda start, end: content[start:end], lambda _: None)

    def receive(self) -> bytes:
        """Receive what the leader sends."""
        received = bytearray()
        self._broadcast_bytes(0, None, received.extend)
        return bytes(received)

    def send_file(self, path: Path) -> None:
        """Send a file's content from the leader to every other rank."""
        with path.open("rb") as file:
            self._broadcast_bytes(path.stat().st_size, lambda start, end: file.read(end - start), lambda _: None)

    def receive_file(self, path: Path) -> None:
        """Write what the leader sends into a file."""
        with path.open("wb") as file:
            self._broadcast_bytes(0, None, file.write)

    def _broadcast_bytes(
        self, size: int, read: Callable[[int, int], bytes] | None, write: Callable[[bytes], object]
    ) -> None:
        """Broadcast `size` bytes in pieces, from a leader that reads them to the others, which write them."""
        total = torch.tensor([size])
        dist.broadcast(total, 0, group=self.control)
        for start in range(0, int(total), _PIECE_BYTES):
            end = min(start + _PIECE_BYTES, int(total))
            if read is not None:
                piece = torch.frombuffer(bytearray(read(start, end)), dtype=torch.uint8)
            else:
                piece = torch.empty(end - start, dtype=torch.uint8)
            dist.broadcast(piece, 0, group=self.control)
            if read is None:
                write(piece.numpy().tobytes())

    def begin(self, state: LoopState, total: int) -> None:
        """Begin a step of `total`: weights and moments are cut into parts before the first one, if they are to be."""
        if self.sharded is None and state.sharded:
            self.sharded = ShardedSteps(state)
        if self.sharded is not None:
            self.sharded.begin(state.progress.step, total)

    def training_loss(self, objective: Objective, examples: Examples, rows: Tensor, *, last: bool) -> Losses:
        """Return the losses, (), of rows (B,), of which this rank computes its shard.

        Their backward pass adds to every rank's gradients; that of the `last` rows of a step averages them.
        """
        draws = SharedDraws(self._leaders_generators(), self.device)
        shard = Shard(self.rank, self.world_size, len(rows), draws)
        torch.manual_seed(self._seed(draws.states, rows))
        try:
            with sharing(shard):
                return self._losses(objective, examples.batch(shard.of(rows)), last=last)
        finally:
            # As in one process: what a checkpoint holds are the generators that all ranks draw from.
            set_generator_states(draws.states, self.device)

    def take_gradients(self) -> None:
        """Hand the averaged gradients of a step to the optimizer; DistributedDataParallel has done so."""
        if self.sharded is not None:
            self.sharded.take_gradients()

    def total_norm(self, parameters: Iterable[Tensor], *, asked: bool) -> Tensor:
        """Return the Euclidean norm () of the gradients; `asked` says that the leader alone asks, between steps."""
        if self.sharded is None:
            return torch.nn.utils.get_total_norm([values.grad for values in parameters if values.grad is not None])
        if asked:
            self._ask("norm")
        return self.sharded.total_norm(parameters)

    def gather(self) -> None:
        """Have the weights as they are in the leader's objective."""
        if self.sharded is not None and not self.sharded.gathered:
            self._ask("weights")
            self.sharded.gather()

    def moments(self) -> dict[int, dict[str, Any]] | None:
        """Return the optimizer's state by the numbers of its parameters, None where the leader's optimizer has it."""
        if self.sharded is None:
            return None
        self._ask("moments")
        return self.sharded.moments()

    def finish(self) -> None:
        """Give objective and optimizer of the leader back what the ranks have in parts."""
        if self.sharded is not None:
            self.gather()
            self.sharded.end(self.moments())
            self.sharded = None

    def leave(self) -> None:
        """Close the connections to the other ranks; the parts that they have are lost, unless `finish` came first."""
        if self.sharded is not None:
            self.sharded.end(None)
        self._wrapped = self.sharded = None
        dist.destroy_process_group()

    def _losses(self, objective: Objective, batch: Batch, *, last: bool) -> Losses:
        if self.sharded is not None:
            return self.sharded.losses(batch)
        wrapped = self._wrap(objective)
        with nullcontext() if last else wrapped.no_sync():
            losses: Losses = wrapped(batch)
        return losses

    def _ask(self, what: Gathered) -> None:
        dist.broadcast(torch.tensor([_GATHER, _GATHERED.index(what)]), 0, group=self.control)

    def _take_part(self, what: Gathered) -> None:
        """Take part in what the leader asks for; the answer is the leader's."""
        assert self.sharded is not None, "only parts are gathered"
        if what == "weights":
            self.sharded.gather()
        elif what == "moments":
            self.sharded.moments()
        else:
            self.sharded.total_norm(self.sharded.trained())

    def _wrap(self, objective: Objective) -> DistributedDataParallel:
        """Wrap the objective, anew where other parameters train than before (a stage was unfrozen).

        So every parameter that is waited for takes part in every step. The first time all ranks get the leader's
        weights and buffers: it may have solved for heads since it started them.
        """
        trained = [parameter.requires_grad for parameter in objective.parameters()]
        if self._wrapped is None or trained != self._trained:
            first = self._wrapped is None
            self._wrapped = DistributedDataParallel(
                BatchLosses(objective), init_sync=first, gradient_as_bucket_view=True
            )
            self._wrapped.broadcast_buffers = False  # before every step: what moves them is the same on every rank
            self._trained = trained
        return self._wrapped

    def _leaders_generators(self) -> GeneratorStates:
        """The states of the leader's random generators, which may have drawn between two steps."""
        states = generator_states(self.device)
        for state in states.values():
            dist.broadcast(state, 0, group=self.control)
        return states

    def _seed(self, states: GeneratorStates, rows: Tensor) -> int:
        """A seed of this rank's own for these rows of this step, as resumed runs have it again: for dropout."""
        digest = hashlib.sha256(bytes([self.rank]))
        for part in (*states.values(), rows):
            digest.update(part.cpu().numpy().tobytes())
        return int.from_bytes(digest.digest()[:8], "little") >> 1
