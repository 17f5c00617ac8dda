"""Labels spread over a graph of nearest neighbours.

Zhou et al., "Learning with local and global consistency", 2004: with W the weights, D their row sums and Y the labels,
    S = D^-1/2 W D^-1/2,    F = (1 - alpha) (I - alpha S)^-1 Y
as the solution of linear equations by conjugate gradients, and soft labels with a certainty (Iscen et al., "Label
propagation for deep semi-supervised learning", 2019)
    q_ik = F_ik / sum_j F_ij,    w_i = 1 - H(q_i) / log K
The columns of F are first scaled to the masses that the classes have of the labels, or further, until every class has
about that share of the rows: the volume constraint of PoissonMBO (Calder et al., "Poisson learning", 2020), whose
weights are used too:
    w_ij = exp(-4 |x_i - x_j|^2 / d_i^2),  d_i the distance to i's last neighbour,  W = (w + w') / 2
"""

import torch
from torch import Tensor

from app.ml.data.chunks import each_block

_MAX_PAIRS = 1 << 26  # distances in memory at once
_MAX_STEPS, _TOLERANCE = 500, 1e-5  # of the conjugate gradients; the tolerance is relative to |(1 - alpha) Y|
_TINY = 1e-30
_MAX_ROUNDS, _MAX_DEVIATION = 300, 1e-3  # of the shares of the classes
_RATE, _DECAY = 0.5, 0.98


