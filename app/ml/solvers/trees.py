"""Ensembles of decision trees, grown by scikit-learn and handed on as plain arrays.

Gradient boosting is Friedman, "Greedy function approximation: a gradient boosting machine", 2001, on binned features
(Ke et al., "LightGBM", 2017); forests are Geurts et al., "Extremely randomized trees", 2006. A forest that is fitted is
its nodes: `NodeTable` holds all trees in one table, without a class of scikit-learn in it, so that it is kept as
tensors, and answers without scikit-learn.

A row goes from a node to `left` where its feature is at most the threshold, else to `left + 1`. A leaf is its own left
child, below a threshold that no number exceeds. Children come after their parents.

    outputs = base + sum over trees of the values of the leaf that the row ends in
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Codes = NDArray[np.int64]
Indices = NDArray[np.int32]

MAX_FLOAT = np.finfo(np.float32).max
_MAX_DEPTH = 64  # of a tree; what more it could tell apart is noise
_LEAF = -1  # scikit-learn's child of a leaf


class NodeTable(NamedTuple):
    """All trees: M nodes, L leaves, T trees; tree t adds to the outputs t % (K / V) V and the V - 1 after it."""

    feature: Indices  # (M,) that is compared
    threshold: Floats  # (M,)
    left: Indices  # (M,) the left child; the node itself where it is a leaf
    leaf: Indices  # (M,) row of `values`; 0 for other nodes
    roots: Indices  # (T,)
    values: Floats  # (L, V) of the leaves
    base: Doubles  # (K,)


class BoostingSettings(NamedTuple):
    """How trees are boosted."""

    iterations: int
    learning_rate: float
    max_leaves: int
    min_leaf_rows: int
    feature_share: float  # of the features, drawn anew at each split
    l2: float


class ForestSettings(NamedTuple):
    """How a forest is grown."""

    trees: int
    min_leaf_rows: int
    feature_share: float | None  # of the features, drawn anew at each split; None: their root for classes, else all


class _Tree(NamedTuple):
    """One tree as scikit-learn has it; children are -1 at a leaf."""

    feature: NDArray[Any]
    threshold: Doubles
    left: NDArray[Any]
    right: NDArray[Any]
    values: Doubles  # (m, V)


def boost_classes(
    features: Floats, classes: Codes, weights: Doubles, count: int, settings: BoostingSettings, seed: int
) -> NodeTable:
    """Boost trees under the cross-entropy of classes (N,), weighted by (N,), on features (N, F).

    Returns margins of `count` classes, whose softmax are probabilities. A class without rows gets the constant margin
    of half a row. Two classes share a tree: one gets its leaf's half, the other that negated.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier  # noqa: PLC0415 - only what fits needs it

    present, codes = np.unique(classes, return_inverse=True)
    rows = np.bincount(codes, weights) if len(classes) else np.zeros(0)
    base = np.full(count, np.log(0.5 / max(len(classes), 1)))
    base[present] = np.log(np.maximum(rows, 0.5) / max(rows.sum(), 1.0))
    if len(present) <= 1:
        return _table([], count, base)
    model = HistGradientBoostingClassifier(**_boosting(settings), random_state=seed)
    with _one_thread():
        model.fit(features, codes, sample_weight=weights)
    rounds: Sequence[Sequence[Any]] = model._predictors  # noqa: SLF001 - scikit-learn keeps its trees nowhere else
    baseline = np.asarray(model._baseline_prediction).reshape(-1)  # noqa: SLF001 - as above
    # Baselines of present classes are their log shares up to a constant; those of absent ones are brought to it.
    if len(baseline) == 1:
        baseline = np.array([-baseline[0] / 2, baseline[0] / 2])
    base += (baseline - base[present]).mean()
    base[present] = baseline
    trees = []
    for of_round in rounds:
        if len(of_round) == 1:
            tree = _boosted(of_round[0])
            trees.append(tree._replace(values=_placed(np.hstack([-tree.values, tree.values]) / 2, present, count)))
        else:
            by_class = dict(zip(present.tolist(), of_round, strict=True))
            trees += [_boosted(by_class[code]) if code in by_class else _NOTHING for code in range(count)]
    return _table(trees, count if len(rounds[0]) == 1 else 1, base)


