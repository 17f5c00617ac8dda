"""The forward pass that ranks share: what DistributedDataParallel and FSDP2 wrap."""

import torch
from torch import nn

from app.ml.blocks.shards import row_mean
from app.ml.interfaces import Batch, Losses, Objective


class BatchLosses(nn.Module):
    """A shard's batch to the losses of the whole batch."""

    def __init__(self, objective: Objective) -> None:
        super().__init__()
        self.objective = objective

    def forward(self, batch: Batch) -> Losses:
        """Return the same losses on every rank, whose gradients on all ranks have the batch's gradient as their mean.

        The mean over rows is a sum over ranks, which weighs uneven shards; its gradient reaches every rank's rows.
        """
        losses = self.objective.training_loss(batch)
        whole = row_mean(torch.stack([value.float() for value in losses.values()]))
        # Copies: FSDP2 waits for the gradients of what it returns, and a view may lose its hooks.
        return {name: value.clone() for name, value in zip(losses, whole.unbind(), strict=True)}