def nearest(points: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` nearest others of every point (N, D): indices (N, count) and squared distances, nearest first."""
    squares = points.square().sum(1)  # (N,)
    blocks = []
    for block in each_block(len(points), max(1, _MAX_PAIRS // len(points))):
        some = points[block]  # (b, D)
        # |x - y|^2 = |x|^2 - 2 x'y + |y|^2 for all pairs, (b, N): one matrix product instead of b * N differences.
        distances = torch.addmm(squares, some, points.T, alpha=-2) + squares[block, None]
        # A point is not its own neighbour.
        rows = torch.arange(block.start, block.start + len(some), device=points.device)
        distances[torch.arange(len(some), device=points.device), rows] = torch.inf
        blocks.append(distances.topk(count, largest=False))
    indices = torch.cat([block.indices for block in blocks])
    # The identity may round to slightly below 0 for equal points.
    return indices, torch.cat([block.values for block in blocks]).clamp(min=0)


def neighbour_graph(points: Tensor, count: int) -> Tensor:
    """S of points (N, D), sparse float64 (N, N), with `count` < N edges that start at every point."""
    neighbours, distances = nearest(points, count)  # (N, count) each
    # d_i^2 makes the weights independent of the features' scale, and of how dense the points are around i.
    farthest = distances[:, -1:].double().clamp(min=_TINY)
    weights = torch.exp(-4 * distances.double() / farthest).flatten() / 2  # (N * count,)
    rows = torch.arange(len(points), device=points.device).repeat_interleave(count)
    # Each edge is entered in both directions; coalesce() adds up those that both ends started: (w + w') / 2.
    places = torch.stack([torch.cat([rows, neighbours.flatten()]), torch.cat([neighbours.flatten(), rows])])
    shape = (len(points), len(points))
    graph = torch.sparse_coo_tensor(places, weights.repeat(2), shape, check_invariants=False).coalesce()
    # D^-1/2 W D^-1/2, entry by entry. No row sum is 0: the weight of the nearest neighbour is at least exp(-4) / 2.
    scale = torch.sparse.sum(graph, 1).to_dense().rsqrt()
    row, column = graph.indices()
    values = graph.values() * scale[row] * scale[column]
    return torch.sparse_coo_tensor(graph.indices(), values, shape, is_coalesced=True, check_invariants=False)


def spread(graph: Tensor, labels: Tensor, classes: int, alpha: float) -> Tensor:
    """F (N, classes) from S sparse (N, N) and labels int64 (N,), -1 where there is none.

    Solves (I - alpha S) F = (1 - alpha) Y by conjugate gradients. S has eigenvalues within [-1, 1], so that the matrix
    is positive definite for alpha < 1; each step costs one sparse product, and an inverse (N, N) is never formed.
    """
    # The right-hand side (1 - alpha) Y, (N, K): one column a class, all of them solved for side by side.
    right = torch.zeros(len(labels), classes, dtype=graph.dtype, device=labels.device)
    labelled = (labels >= 0).nonzero()[:, 0]
    right[labelled, labels[labelled]] = 1 - alpha
    solution, residual = torch.zeros_like(right), right.clone()
    direction, squared = residual.clone(), residual.square().sum(0)  # (N, K), |r|^2 of each column (K,)
    enough = _TOLERANCE**2 * squared
    for _ in range(_MAX_STEPS):
        if bool((squared <= enough).all()):
            break
        product = direction - alpha * torch.sparse.mm(graph, direction)  # (I - alpha S) p
        # The clamps are for columns that are solved already, or of a class without labels: 0 / 0 becomes 0.
        step = squared / (direction * product).sum(0).clamp(min=_TINY)
        solution += step * direction
        residual -= step * product
        before, squared = squared, residual.square().sum(0)
        direction = residual + squared / before.clamp(min=_TINY) * direction
    # F is a sum of powers of S, which has no negative entry: below 0 there is only rounding.
    return solution.clamp(min=0)


def soft_labels(spread_labels: Tensor, labels: Tensor, within: float | None) -> tuple[Tensor, Tensor]:
    """The shares (N, K) of the classes and a certainty (N,) in [0, 1] for every row, from F (N, K) and labels (N,).

    The classes have the masses that they have among the labels. Unless `within` is None, every class is also the most
    probable one of as large a share of the rows as it has of the labels, to within so many standard errors of that.
    """
    known = labels[labels >= 0]
    masses = torch.bincount(known, minlength=spread_labels.shape[1]).to(spread_labels) / len(known)  # (K,)
    # A row in a part of the graph that no label reaches keeps the masses: its certainty is low or 0.
    reached = spread_labels.sum(1) > _TINY
    shares = masses.expand_as(spread_labels).clone()
    # Each column is scaled to its class's mass: a class whose labels happen to lie centrally would win everywhere.
    scaled = spread_labels[reached] * masses / spread_labels[reached].sum(0).clamp(min=_TINY)
    if within is not None:
        scaled = balanced(scaled, masses, within * (masses * (1 - masses) / len(known)).sqrt())
    shares[reached] = scaled / scaled.sum(1, keepdim=True)
    # 1 - H(q) / log K; xlogy(0, 0) is 0.
    entropy = -torch.special.xlogy(shares, shares).sum(1)
    return shares, (1 - entropy / torch.log(torch.tensor(float(spread_labels.shape[1])))).clamp(min=0)


def balanced(scores: Tensor, masses: Tensor, tolerances: Tensor) -> Tensor:
    """Scores (N, K) with scaled columns, so that each class has the largest score in about its share of `masses` (K,).

    A share may be off by the class's tolerance (K,). A class that wins too few rows is scaled up, by smaller and
    smaller steps: whole rows change sides, so that a constant step would go back and forth for ever.
    """
    scales = torch.ones_like(masses)
    for turn in range(_MAX_ROUNDS):
        counts = torch.bincount((scores * scales).argmax(1), minlength=len(masses)).to(masses)
        differences = masses - counts / len(scores)  # (K,)
        deviations = differences.sign() * (differences.abs() - tolerances).clamp(min=0)
        if bool(deviations.abs().max() <= _MAX_DEVIATION):
            break
        # Relative to the class's mass: a rare class needs as large a factor for a smaller deviation.
        scales *= torch.exp(_RATE * _DECAY**turn * deviations / masses.clamp(min=_MAX_DEVIATION))
    return scores * scales
