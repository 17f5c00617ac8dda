"""Which rows a step takes: a pure function of seed, epoch and position, so that a checkpoint need not hold an order."""

import hashlib
from collections.abc import Iterator

import torch
from torch import Tensor

from app.ml.data.arrays import ExampleShards
from app.ml.data.stored_rows import WINDOW_SHARDS
from worker.training.events import Note


def epoch_order(rows: int, seed: int, epoch: int, shards: ExampleShards | None = None) -> Tensor:
    """The permutation (rows,) of an epoch.

    Rows of more shards than a window holds are shuffled by shards: the shards, and then the rows of each window. No
    setting and no cache has a say: the same rows follow each other on every machine.
    """
    if shards is None or len(shards.rows) <= WINDOW_SHARDS:
        return torch.randperm(rows, generator=_generator(seed, epoch))
    generator = _generator(seed, epoch)
    windows = [torch.cat([shards.rows[i] for i in window]) for window in _windows(shards, generator)]
    return torch.cat([window[torch.randperm(len(window), generator=generator)] for window in windows])


def notes_on_order(shards: ExampleShards | None) -> tuple[Note, ...]:
    """Say that rows are shuffled by shards, where they are."""
    if shards is None or len(shards.rows) <= WINDOW_SHARDS:
        return ()
    data = {"order": "shuffled by shards", "shards": len(shards.rows), "window": WINDOW_SHARDS}
    message = f"Rows are shuffled by shards: the {len(shards.rows)} shards, and then the rows of each "
    return (Note("training.order", f"{message}{WINDOW_SHARDS} of them, instead of all rows at once.", data),)


def _generator(seed: int, epoch: int) -> torch.Generator:
    """A generator of its own for each epoch: what else is drawn in between cannot change the order of the rows."""
    digest = hashlib.sha256(f"{seed}/{epoch}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)  # seeds are below 2^63


def _windows(shards: ExampleShards, generator: torch.Generator) -> list[list[int]]:
    """The windows of an epoch, each of up to `WINDOW_SHARDS` indices of shards; the first that is drawn of an epoch."""
    order = torch.randperm(len(shards.rows), generator=generator)
    return [window.tolist() for window in torch.split(order, WINDOW_SHARDS)]


def expect_shards(shards: ExampleShards, seed: int, epoch: int, row: int) -> None:
    """Say which shards will be read from the row at place `row` of an epoch's order on, to the next epoch's end."""
    windows = _windows(shards, _generator(seed, epoch))
    while len(windows) > 1 and row >= (size := sum(len(shards.rows[i]) for i in windows[0])):
        windows, row = windows[1:], row - size
    windows += _windows(shards, _generator(seed, epoch + 1))
    shards.files.expect([[shards.numbers[i] for i in window] for window in windows])


def count_batches(rows: int, batch_size: int, least: int = 1) -> int:
    """Return how many batches an epoch has: what is left makes a last one, unless it has fewer than `least` rows."""
    full, left = divmod(rows, batch_size)
    return max(1, full + (left >= least))


def epoch_batches(
    rows: int,
    batch_size: int,
    seed: int,
    epoch: int,
    start: int = 0,
    least: int = 1,
    shards: ExampleShards | None = None,
) -> Iterator[Tensor | None]:
    """Row indices (B,) of an epoch's batches from position `start` on; None means all rows, in their order.

    The last batch holds what is left; fewer than `least` rows join the batch before. A batch of all rows needs no
    order: their mean does not depend on it. The `shards` that rows are read from are said beforehand.
    """
    batches = count_batches(rows, batch_size, least)
    if batches == 1:
        yield from [None] * (1 - start)
        return
    if shards is not None:
        expect_shards(shards, seed, epoch, start * batch_size)
    order = epoch_order(rows, seed, epoch, shards)
    for batch in range(start, batches):
        end = rows if batch == batches - 1 else (batch + 1) * batch_size
        yield order[batch * batch_size : end]
