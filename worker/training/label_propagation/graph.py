"""Labels spread over a graph of nearest neighbours.

Zhou et al., "Learning with local and global consistency", 2004: with W the weights, D their row sums and Y the labels,
    S = D^-1/2 W D^-1/2,    F = (1 - alpha) (I - alpha S)^-1 Y
as the solution of linear equations by conjugate gradients, and soft labels with a certainty (Iscen et al., "Label
propagation for deep semi-supervised learning", 2019)
    q_ik = F_ik / sum_j F_ij,    w_i = 1 - H(q_i) / log K
The columns of F are first scaled to the masses that the classes have of the labels, or further, until every class has
that share of the rows: the volume constraint of PoissonMBO (Calder et al., "Poisson learning", 2020), whose weights
are used too:
    w_ij = exp(-4 |x_i - x_j|^2 / d_i^2),  d_i the distance to i's last neighbour,  W = (w + w') / 2
"""

import torch
from torch import Tensor

from app.ml.data.chunks import each_block

_PAIRS_AT_ONCE = 1 << 26  # distances in memory
_MAX_STEPS, _TOLERANCE = 500, 1e-5
_TINY = 1e-30
_MAX_TURNS, _EVEN = 300, 1e-3  # of the shares
_RATE, _FADING = 0.5, 0.98


def nearest(points: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` nearest others of every point (N, D): indices (N, count) and squared distances, nearest first."""
    squares = points.square().sum(1)
    found = []
    for block in each_block(len(points), max(1, _PAIRS_AT_ONCE // len(points))):
        some = points[block]
        pairs = torch.addmm(squares, some, points.T, alpha=-2) + squares[block, None]
        rows = torch.arange(block.start, block.start + len(some), device=points.device)
        pairs[torch.arange(len(some), device=points.device), rows] = torch.inf
        found.append(pairs.topk(count, largest=False))
    return torch.cat([one.indices for one in found]), torch.cat([one.values for one in found]).clamp(min=0)


def neighbour_graph(points: Tensor, count: int) -> Tensor:
    """S of points (N, D), sparse float64 (N, N); `count` is less than N."""
    others, distances = nearest(points, count)
    farthest = distances[:, -1:].double().clamp(min=_TINY)
    weights = torch.exp(-4 * distances.double() / farthest).flatten() / 2
    rows = torch.arange(len(points), device=points.device).repeat_interleave(count)
    places = torch.stack([torch.cat([rows, others.flatten()]), torch.cat([others.flatten(), rows])])
    shape = (len(points), len(points))
    graph = torch.sparse_coo_tensor(places, weights.repeat(2), shape, check_invariants=False).coalesce()
    scale = torch.sparse.sum(graph, 1).to_dense().rsqrt()
    one, other = graph.indices()
    values = graph.values() * scale[one] * scale[other]
    return torch.sparse_coo_tensor(graph.indices(), values, shape, is_coalesced=True, check_invariants=False)


def spread(graph: Tensor, labels: Tensor, classes: int, alpha: float) -> Tensor:
    """F (N, classes) from labels int64 (N,), -1 where there is none."""
    wanted = torch.zeros(len(labels), classes, dtype=graph.dtype, device=labels.device)
    carriers = (labels >= 0).nonzero()[:, 0]
    wanted[carriers, labels[carriers]] = 1 - alpha
    found, rest = torch.zeros_like(wanted), wanted.clone()
    direction, size = rest.clone(), rest.square().sum(0)
    enough = _TOLERANCE**2 * size
    for _ in range(_MAX_STEPS):
        if bool((size <= enough).all()):
            break
        ahead = direction - alpha * torch.sparse.mm(graph, direction)
        step = size / (direction * ahead).sum(0).clamp(min=_TINY)
        found += step * direction
        rest -= step * ahead
        before, size = size, rest.square().sum(0)
        direction = rest + size / before.clamp(min=_TINY) * direction
    return found.clamp(min=0)


def soft_labels(found: Tensor, labels: Tensor, *, as_labels: bool) -> tuple[Tensor, Tensor]:
    """Shares (N, K) of each class, and certainty (N,), from F; the classes' masses are those of the labels (N,).

    With `as_labels` every class is also the most probable one of as many rows as it has of the labels.
    """
    known = labels[labels >= 0]
    masses = torch.bincount(known, minlength=found.shape[1]).to(found) / len(known)
    reached = found.sum(1) > _TINY
    shares = masses.expand_as(found).clone()
    scaled = found[reached] * masses / found[reached].sum(0).clamp(min=_TINY)
    scaled = balanced(scaled, masses) if as_labels else scaled
    shares[reached] = scaled / scaled.sum(1, keepdim=True)
    entropy = -torch.special.xlogy(shares, shares).sum(1)
    return shares, (1 - entropy / torch.log(torch.tensor(float(found.shape[1])))).clamp(min=0)


def balanced(found: Tensor, masses: Tensor) -> Tensor:
    """F (N, K) with scaled columns, so that about a share `masses` (K,) of its rows is largest in each."""
    scales = torch.ones_like(masses)
    for turn in range(_MAX_TURNS):
        counts = torch.bincount((found * scales).argmax(1), minlength=len(masses)).to(masses)
        gaps = masses - counts / len(found)
        if bool(gaps.abs().max() <= _EVEN):
            break
        scales *= torch.exp(_RATE * _FADING**turn * gaps / masses.clamp(min=_EVEN))
    return found * scales
