"""Folds for cross-validation: which part of the rows each row is held out with."""

import torch
from torch import Tensor

FOLDS = 5
NEVER = -1  # held out with none


def stratified(classes: Tensor, folds: int) -> Tensor:
    """A fold (N,) per row, every class spread evenly; the lone row of a class is `NEVER` held out.

    Rows keep their order within a class, shuffled once by a fixed seed: the same labels always get the same folds.
    """
    result = torch.empty_like(classes)
    order = torch.randperm(len(classes), generator=torch.Generator().manual_seed(0)).to(classes.device)
    shuffled = classes[order]
    by_class = order[shuffled.argsort(stable=True)]
    counts = torch.bincount(classes)
    # Counting on over the classes' borders keeps the folds' sizes equal too.
    result[by_class] = torch.arange(len(classes), device=classes.device) % folds
    result[counts[classes] == 1] = NEVER
    return result
