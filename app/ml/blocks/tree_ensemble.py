"""An ensemble of decision trees as tensors: every tree of a row takes a step down at once."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from app.ml.blocks.arrays import Array, ArrayLayer, HasArrayLayer
from app.ml.blocks.sized import Sized
from app.ml.solvers.trees import NodeTable

MAX_NODES = 1 << 25
MAX_DEPTH = 64
_MAX_NUMBERS = 1 << 21  # of the rows of a block, in all trees: so that many rows take bounded memory


class TreeEnsemble(Sized, HasArrayLayer):
    """(B, F) to (B, K), sums over trees; as `app.ml.solvers.trees.NodeTable` has them. Zeros until it is fitted."""

    feature: Tensor  # (M,), int32
    threshold: Tensor  # (M,)
    left: Tensor  # (M,), int32
    leaf: Tensor  # (M,), int32
    roots: Tensor  # (T,), int32
    values: Tensor  # (L, V)
    base: Tensor  # (K,), float64

    def __init__(self, features: int, outputs: int) -> None:
        super().__init__()
        self.features, self.outputs, self.depth = features, outputs, 0
        for name in ("feature", "left", "leaf", "roots"):
            self.register_buffer(name, torch.zeros(1, dtype=torch.int32))
        self.register_buffer("threshold", torch.zeros(1))
        self.register_buffer("values", torch.zeros(1, outputs))
        self.register_buffer("base", torch.zeros(outputs, dtype=torch.float64))

    def set_table(self, table: NodeTable) -> None:
        """Take trees that were grown."""
        device = self.base.device
        self.depth = depth_of(table, self.features, self.outputs)
        for name, values in table._asdict().items():
            setattr(self, name, torch.from_numpy(values).to(device))

    def check(self, tensors: Mapping[str, Tensor]) -> None:
        """Raise `ValueError` for tensors that are no trees."""
        self._depth_of(tensors)

    def resize(self, tensors: Mapping[str, Tensor]) -> None:
        """Make room for the trees of a file."""
        self.depth = self._depth_of(tensors)
        self.make_room(tensors)

    def _depth_of(self, tensors: Mapping[str, Tensor]) -> int:
        table = NodeTable(**{name: tensors[name].numpy(force=True) for name in NodeTable._fields})
        return depth_of(table, self.features, self.outputs)

    def forward(self, features: Tensor) -> Tensor:
        """(B, F) to (B, K)."""
        if torch.compiler.is_exporting():
            return self._summed(features)
        blocks = torch.split(features, self._rows_per_block)
        return torch.cat([self._summed(block) for block in blocks])

    @property
    def _rows_per_block(self) -> int:
        return max(1, _MAX_NUMBERS // (len(self.roots) * max(4, self.values.shape[1])))

    def _summed(self, features: Tensor) -> Tensor:
        rows, trees = features.shape[0], self.roots.shape[0]
        # Infinity becomes the largest number, which no leaf's threshold is below.
        numbers = torch.nan_to_num(features).float().flatten()
        first = torch.arange(rows, device=features.device)[:, None] * self.features  # of each row among `numbers`
        nodes = self.roots.long()[None].expand(rows, trees)
        for _ in range(self.depth):
            # (B, T): the number that each tree compares next
            compared = numbers[first + self.feature[nodes]]
            nodes = self.left[nodes] + (compared > self.threshold[nodes]).long()
        values = self.values[self.leaf[nodes].long()]  # (B, T, V)
        groups = self.outputs // self.values.shape[1]
        # In float64, so that a row's answer does not depend on the other rows.
        summed = values.view(rows, trees // groups, self.outputs).sum(1, dtype=torch.float64)
        return (summed + self.base).to(features.dtype)

    def array_layer(self) -> ArrayLayer:
        """The same in NumPy, on the CPU."""
        feature, left, leaf, roots = (of.numpy() for of in (self.feature, self.left, self.leaf, self.roots))
        threshold, values, base = (of.numpy() for of in (self.threshold, self.values, self.base))
        groups = self.outputs // values.shape[1]
        step = self._rows_per_block

        def block(rows: Array) -> Array:
            numbers = np.nan_to_num(rows).astype(np.float32, copy=False).reshape(-1)
            first = (np.arange(len(rows)) * self.features)[:, None]
            nodes = np.broadcast_to(roots, (len(rows), len(roots)))
            for _ in range(self.depth):
                compared = numbers.take(first + feature.take(nodes))
                nodes = left.take(nodes) + (compared > threshold.take(nodes))
            chosen = values.take(leaf.take(nodes), axis=0)
            summed = chosen.reshape(len(rows), len(roots) // groups, self.outputs).sum(1, dtype=np.float64)
            summed += base
            answers: Array = summed.astype(np.float32)
            return answers

        def layer(rows: Array) -> Array:
            if len(rows) <= step:
                return block(rows)
            return np.concatenate([block(rows[start : start + step]) for start in range(0, len(rows), step)])

        return layer


def depth_of(table: NodeTable, features: int, outputs: int) -> int:
    """Return how many steps lead from a root to the farthest leaf. Raises `ValueError` for what are no trees."""
    nodes, (leaves, width) = len(table.feature), table.values.shape
    has_shapes = all(len(of) == nodes for of in (table.threshold, table.left, table.leaf)) and len(table.roots) > 0
    if not has_shapes or not 0 < nodes <= MAX_NODES or table.base.shape != (outputs,):
        raise ValueError(_NO_TREES)
    has_groups = width > 0 and outputs % width == 0 and len(table.roots) % (outputs // width) == 0
    inner = table.left != np.arange(nodes)
    children = table.left[inner].astype(np.int64)
    starts = np.concatenate([table.roots, children, children + 1])
    is_sound = (
        has_groups
        and leaves > 0
        and _within(table.feature, features)
        and _within(table.leaf, leaves)
        and _within(starts, nodes)
        # Children come after their parents, and no node is reached in two ways: no path is endless.
        and bool((children > np.flatnonzero(inner)).all())
        and np.bincount(starts).max() == 1
        and bool((table.threshold[~inner] >= np.finfo(np.float32).max).all())
    )
    if not is_sound:
        raise ValueError(_NO_TREES)
    level, depth = table.roots[inner[table.roots]], 0
    while len(level):
        pairs = table.left[level]
        below = np.concatenate([pairs, pairs + 1])
        level, depth = below[inner[below]], depth + 1
    if depth > MAX_DEPTH:
        raise ValueError(_NO_TREES)
    return depth


_NO_TREES = "its table of nodes is not one of trees"


def _within(indices: "np.ndarray[tuple[int, ...], np.dtype[np.integer]]", end: int) -> bool:
    return not len(indices) or bool(indices.min() >= 0 and indices.max() < end)