def boost_numbers(features: Floats, targets: Doubles, settings: BoostingSettings, seed: int) -> NodeTable:
    """Boost trees under the squared error of targets (N, T), NaN being unknown, on features (N, F)."""
    from sklearn.ensemble import HistGradientBoostingRegressor  # noqa: PLC0415 - only what fits needs it

    def grow(rows: Floats, numbers: Doubles) -> tuple[list[_Tree], float]:
        model = HistGradientBoostingRegressor(**_boosting(settings), random_state=seed)
        with _one_thread():
            model.fit(rows, numbers)
        trees = [_boosted(predictor) for (predictor,) in model._predictors]  # noqa: SLF001 - as above
        return trees, float(np.asarray(model._baseline_prediction).reshape(-1)[0])  # noqa: SLF001 - as above

    return _each_target(features, targets, grow)


def grow_forest_of_classes(
    features: Floats, classes: Codes, weights: Doubles, count: int, settings: ForestSettings, seed: int
) -> NodeTable:
    """Grow trees on classes (N,), weighted by (N,); outputs are shares of `count` classes, smoothed by half a row."""
    from sklearn.ensemble import ExtraTreesClassifier  # noqa: PLC0415 - only what fits needs it

    present, codes = np.unique(classes, return_inverse=True)
    # Half a row of no class in particular: a share of 0, whose logarithm is infinite, is no evidence of that.
    certainty = len(classes) / (len(classes) + 0.5)
    uniform = np.full(count, (1 - certainty) / count)
    if len(present) <= 1:
        uniform[present] += certainty
        return _table([], count, uniform)
    model = ExtraTreesClassifier(**_forest(settings, "sqrt"), random_state=seed)
    model.fit(features, codes, sample_weight=weights)
    trees = [_grown(tree.tree_) for tree in model.estimators_]
    scale = certainty / len(trees)
    placed = [tree._replace(values=_placed(tree.values * scale, present, count)) for tree in trees]
    return _table(placed, count, uniform)


def grow_forest_of_numbers(features: Floats, targets: Doubles, settings: ForestSettings, seed: int) -> NodeTable:
    """Grow trees on targets (N, T), NaN being unknown; outputs are the means over trees."""
    from sklearn.ensemble import ExtraTreesRegressor  # noqa: PLC0415 - only what fits needs it

    def grow(rows: Floats, numbers: Doubles) -> tuple[list[_Tree], float]:
        model = ExtraTreesRegressor(**_forest(settings, 1.0), random_state=seed)
        model.fit(rows, numbers)
        trees = [_grown(tree.tree_) for tree in model.estimators_]
        return [tree._replace(values=tree.values / len(trees)) for tree in trees], 0.0

    return _each_target(features, targets, grow)


def _each_target(
    features: Floats, targets: Doubles, grow: Callable[[Floats, Doubles], tuple[list[_Tree], float]]
) -> NodeTable:
    """An ensemble for each target, from the rows where it is known; the mean of fewer than two."""
    ensembles: list[list[_Tree]] = []
    base = np.zeros(targets.shape[1])
    for index, column in enumerate(targets.T):
        known = np.isfinite(column)
        trees: list[_Tree] = []
        if known.sum() > 1:
            trees, base[index] = grow(features[known], column[known])
        elif known.any():
            base[index] = column[known][0]
        ensembles.append(trees)
    rounds = max(map(len, ensembles))
    padded = [trees + [_NOTHING] * (rounds - len(trees)) for trees in ensembles]
    return _table([tree for of_round in zip(*padded, strict=True) for tree in of_round], 1, base)


def _boosting(settings: BoostingSettings) -> dict[str, Any]:
    """The arguments of scikit-learn."""
    return {
        "max_iter": settings.iterations,
        "learning_rate": settings.learning_rate,
        "max_leaf_nodes": settings.max_leaves,
        "min_samples_leaf": settings.min_leaf_rows,
        "max_features": settings.feature_share,
        "l2_regularization": settings.l2,
        "early_stopping": False,
    }


