"""Metrics of collapsing features (N, F): their effective rank, dead units, and what a linear probe reads from them.

    effective rank   exp(- sum_k p_k log p_k),  p_k = s_k / sum_j s_j,  s the singular values of the centred features
                     (Roy and Vetterli, "The effective rank: a measure of effective dimensionality", 2007)

Without labels it predicts how useful the features of joint embeddings are (RankMe: Garrido et al., 2023). There the
features are not centred; here they are, since their mean says nothing about a row, and a large one would hide that
everything else has collapsed.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from app.ml.solvers.ridge import leave_one_out
from app.ml.spec import TargetSpec

_ROUNDING = 1e-6  # relative to the features' size: float32 has seven digits


def effective_rank(features: Tensor) -> float:
    """Return the effective rank, from 1 to min(N - 1, F); 0 where all rows have the same features."""
    values = features.double()
    centred = values - values.mean(0)  # (N, F)
    # X^T X (F, F) and X X^T (N, N) have the same eigenvalues but for zeros, the squares of X's singular values: the
    # smaller matrix is cheaper.
    gram = centred.T @ centred if len(centred) > centred.shape[1] else centred @ centred.T
    singular_values = torch.linalg.eigvalsh(gram).clamp(min=0).sqrt()  # rounding can make an eigenvalue negative
    singular_values = singular_values[singular_values > _ROUNDING * values.norm()]
    if not len(singular_values):
        return 0.0
    shares = singular_values / singular_values.sum()  # p_k, all above 0, so that their logarithm is finite
    return float(torch.exp(-(shares * shares.log()).sum()))


def dead_units(features: Tensor) -> float:
    """Return the share of the features that are the same for every row, but for rounding."""
    low, high = features.amin(0), features.amax(0)
    size = torch.maximum(low.abs(), high.abs())  # (F,): rounding grows with the numbers themselves
    return float((high - low <= _ROUNDING * size).double().mean())


def probe_scores(features: Tensor, labels: Tensor, target: TargetSpec) -> Tensor:
    """Return the scores (N,) of ridge regression on rows (N, F) left out one at a time; NaN where all labels are equal.

    Their mean is the accuracy, or R2. Labels (N,) are all known. Classes are predicted by the largest of K regressions
    onto 0 and 1.
    """
    if bool((labels == labels[:1]).all()):
        return torch.full_like(labels, torch.nan, dtype=torch.float64)
    if target.type == "category":
        indicators = F.one_hot(labels, len(target.classes)).double()  # (N, K)
        return (leave_one_out(features, indicators).argmax(1) == labels).double()
    errors = leave_one_out(features, labels.double()[:, None])[:, 0] - labels  # (N,)
    return 1 - errors.square() / labels.double().var(correction=0)
