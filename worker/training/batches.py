"""Which rows a step takes: a pure function of seed, epoch and position, so that a checkpoint need not hold an order."""

import hashlib
from collections.abc import Iterator

import torch
from torch import Tensor


def epoch_order(rows: int, seed: int, epoch: int) -> Tensor:
    """The permutation (rows,) of an epoch."""
    # A generator of its own for each epoch: what else is drawn in between cannot change the order of the rows.
    digest = hashlib.sha256(f"{seed}/{epoch}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)  # seeds are below 2^63
    return torch.randperm(rows, generator=generator)


def count_batches(rows: int, batch_size: int, least: int = 1) -> int:
    """Return how many batches an epoch has: what is left makes a last one, unless it has fewer than `least` rows."""
    full, left = divmod(rows, batch_size)
    return max(1, full + (left >= least))


def epoch_batches(
    rows: int, batch_size: int, seed: int, epoch: int, start: int = 0, least: int = 1
) -> Iterator[Tensor | None]:
    """Row indices (B,) of an epoch's batches from position `start` on; None means all rows, in their order.

    The last batch holds what is left; fewer than `least` rows join the batch before. A batch of all rows needs no
    order: their mean does not depend on it.
    """
    batches = count_batches(rows, batch_size, least)
    if batches == 1:
        yield from [None] * (1 - start)
        return
    order = epoch_order(rows, seed, epoch)
    for batch in range(start, batches):
        end = rows if batch == batches - 1 else (batch + 1) * batch_size
        yield order[batch * batch_size : end]