def _forest(settings: ForestSettings, usual: float | str) -> dict[str, Any]:
    """The arguments of scikit-learn."""
    return {
        "n_estimators": settings.trees,
        "min_samples_leaf": settings.min_leaf_rows,
        "max_features": usual if settings.feature_share is None else settings.feature_share,
        "max_depth": _MAX_DEPTH,
        "n_jobs": 1,
    }


def _one_thread() -> Any:
    """Let scikit-learn use one thread: sums of several would depend on their number."""
    from threadpoolctl import threadpool_limits  # noqa: PLC0415 - only what fits needs it

    return threadpool_limits(1, user_api="openmp")


def _boosted(predictor: Any) -> _Tree:
    nodes = predictor.nodes
    is_leaf = nodes["is_leaf"].astype(bool)
    left, right = (np.where(is_leaf, _LEAF, nodes[side].astype(np.int64)) for side in ("left", "right"))
    return _Tree(nodes["feature_idx"], nodes["num_threshold"], left, right, nodes["value"][:, None])


def _grown(tree: Any) -> _Tree:
    values = tree.value[:, 0, :]  # (m, classes' shares), or (m, 1) of a number
    return _Tree(tree.feature, tree.threshold, tree.children_left, tree.children_right, values)


def _placed(values: Doubles, present: Codes, count: int) -> Doubles:
    """Values (m, classes that are present) in their places among all classes, (m, count)."""
    placed = np.zeros((len(values), count))
    placed[:, present] = values
    return placed


_NOTHING = _Tree(np.zeros(1), np.zeros(1), np.array([_LEAF]), np.array([_LEAF]), np.zeros((1, 1)))


def _table(trees: Sequence[_Tree], width: int, base: Doubles) -> NodeTable:
    """Join trees whose leaves have `width` values; without any there is one that adds nothing."""
    if not trees:
        trees, width = [_NOTHING._replace(values=np.zeros((1, len(base))))], len(base)
    parts = []
    roots = np.zeros(len(trees), dtype=np.int32)
    nodes = leaves = 0
    for index, tree in enumerate(trees):
        part = _breadth_first(tree, nodes, leaves)
        parts.append(part)
        roots[index] = nodes
        nodes += len(part[0])
        leaves += len(part[4])
    feature, threshold, left, leaf, values = (np.concatenate(each) for each in zip(*parts, strict=True))
    assert values.shape[1] == width
    return NodeTable(feature, threshold, left, leaf, roots, values, base)


def _breadth_first(tree: _Tree, node: int, leaf: int) -> tuple[Indices, Floats, Indices, Indices, Floats]:
    """Renumber a tree, from `node` and `leaf` on, level by level: siblings are neighbours, children follow parents."""
    levels = [np.zeros(1, dtype=np.int64)]
    while len(inner := levels[-1][tree.left[levels[-1]] != _LEAF]):
        levels.append(np.stack([tree.left[inner], tree.right[inner]], 1).reshape(-1).astype(np.int64))
    order = np.concatenate(levels)
    is_leaf = tree.left[order] == _LEAF
    count = np.arange(len(order))
    # In this order the children of the i-th inner node are the pair after the first 1 + 2 i nodes.
    first_child = 1 + 2 * (np.cumsum(~is_leaf) - 1)
    left = np.where(is_leaf, count, first_child) + node
    feature = np.where(is_leaf, 0, tree.feature[order])
    threshold = np.where(is_leaf, MAX_FLOAT, _rounded_down(tree.threshold[order]))
    rows = np.where(is_leaf, np.cumsum(is_leaf) - 1 + leaf, 0)
    values = tree.values[order[is_leaf]]
    return (
        feature.astype(np.int32),
        threshold.astype(np.float32),
        left.astype(np.int32),
        rows.astype(np.int32),
        values.astype(np.float32),
    )


def _rounded_down(numbers: Doubles) -> Floats:
    """The largest float32 that is not above each number: a float32 is at most the one where it is at most the other."""
    bounded = np.clip(numbers, -MAX_FLOAT, MAX_FLOAT)
    nearest = bounded.astype(np.float32)
    return np.where(nearest > bounded, np.nextafter(nearest, np.float32(-np.inf)), nearest)
