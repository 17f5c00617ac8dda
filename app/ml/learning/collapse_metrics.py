"""What features (N, F) say about themselves: how many directions they use, how many are dead, what a probe reads.

    effective rank   exp(- sum_k p_k log p_k),  p_k = s_k / sum_j s_j,  s the singular values of the centred features
                     (Roy and Vetterli, "The effective rank: a measure of effective dimensionality", 2007)

Without labels it foretells how useful features of joint embeddings are (RankMe: Garrido et al., 2023; there features
are not centred: the mean says nothing about a row, and would hide a collapse of all else).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from app.ml.data.spec import TargetSpec
from app.ml.solvers.ridge import leave_one_out

_ROUNDING = 1e-6  # relative to the features' size: float32 has seven digits


def effective_rank(features: Tensor) -> float:
    """From 1 to min(N - 1, F); 0 where all rows have the same features."""
    values = features.double()
    centred = values - values.mean(0)
    few = centred.T @ centred if len(centred) > centred.shape[1] else centred @ centred.T
    sizes = torch.linalg.eigvalsh(few).clamp(min=0).sqrt()
    sizes = sizes[sizes > _ROUNDING * values.norm()]
    if not len(sizes):
        return 0.0
    shares = sizes / sizes.sum()
    return float(torch.exp(-(shares * shares.log()).sum()))


def dead_units(features: Tensor) -> float:
    """Share of the features that are the same for every row, but for rounding."""
    low, high = features.amin(0), features.amax(0)
    size = torch.maximum(low.abs(), high.abs())
    return float((high - low <= _ROUNDING * size).double().mean())


def probe_score(features: Tensor, labels: Tensor, target: TargetSpec) -> float:
    """Accuracy or R2 of ridge regression on rows (N, F) left out one at a time; NaN where there is nothing to tell.

    Labels (N,) are all known. Classes are answered by the largest of K regressions onto 0 and 1.
    """
    if bool((labels == labels[:1]).all()):
        return float("nan")
    if target.type == "category":
        wanted = F.one_hot(labels, len(target.classes)).double()
        return float((leave_one_out(features, wanted).argmax(1) == labels).double().mean())
    errors = leave_one_out(features, labels.double()[:, None])[:, 0] - labels
    return float(1 - errors.square().mean() / labels.double().var(correction=0))
