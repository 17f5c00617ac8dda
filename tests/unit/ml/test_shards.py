"""Shards of a batch without other processes: which rows a rank has, and what happens where nothing is shared."""

import pytest
import torch

from app.ml.blocks import shards
from app.ml.blocks.generators import generator_states
from app.ml.blocks.shards import Shard, SharedDraws, sharing

CPU = torch.device("cpu")


def shard(rank: int, world_size: int, rows: int) -> Shard:
    return Shard(rank, world_size, rows, SharedDraws(generator_states(CPU), CPU))


@pytest.mark.parametrize(("rows", "world_size"), [(7, 2), (8, 2), (7, 3), (2, 3), (1, 2), (1, 8)])
def test_shards_are_the_batch_in_order(rows: int, world_size: int) -> None:
    batch = torch.arange(rows)
    for rank, expected in enumerate(batch.tensor_split(world_size)):
        part = shard(rank, world_size, rows)
        assert part.size == len(expected)
        assert part.of(batch).tolist() == (expected.tolist() or [0]), "without rows it computes the first one"


def test_ranks_draw_the_numbers_that_their_rows_would_get_in_one_process() -> None:
    values = torch.empty(7, 3, 2).transpose(1, 2)  # laid out otherwise than in order, as images are
    torch.manual_seed(5)
    start = generator_states(CPU)
    alone = torch.rand(7, 2), torch.rand_like(values), torch.randperm(4)
    end = torch.get_rng_state()
    drawn: list[tuple[torch.Tensor, ...]] = []
    for rank in range(2):
        torch.manual_seed(100 + rank)
        part = Shard(rank, 2, 7, SharedDraws(start, CPU))
        own = torch.get_rng_state()
        with sharing(part):
            rows = part.of(values)
            drawn.append(
                (
                    shards.drawn(lambda count: torch.rand(count, 2), len(rows)),
                    shards.drawn_like(torch.rand_like, rows),
                    shards.drawn_together(lambda: torch.randperm(4)),
                )
            )
        assert torch.equal(part.draws.states["cpu"], end)
        assert torch.equal(torch.get_rng_state(), own), "what drops out goes on by itself"
    for place in (0, 1):
        assert torch.equal(torch.cat([of_rank[place] for of_rank in drawn]), alone[place])
    assert all(torch.equal(of_rank[2], alone[2]) for of_rank in drawn)


def test_nothing_is_asked_of_others_where_a_batch_is_not_shared() -> None:
    values = torch.rand(4, 3)
    for same in (shards.total, shards.row_mean, shards.rank_mean, shards.all_rows, shards.own_rows):
        assert same(values) is values
    assert shards.batch_rows(4) == 4
    assert shards.mean_over(torch.tensor(6.0), torch.tensor(0)) == 6
