"""Fewer points for the same picture: largest triangle three buckets.

Steinarsson, "Downsampling time series for visual representation", University of Iceland, 2013, section 4.2: all points
but the first and the last fall into buckets of equal counts, and of each bucket that point is kept which makes the
largest triangle with the point kept before it and the mean of the next bucket. Peaks stay, which evenly spread points
miss.
"""

import numpy as np
from numpy.typing import NDArray

from app.ml.evaluation.outcomes import Values


def thinned(x: Values, y: Values, count: int) -> NDArray[np.int64]:
    """Return the places of at most `count` >= 5 points of a line, x (N,) and y (N,), in order.

    The first, the last, the lowest and the highest are among them: of a peak up and one down in one bucket, the largest
    triangles alone would keep one.
    """
    if len(x) <= count:
        return np.arange(len(x))
    places = largest_triangles(x, y, count - 2)
    if np.isnan(y).all():
        return places
    return np.unique([*places, np.nanargmin(y), np.nanargmax(y)])


def largest_triangles(x: Values, y: Values, count: int) -> NDArray[np.int64]:
    """Return the places of at most `count` >= 3 points of a line, x (N,) and y (N,), in order.

    The first and the last are among them. NaN in y is a gap: a bucket that holds one keeps its first one, and
    the next its first point.
    """
    if len(x) <= count:
        return np.arange(len(x))
    edges = np.linspace(1, len(x) - 1, count - 1).round().astype(np.int64)  # of count - 2 buckets
    chosen = [0]
    for bucket in range(count - 2):
        start, end = edges[bucket], edges[bucket + 1]
        after = slice(end, edges[bucket + 2]) if bucket < count - 3 else slice(len(x) - 1, None)
        (x_kept, y_kept), x_next, y_next = (x[chosen[-1]], y[chosen[-1]]), x[after].mean(), y[after].mean()
        areas = np.abs((x_kept - x_next) * (y[start:end] - y_kept) - (x_kept - x[start:end]) * (y_next - y_kept))
        chosen.append(int(start + areas.argmax()))  # NaN is the largest to it
    return np.array([*chosen, len(x) - 1])
