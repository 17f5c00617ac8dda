"""Folds for cross-validation: the fold of a row is the round in which it is held out."""

import torch
from torch import Tensor

FOLDS = 5
NEVER = -1  # the fold of a row that is in every round's train rows


def stratified(classes: Tensor, folds: int) -> Tensor:
    """Assign folds 0 .. folds - 1 to classes int64 (N,), each class spread evenly; (N,).

    The only row of a class gets `NEVER`: a round without it could not learn its class.

    Rows keep their order within a class, shuffled once by a fixed seed: the same labels always get the same folds.
    """
    result = torch.empty_like(classes)
    order = torch.randperm(len(classes), generator=torch.Generator().manual_seed(0)).to(classes.device)
    shuffled = classes[order]
    by_class = order[shuffled.argsort(stable=True)]  # row numbers, class after class
    counts = torch.bincount(classes)
    # Dealt out like cards, without starting anew at each class: so the folds are equally large, too.
    result[by_class] = torch.arange(len(classes), device=classes.device) % folds
    result[counts[classes] == 1] = NEVER
    return result
