"""Temperature scaling: one number, learned on validation rows, makes a classifier's probabilities honest.

p = softmax(z / T), with T where the log loss of rows that were not trained on is least (Guo et al., "On calibration of
modern neural networks", 2017). In b = 1 / T that is convex. (b - 1)^2 / 2 is added to the summed loss, in nats: what
few rows cannot know stays 1, and rows that are all answered rightly do not make it infinite.
"""

from torch import Tensor

MIN_ROWS = 50
_MAX_ROWS = 50_000
_MIN, _MAX = 1e-3, 1e3  # of b
_STEPS, _TOLERANCE = 60, 1e-10


def fitted_temperature(logits: Tensor, truth: Tensor) -> float:
    """T for logits (N, K) of rows of known classes (N,); 1 for fewer than 50 rows."""
    if len(truth) < MIN_ROWS:
        return 1.0
    logits, truth = logits[:_MAX_ROWS].double(), truth[:_MAX_ROWS]
    low, high, found = _MIN, _MAX, 1.0
    for _ in range(_STEPS):
        slope, curvature = _derivatives(logits, truth, found)
        low, high = (low, found) if slope > 0 else (found, high)
        step = found - slope / curvature
        step = step if low < step < high else (low * high) ** 0.5  # where Newton's leaves the bracket, halve that
        if abs(step - found) < _TOLERANCE * found:
            break
        found = step
    return 1 / found


def _derivatives(logits: Tensor, truth: Tensor, inverse: float) -> tuple[float, float]:
    """First and second derivative of the summed loss by b: mean and variance of the logits under the answers."""
    probabilities = (logits * inverse).softmax(1)
    means = (probabilities * logits).sum(1)
    of_truth = logits.gather(1, truth[:, None])[:, 0]
    variances = (probabilities * (logits - means[:, None]) ** 2).sum(1)
    return (means - of_truth).sum().item() + inverse - 1, variances.sum().item() + 1
