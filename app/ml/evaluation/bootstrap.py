"""Bootstrap intervals: of metrics, and of the difference of two models on the same rows.

N rows are drawn out of the N with replacement, again and again (Efron, "Bootstrap methods", 1979); the quantiles of a
metric over these resamples are its interval. On few rows such an interval is too narrow, so that its ends are
the quantiles of a wider level, by which it is as wide as Student's would be: the expanded percentile interval of
Hesterberg, "What teachers should know about the bootstrap", 2015: Phi(-sqrt(n / (n - 1)) t) in each tail.

A difference is paired: both models are measured on the same resample, so that rows which are hard for both cancel out.

Time is bounded: many rows get fewer resamples (200 at least), and beyond that m of the N rows are resampled and the
deviations shrunk by sqrt(m / N), as a mean's are.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, stdtrit

from app.ml.evaluation.interval import LEVEL, Interval, share_interval
from app.ml.evaluation.metric_properties import metric_properties
from app.ml.evaluation.outcomes import Outcomes, Values, Weights

RESAMPLES = 1000
MIN_ROWS = 10  # fewer say nothing about other rows
_MIN_RESAMPLES = 200
_MAX_WORK = 40_000_000  # numbers that are read in all resamples together
_BLOCK = 50_000  # numbers of weights in memory at once

Verdict = Literal["better", "no evidence", "worse"]


@dataclass(frozen=True, slots=True)
class Difference:
    """A metric of the first model minus that of the second, with a confidence interval."""

    difference: float
    interval: Interval
    verdict: Verdict | None  # on the first model; None for a metric without a known direction


def intervals(outcomes: Outcomes, level: float = LEVEL, seed: int = 0) -> dict[str, Interval]:
    """Return an interval of every metric; none on fewer than 10 rows, nor where most resamples leave it undefined.

    Shares of the rows have exact ones.
    """
    estimates = _intervals((outcomes,), lambda pair, weights: pair[0].measure(weights), level, seed)
    bounded = {name: _bounded(name, interval, len(outcomes)) for name, (_, interval) in estimates.items()}
    shares = {name: values[~np.isnan(values)] for name, values in outcomes.shares().items() if name in bounded}
    exact = {name: share_interval(int(values.sum()), len(values), level) for name, values in shares.items()}
    return {**bounded, **exact}


def paired(first: Outcomes, second: Outcomes, level: float = LEVEL, seed: int = 0) -> dict[str, Difference]:
    """Compare two models on the same N rows, given in the same order, in every metric that both have."""
    assert len(first) == len(second)
    estimates = _intervals((first, second), _differences, level, seed)
    return {
        name: Difference(value, interval, _verdict(name, interval)) for name, (value, interval) in estimates.items()
    }


def _differences(pair: tuple[Outcomes, ...], weights: Weights) -> dict[str, Values]:
    first, second = (outcomes.measure(weights) for outcomes in pair)
    return {name: first[name] - second[name] for name in first if name in second}


def _verdict(name: str, where: Interval) -> Verdict | None:
    known = metric_properties(name)
    if known is None or known.direction is None:
        return None
    if where.low <= 0 <= where.high:
        return "no evidence"
    return "better" if (where.low > 0) == (known.direction == "maximize") else "worse"


def _bounded(name: str, interval: Interval, rows: int) -> Interval:
    """Cut at the metric's bounds; where all resamples are at one of them, the interval is as wide as a share's."""
    known = metric_properties(name)
    if known is None:
        return interval
    if (known.least, known.most) == (0, 1) and interval.low == interval.high and interval.low in (0, 1):
        return share_interval(rows if interval.low else 0, rows, interval.level)
    return Interval(max(interval.low, known.least), min(interval.high, known.most), interval.level)


def _intervals(
    outcomes: tuple[Outcomes, ...],
    measure: Callable[[tuple[Outcomes, ...], Weights], dict[str, Values]],
    level: float,
    seed: int,
) -> dict[str, tuple[float, Interval]]:
    """Return value and interval of every metric that is defined."""
    rows, cost = len(outcomes[0]), sum(outcome.cost for outcome in outcomes)
    if rows < MIN_ROWS:
        return {}
    generator = np.random.default_rng(seed)
    whole = measure(outcomes, np.ones((1, rows)))
    part, shrink = whole, 1.0  # the metric on the rows that are resampled, and what deviations are multiplied with
    most = max(MIN_ROWS, _MAX_WORK // (_MIN_RESAMPLES * cost))
    if rows > most:
        # Too many rows: resample a fixed part of m rows. Their means deviate sqrt(N / m) times as far.
        chosen = np.sort(generator.choice(rows, most, replace=False))
        outcomes, shrink = tuple(outcome.take(chosen) for outcome in outcomes), math.sqrt(most / rows)
        part = measure(outcomes, np.ones((1, most)))
    resampled = _resampled(partial(measure, outcomes), min(rows, most), cost, generator)
    tail = _tail(level, rows)
    estimates = {}
    for name, values in resampled.items():
        value, known = float(whole[name][0]), values[np.isfinite(values)]
        if math.isfinite(value) and len(known) * 2 >= len(values):
            # Quantiles of the resamples, then their distances from the part's own value, around the whole's value.
            low, high = np.quantile(known, [tail, 1 - tail])
            low, high = (value + shrink * (float(end) - float(part[name][0])) for end in (low, high))
            estimates[name] = (value, Interval(low, high, level))
    return estimates


def _resampled(
    measure: Callable[[Weights], dict[str, Values]], rows: int, cost: int, generator: np.random.Generator
) -> dict[str, Values]:
    """Measure R resamples; every metric (R,)."""
    count = min(RESAMPLES, max(_MIN_RESAMPLES, _MAX_WORK // (rows * cost)))
    parts = [measure(weights) for weights in _weights(rows, count, generator)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _weights(rows: int, count: int, generator: np.random.Generator) -> Iterator[Weights]:
    """Draw `count` resamples as counts of each row, in blocks (r, rows) that fit into a processor's cache."""
    block = max(1, _BLOCK // rows)
    for start in range(0, count, block):
        size = min(block, count - start)
        drawn: NDArray[np.int64] = generator.integers(0, rows, (size, rows))
        # One bincount for the whole block: row i of it counts in its own range of codes.
        drawn += np.arange(size)[:, None] * rows
        yield np.bincount(drawn.ravel(), minlength=size * rows).reshape(size, rows).astype(np.float64)


def _tail(level: float, rows: int) -> float:
    """The share of resamples below and above an interval over this many rows, by the expanded percentile method."""
    students = stdtrit(rows - 1, (1 + level) / 2)
    return float(ndtr(-math.sqrt(rows / (rows - 1)) * students))
