"""A batch that several ranks share: each computes its shard of the rows, and asks here about the whole batch.

Whoever computes a training loss returns one of two things, and both give the gradient of the whole batch:
    a mean over rows  of this rank's rows: nothing has to be done
    anything else     of the whole batch, the same on every rank, by `total`, `mean_over`, `row_mean` and `all_rows`
Random numbers of rows are drawn by `drawn`, others by `drawn_together`: for the whole batch, from the leader's
generators, so that a row gets the numbers that it would get in one process. What draws from torch's generators by
itself (dropout) has numbers of each rank's own.

Outside of a shared batch a rank has all rows: every function gives back what it got, and draws as usual.

The sum has as its gradient the sum of the gradients, as in Li et al., "PyTorch distributed: experiences on accelerating
data parallel training", 2020; every rank takes part in it in the same order.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from app.ml.blocks.generators import GeneratorStates, generator_states, set_generator_states


@dataclass
class SharedDraws:
    """The random numbers that all ranks have in common: torch's global generators, as they stand in the leader."""

    states: GeneratorStates
    device: torch.device

    @contextmanager
    def drawing(self) -> Iterator[None]:
        """Draw from them inside; the rank's own generators stay as they are."""
        own = generator_states(self.device)
        set_generator_states(self.states, self.device)
        try:
            yield
        finally:
            self.states = generator_states(self.device)
            set_generator_states(own, self.device)


@dataclass(frozen=True)
class Shard:
    """A rank's part of a batch of `rows` rows: as equal as can be, in order, larger ones first.

    A rank that is left without rows, since there are fewer than ranks, computes the first one, which then counts 0.
    """

    rank: int
    world_size: int
    rows: int
    draws: SharedDraws

    @property
    def start(self) -> int:
        """The place of its first row in the batch."""
        return self.rank * (self.rows // self.world_size) + min(self.rank, self.rows % self.world_size)

    @property
    def size(self) -> int:
        """How many rows it has."""
        return self.rows // self.world_size + (self.rank < self.rows % self.world_size)

    def of(self, values: Tensor) -> Tensor:
        """Return this rank's (b, ...) of the whole batch's values (B, ...)."""
        return values[self.start : self.start + self.size] if self.size else values[:1]


_current: ContextVar[Shard | None] = ContextVar("shard", default=None)


def is_shared() -> bool:
    """Return whether ranks share the batch that is being computed."""
    return _current.get() is not None


@contextmanager
def sharing(shard: Shard | None) -> Iterator[None]:
    """Compute a loss on this shard inside."""
    token = _current.set(shard)
    try:
        yield
    finally:
        _current.reset(token)


@contextmanager
def sharing_rows(rows: int) -> Iterator[None]:
    """Share another batch of so many rows inside, if a batch is shared at all."""
    shard = _current.get()
    with sharing(shard and replace(shard, rows=rows)):
        yield


def total(values: Tensor) -> Tensor:
    """Sum over the ranks, with gradient; of a rank without rows nothing counts."""
    shard = _current.get()
    if shard is None:
        return values
    return _Sum.apply(values if shard.size else values * 0)  # type: ignore[no-any-return, no-untyped-call]


def mean_over(summed: Tensor, count: Tensor, least: float = 1) -> Tensor:
    """Return `summed` / max(`count`, `least`), () each, of the whole batch."""
    if _current.get() is not None:
        wide = torch.promote_types(summed.dtype, torch.float32)  # bfloat16 could not count beyond 256
        summed, count = total(torch.stack([summed.to(wide), count.to(wide)])).unbind()
    return summed / count.clamp(min=least)


def row_mean(means: Tensor) -> Tensor:
    """Return the mean over the rows of the whole batch of what is a mean over each rank's rows, of any shape."""
    shard = _current.get()
    return means if shard is None else total(means * (shard.size / shard.rows))


def rank_mean(values: Tensor) -> Tensor:
    """Return the mean over the ranks, without gradient: of gradients, which thus are those of the whole batch."""
    shard = _current.get()
    return values if shard is None else _Sum.apply(values.detach()) / shard.world_size  # type: ignore[no-untyped-call]


def all_rows(values: Tensor, views: int = 1) -> Tensor:
    """Return (views * B, ...) of (views * b, ...), with gradient: first the first views of all rows, then the next."""
    shard = _current.get()
    if shard is None:
        return values
    before, after = shard.start, shard.rows - shard.start - shard.size
    parts = []
    for view in values.chunk(views):
        rows = view[: shard.size]
        parts += [rows.new_zeros(before, *rows.shape[1:]), rows, rows.new_zeros(after, *rows.shape[1:])]
    return _Sum.apply(torch.cat(parts))  # type: ignore[no-any-return, no-untyped-call]


def own_rows(values: Tensor) -> Tensor:
    """Return this rank's (b, ...) of what every rank has of the whole batch (B, ...)."""
    shard = _current.get()
    return values if shard is None else shard.of(values)


def batch_rows(rows: int) -> int:
    """Return how many values the whole batch has where this rank's rows have `rows` of them."""
    shard = _current.get()
    return rows if shard is None else rows // max(shard.size, 1) * shard.rows


def drawn(sample: Callable[[int], Tensor], rows: int) -> Tensor:
    """Draw (B, ...) by `sample(B)`, and return those of this rank's `rows` rows (b, ...)."""
    count = batch_rows(rows)
    return own_rows(drawn_together(lambda: sample(count)))


def drawn_like(sample: Callable[[Tensor], Tensor], values: Tensor) -> Tensor:
    """Draw a number for each of the values (b, ...): `sample` is `torch.rand_like`, say."""
    shard = _current.get()
    if shard is None:
        return sample(values)
    # Laid out as the whole batch would be: that decides which number a value gets.
    whole = values.new_empty_strided((shard.rows, *values.shape[1:]), values.stride())
    return own_rows(drawn_together(lambda: sample(whole)))


def drawn_together(sample: Callable[[], Tensor]) -> Tensor:
    """Draw what every rank needs alike; what `sample` draws inside is not shared once more."""
    shard = _current.get()
    if shard is None:
        return sample()
    with shard.draws.drawing(), sharing(None):
        return sample()


class _Sum(torch.autograd.Function):
    """The sum over the ranks, whose gradient is the sum of their gradients; it can be derived again."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        del ctx
        result = values.detach().clone(memory_format=torch.contiguous_format)
        dist.all_reduce(result)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Tensor:
        del ctx
        return _Sum.apply(gradients[0])  # type: ignore[no-any-return, no-untyped-call]
