"""Temperature scaling: a single number, learned on validation rows, calibrates a classifier's probabilities.

p = softmax(z / T), with T where the log loss of rows that were not trained on is least (Guo et al., "On calibration of
modern neural networks", 2017). In b = 1 / T that is convex. (b - 1)^2 / 2 is added to the summed loss, in nats: with
few rows T stays near 1, and it stays finite where every row is answered rightly.
"""

from torch import Tensor

MIN_ROWS = 50
_MAX_ROWS = 50_000
_MIN, _MAX = 1e-3, 1e3  # of b
_STEPS, _TOLERANCE = 60, 1e-10


def fitted_temperature(logits: Tensor, truth: Tensor) -> float:
    """Fit T on logits (N, K) of rows whose classes (N,) are known, by Newton steps in b; 1 for fewer than 50 rows."""
    if len(truth) < MIN_ROWS:
        return 1.0
    logits, truth = logits[:_MAX_ROWS].double(), truth[:_MAX_ROWS]
    low, high, inverse = _MIN, _MAX, 1.0  # b lies in [low, high]
    for _ in range(_STEPS):
        slope, curvature = _derivatives(logits, truth, inverse)
        # The loss is convex in b: a positive slope says that the minimum is below.
        low, high = (low, inverse) if slope > 0 else (inverse, high)
        newton = inverse - slope / curvature
        # A Newton step that leaves the bracket is replaced by a bisection, in logarithms since b spans six decades.
        following = newton if low < newton < high else (low * high) ** 0.5
        if abs(following - inverse) < _TOLERANCE * inverse:
            break
        inverse = following
    return 1 / inverse


def _derivatives(logits: Tensor, truth: Tensor, inverse: float) -> tuple[float, float]:
    """First and second derivative of the summed loss by b: mean and variance of the logits under the answers."""
    probabilities = (logits * inverse).softmax(1)
    # d/db log sum_k e^(b z_k) is the mean of z under p, and the second derivative its variance.
    means = (probabilities * logits).sum(1)
    of_truth = logits.gather(1, truth[:, None])[:, 0]
    variances = (probabilities * (logits - means[:, None]) ** 2).sum(1)
    # The prior (b - 1)^2 / 2 adds b - 1 and 1.
    return (means - of_truth).sum().item() + inverse - 1, variances.sum().item() + 1
