"""Nearest neighbours: a row is answered as the train rows that are like it were, the nearer ones more.

    w_n = softmax_n(- s d_n^2 / h^2),   h the distance to the k-th nearest row

Every train row counts, by how far off it is in units of h, which adapts to how dense the rows are (a balloon estimator:
Terrell and Scott, "Variable kernel density estimation", 1992). So an answer changes smoothly with the row, where
counting k rows would jump whenever two of them change places. The sharpness s and k are those that answer the train
rows best when each is left out. Of classes the raw output is log((1 - e) p + e / K), e by the same rows' log loss: so
no share is 0.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from app.ml.blocks.arrays import Array, ArrayLayer, HasArrayLayer
from app.ml.blocks.sized import Sized
from app.ml.errors import ConfigError
from app.ml.fields import Integer
from app.ml.kinds.estimators.base import Estimator, EstimatorConfig, EstimatorContext
from app.ml.solvers.solution import EstimatorFit

MAX_ROWS = 20_000
_MAX_NUMBERS = 1 << 26  # that are kept: 256 MiB
_NEIGHBOURS = (1, 3, 10, 30)
_SHARPNESS = (1.0, 4.0, 16.0)
_DOUBTS = (0.5, 0.25, 0.1, 0.05, 0.02, 0.01)  # of e
_MAX_LEFT_OUT = 1 << 23  # distances of rows that are left out
_BLOCK = 1 << 22  # distances of the rows that are answered at once
_TINY = 1e-30
_FAR = 1e15  # a number farther out would have no finite square in float32

Neighbours = Annotated[Integer, Field(ge=1, le=1_000)]


class NearestNeighbours(EstimatorConfig):
    """Answer as the nearest train rows were."""

    kind: Literal["nearest_neighbours"] = "nearest_neighbours"
    neighbours: Literal["best"] | Neighbours = Field(
        "best",
        description="Rows within the distance that others are measured by; best: 1, 3, 10 or 30, by leaving rows out.",
    )

    def check(self, context: EstimatorContext) -> None:
        """Raise `ConfigError` where the rows are too many to keep."""
        if context.rows > MAX_ROWS:
            msg = f"{context.rows} labelled train rows are more than the {MAX_ROWS} that it keeps: choose boosted_trees"
            raise ConfigError(("kind",), msg)

    def build_classifier(self, features: int, classes: int) -> "NeighboursOfClasses":
        """Build log shares of classes."""
        return NeighboursOfClasses(self, features, classes, 1)

    def build_regressor(self, features: int, targets: int) -> "NeighboursOfNumbers":
        """Build numbers."""
        return NeighboursOfNumbers(self, features, targets, targets)

    def seconds(self, rows: int, features: int, outputs: int) -> float:
        """Roughly what was measured on an idle core: a busy one takes several times as long."""
        distances = min(rows * rows, _MAX_LEFT_OUT)
        return 5e-3 + distances * (features * 1e-10 + (1e-8 + outputs * 2e-10) * len(_NEIGHBOURS) * len(_SHARPNESS))


class _Neighbours(Sized, HasArrayLayer, Estimator):
    """Means over train rows, (B, F) to (B, K), weighted by nearness; 0 until it is fitted."""

    centre: Tensor  # (F,)
    rows: Tensor  # (N, F), less the centre
    values: Tensor  # (N, K)
    weights: Tensor  # (N, 1) or (N, K): of the values
    scale: Tensor  # (3,), float64: k, s and e

    def __init__(self, config: NearestNeighbours, features: int, outputs: int, weights: int) -> None:
        super().__init__()
        self.config, self.outputs, self.neighbours = config, outputs, 1
        self.register_buffer("centre", torch.zeros(features))
        self.register_buffer("rows", torch.zeros(1, features))
        self.register_buffer("values", torch.zeros(1, outputs))
        self.register_buffer("weights", torch.ones(1, weights))
        self.register_buffer("scale", torch.tensor([1.0, 1.0, 1.0], dtype=torch.float64))

    def check(self, tensors: Mapping[str, Tensor]) -> None:
        """Raise `ValueError` for rows that do not belong together."""
        rows, scale = len(tensors["rows"]), tensors["scale"].tolist()
        shapes = {
            "centre": self.centre.shape,
            "rows": (rows, len(self.centre)),
            "values": (rows, self.outputs),
            "weights": (rows, self.weights.shape[1]),
            "scale": (3,),
        }
        has_shapes = all(tuple(tensors[name].shape) == tuple(shape) for name, shape in shapes.items())
        if not has_shapes or not 1 <= scale[0] <= rows or not 0 < scale[1] < np.inf or not 0 <= scale[2] <= 1:
            msg = "its rows do not belong together"
            raise ValueError(msg)

    def resize(self, tensors: Mapping[str, Tensor]) -> None:
        """Make room for the rows of a file."""
        self.check(tensors)
        self.neighbours = int(tensors["scale"][0])
        self.make_room(tensors)

    def forward(self, features: Tensor) -> Tensor:
        """(B, F) to (B, K)."""
        if torch.compiler.is_exporting():
            return self._answers(features)
        return torch.cat([self._answers(block) for block in torch.split(features, self._rows_per_block)])

    @property
    def _rows_per_block(self) -> int:
        return max(1, _BLOCK // len(self.rows))

    def _answers(self, features: Tensor) -> Tensor:
        squares = self._squares(features.float())
        nearness = _nearness(squares, self.neighbours, self.scale[1].float())
        return self._means(nearness).to(features.dtype)

    def _squares(self, features: Tensor) -> Tensor:
        """Squared distances (B, N)."""
        centred = torch.nan_to_num(features).clamp(-_FAR, _FAR) - self.centre
        products = centred @ self.rows.T
        squares = centred.square().sum(1, keepdim=True) + self.rows.square().sum(1) - 2 * products
        return squares.clamp(min=0)

    def _means(self, nearness: Tensor) -> Tensor:
        """Nearness (B, N) to the weighted means of the values, (B, K)."""
        return (nearness @ self.values) / (nearness @ self.weights).clamp(min=_TINY)

    def array_layer(self) -> ArrayLayer:
        """The same in NumPy, on the CPU."""
        centre, rows, values, weights = (of.numpy() for of in (self.centre, self.rows, self.values, self.weights))
        sharpness, position = np.float32(self.scale[1]), self.neighbours - 1
        own = np.square(rows).sum(1)
        step = self._rows_per_block

        def block(features: Array) -> Array:
            centred = np.nan_to_num(features).clip(-_FAR, _FAR) - centre
            squares = np.square(centred).sum(1, keepdims=True) + own - 2 * (centred @ rows.T)
            np.maximum(squares, 0, out=squares)
            width = np.maximum(np.partition(squares, position, axis=1)[:, position : position + 1], _TINY)
            squares -= squares.min(1, keepdims=True)
            squares *= -sharpness / width
            np.exp(squares, out=squares)
            squares /= squares.sum(1, keepdims=True)
            means: Array = (squares @ values) / np.maximum(squares @ weights, np.float32(_TINY))
            return means

        def layer(features: Array) -> Array:
            if len(features) <= step:
                return block(features)
            return np.concatenate([block(features[start : start + step]) for start in range(0, len(features), step)])

        return layer

    def _keep(self, features: Tensor, values: Tensor, weights: Tensor) -> None:
        """Keep rows (n, F) with values (n, K); a row of zeros where there are none."""
        if features.numel() + values.numel() > _MAX_NUMBERS:
            msg = (
                f"{len(features)} rows of {features.shape[1]} features are too many numbers to keep: "
                "choose boosted_trees as the estimator"
            )
            raise ConfigError(("heads",), msg)
        if not len(features):
            features, values, weights = features.new_zeros(1, features.shape[1]), values[:0], weights[:0]
            values, weights = (F.pad(of, (0, 0, 0, 1)) for of in (values, weights))
        self.centre.copy_(features.mean(0))
        self.rows = (features.float() - self.centre).contiguous()
        self.values, self.weights = values.float(), weights.float()

    def _choose(self, neighbours: int, sharpness: float, doubt: float) -> None:
        self.neighbours = neighbours
        self.scale.copy_(torch.tensor([neighbours, sharpness, doubt], dtype=torch.float64))

    def _left_out(self) -> Iterator[tuple[int, float, Tensor]]:
        """Yield k, s and the means (m, K) of the first m rows, each without itself; nothing of a lone row."""
        count = min(len(self.rows), max(1, _MAX_LEFT_OUT // len(self.rows)))
        if len(self.rows) == 1:
            return
        squares = self._squares(self.rows[:count] + self.centre)
        squares.fill_diagonal_(torch.inf)
        chosen = self.config.neighbours
        most = len(self.rows) - 1
        for neighbours in _NEIGHBOURS if chosen == "best" else (min(chosen, most),):
            if neighbours <= most:
                for sharpness in _SHARPNESS:
                    yield neighbours, sharpness, self._means(_nearness(squares, neighbours, torch.tensor(sharpness)))


def _nearness(squares: Tensor, neighbours: int, sharpness: Tensor) -> Tensor:
    """Squared distances (B, N) to weights that add up to 1, (B, N)."""
    width = squares.topk(neighbours, dim=1, largest=False).values[:, -1:].clamp(min=_TINY)
    nearest = squares.amin(1, keepdim=True)
    return (-sharpness * (squares - nearest) / width).softmax(1)


class NeighboursOfClasses(_Neighbours):
    """Logarithms of shares, whose softmax are the shares."""

    def forward(self, features: Tensor) -> Tensor:
        """(B, F) to (B, K)."""
        return self._logits(super().forward(features), self.scale[2].to(features.dtype))

    def _logits(self, shares: Tensor, doubt: Tensor) -> Tensor:
        return ((1 - doubt) * shares + doubt / self.outputs).log()

    def array_layer(self) -> ArrayLayer:
        """The same in NumPy."""
        shares, doubt = super().array_layer(), np.float32(self.scale[2])

        def layer(features: Array) -> Array:
            answers: Array = np.log((1 - doubt) * shares(features) + doubt / np.float32(self.outputs))
            return answers

        return layer

    def fit(self, features: Tensor, target: Tensor, weights: Tensor) -> EstimatorFit:
        """Keep the rows, and choose by those that are left out: most rightly answered, then the least log loss."""
        shares = F.one_hot(target, self.outputs).to(weights) * weights[:, None]
        self._keep(features, shares, weights[:, None])
        best: tuple[float, float] | None = None
        for neighbours, sharpness, means in self._left_out():
            truth = target[: len(means)]
            accuracy = (means.argmax(1) == truth).double().mean().item()
            losses = [(F.nll_loss(self._logits(means, torch.tensor(doubt)), truth).item(), doubt) for doubt in _DOUBTS]
            loss, doubt = min(losses)
            if best is None or (-accuracy, loss) < best:
                best = (-accuracy, loss)
                self._choose(neighbours, sharpness, doubt)
        return _fit(self, None if best is None else best[1])


class NeighboursOfNumbers(_Neighbours):
    """Standardised numbers."""

    def fit(self, features: Tensor, target: Tensor, weights: Tensor) -> EstimatorFit:
        """Keep the rows, and choose by the squared error of those that are left out."""
        known = ~target.isnan()
        self._keep(features, target.nan_to_num(), known.to(target) * weights[:, None])
        best: tuple[float, Tensor] | None = None
        for neighbours, sharpness, means in self._left_out():
            errors = target[: len(means)] - means
            loss = errors.square().nanmean().item()
            if best is None or loss < best[0]:
                best = loss, errors
                self._choose(neighbours, sharpness, 1.0)
        return _fit(self, None, None if best is None else best[1])


def _fit(module: _Neighbours, loss: float | None, left_out: Tensor | None = None) -> EstimatorFit:
    reason = "train rows, each left out, are answered best by so many"
    if module.config.neighbours != "best":
        reason = f"there are no more than {len(module.rows)} rows"
    is_as_given = module.neighbours == module.config.neighbours
    chosen = {} if is_as_given else {"neighbours": (module.neighbours, reason)}
    return EstimatorFit(module.config.kind, {"rows": len(module.rows)}, chosen, loss, left_out)
