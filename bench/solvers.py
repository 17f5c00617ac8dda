"""Compares the exact solvers of linear heads with scikit-learn's: `python -m bench.solvers [--large]`.

On made-up features whose variance falls from axis to axis, with classes that lie apart on the first of them and a share
of wrong labels: multinomial and binary logistic regression beside `LogisticRegressionCV` (at its usual tolerance), and
ridge regression beside `RidgeCV`. scikit-learn gets the penalties that our path tried, and the same rows held out.

One thread, in turn; CPU seconds are the minimum of the runs; scores are measured on rows that neither learned from.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegressionCV, RidgeCV
from sklearn.metrics import r2_score
from threadpoolctl import threadpool_limits

from app.ml.solvers.basis import is_large
from app.ml.solvers.folds import FOLDS, stratified
from app.ml.solvers.logistic import solve_logistic
from app.ml.solvers.ridge import solve_ridge
from app.ml.solvers.solution import Solution

MAX_RATIO, MAX_DIFFERENCE = 1.5, 0.3  # of CPU seconds, and of points of accuracy or R2
TEST_ROWS = 4000
RUNS, SLOW = 3, 20.0  # what takes longer runs once
WRONG_LABELS = 0.05
INFORMATIVE_AXES, MAX_ROTATED = 64, 512
# Classes (0: ridge regression), rows, features.
SIZES = (
    (2, 60, 16),
    (2, 60, 4096),
    (2, 1000, 384),
    (2, 10_000, 384),
    (2, 100_000, 16),
    (10, 100, 1280),
    (10, 1000, 128),
    (10, 4000, 384),
    (10, 20_000, 64),
    (100, 1000, 16),
    (150, 1500, 384),
    (500, 1500, 64),
    (0, 60, 16),
    (0, 60, 4096),
    (0, 4000, 384),
    (0, 100_000, 16),
)
LARGE = (
    (2, 1000, 4096),
    (2, 100_000, 384),
    (10, 2000, 4096),
    (10, 100_000, 64),
    (500, 5000, 384),
    (500, 20_000, 64),
    (0, 4000, 4096),
    (0, 100_000, 384),
)


@dataclass(frozen=True, slots=True)
class Problem:
    """Rows to learn from and rows to score, features float32 (N, F); classes int64 (N,), or numbers float64 (N,)."""

    features: torch.Tensor
    labels: torch.Tensor
    test_features: torch.Tensor
    test_labels: torch.Tensor


@dataclass(frozen=True, slots=True)
class Result:
    """CPU seconds, the score in points, and the penalty that was chosen."""

    seconds: float
    score: float
    strength: float


def main() -> None:
    """Run every size and print a row for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--large", action="store_true", help="the sizes that take minutes, instead")
    parser.add_argument("--only", type=int, nargs=3, metavar=("CLASSES", "ROWS", "FEATURES"), help="one size")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print("| classes | rows x features | ours, CPU s | scikit-learn | ratio | our score | scikit-learn's | penalties |")
    print("|---|---|---|---|---|---|---|---|")
    misses = 0
    with threadpool_limits(1):
        for size in [arguments.only] if arguments.only else LARGE if arguments.large else SIZES:
            misses += not compare(*size)
    print(f"{misses} rows miss the target of {MAX_RATIO} x the CPU seconds or {MAX_DIFFERENCE} points")


def compare(classes: int, rows: int, width: int) -> bool:
    """Print the row of one size; return whether it meets the targets."""
    problem = classification(classes, rows, width) if classes else regression(rows, width)
    ours, theirs = (ours_logistic, their_logistic) if classes else (ours_ridge, their_ridge)
    solution, first = ours(problem, classes)
    penalties = [score.strength for score in solution.scores]
    results = [[first], [theirs(problem, classes, penalties)]]
    for _ in range(RUNS - 1):
        if results[0][0].seconds + results[1][0].seconds < SLOW:
            results[0].append(ours(problem, classes)[1])
            results[1].append(theirs(problem, classes, penalties))
    mine, other = (min(each, key=lambda result: result.seconds) for each in results)
    ratio = mine.seconds / other.seconds
    same = "same" if np.isclose(mine.strength, other.strength) else f"{mine.strength:.3g}, {other.strength:.3g}"
    print(
        f"| {classes or 'ridge'} | {rows:,} x {width:,} | {mine.seconds:.3f} | {other.seconds:.3f} | {ratio:.2f} "
        f"| {mine.score:.2f} | {other.score:.2f} | {len(penalties)}, {same} |",
        flush=True,
    )
    return ratio <= MAX_RATIO and mine.score >= other.score - MAX_DIFFERENCE


def classification(classes: int, rows: int, width: int) -> Problem:
    """Equally many rows of every class, around centres that are a fixed distance apart."""
    random = torch.Generator().manual_seed(0)
    informative = min(width, INFORMATIVE_AXES)
    total = rows + TEST_ROWS
    centres = torch.randn(classes, informative, generator=random) * (3.2 + np.log10(classes)) / informative**0.5
    labels = (torch.arange(total) % classes)[torch.randperm(total, generator=random)]
    features = torch.randn(total, width, generator=random)
    features[:, :informative] += centres[labels]
    wrong = torch.rand(total, generator=random) < WRONG_LABELS
    labels = torch.where(wrong, torch.randint(classes, (total,), generator=random), labels)
    return divided(features, labels, rows)


def regression(rows: int, width: int) -> Problem:
    """A number that depends on all features, with noise."""
    random = torch.Generator().manual_seed(0)
    features = torch.randn(rows + TEST_ROWS, width, generator=random)
    weight = torch.randn(width, generator=random) / torch.arange(1, width + 1) ** 0.5
    numbers = features @ weight
    numbers = numbers / numbers.std() + 0.5 * torch.randn(len(numbers), generator=random)
    return divided(features, numbers.double(), rows)


def divided(features: torch.Tensor, labels: torch.Tensor, rows: int) -> Problem:
    """Let the variance fall from axis to axis, rotate the first axes, and centre by the first rows."""
    width = features.shape[1]
    features = features * torch.arange(1, width + 1) ** -0.5
    rotated = min(width, MAX_ROTATED)
    rotation = torch.linalg.qr(torch.randn(rotated, rotated, generator=torch.Generator().manual_seed(1)))[0]
    features[:, :rotated] = features[:, :rotated] @ rotation
    features = (features - features[:rows].mean(0)) / features[:rows].std()
    return Problem(features[:rows], labels[:rows], features[rows:], labels[rows:])


def timed(fit: Callable[[], Any]) -> tuple[Any, float]:
    began = time.process_time()
    fitted = fit()
    return fitted, time.process_time() - began


def ours_logistic(problem: Problem, classes: int) -> tuple[Solution, Result]:
    solution, seconds = timed(lambda: solve_logistic(problem.features, problem.labels, torch.ones(classes)))
    outputs = problem.test_features.double() @ solution.weight.double().T + solution.bias.double()
    accuracy = (outputs.argmax(1) == problem.test_labels).double().mean().item()
    return solution, Result(seconds, 100 * accuracy, solution.strength)


def their_logistic(problem: Problem, classes: int, penalties: list[float]) -> Result:
    folds = stratified(problem.labels, FOLDS).numpy()
    count = 1 if is_large(*problem.features.shape) else FOLDS
    held_out = [(np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)) for fold in range(count)]
    # Of two classes scikit-learn penalises the difference of their weights, |w|^2, which is twice what they have each.
    factor = 2 if classes == 2 else 1
    model = LogisticRegressionCV(
        Cs=[factor / penalty for penalty in penalties],
        l1_ratios=(0,),
        cv=held_out,
        scoring="neg_log_loss",
        max_iter=10_000,
        use_legacy_attributes=False,
    )
    features, labels = problem.features.double().numpy(), problem.labels.numpy()
    _, seconds = timed(lambda: model.fit(features, labels))
    predicted = model.predict(problem.test_features.double().numpy())
    accuracy = float((predicted == problem.test_labels.numpy()).mean())
    return Result(seconds, 100 * accuracy, factor / float(np.ravel(model.C_)[0]))


def ours_ridge(problem: Problem, _classes: int) -> tuple[Solution, Result]:
    solution, seconds = timed(lambda: solve_ridge(problem.features, problem.labels[:, None]))
    predicted = problem.test_features.double() @ solution.weight.double().T + solution.bias.double()
    score = r2_score(problem.test_labels.numpy(), predicted[:, 0].numpy())
    return solution, Result(seconds, 100 * score, solution.strength)


def their_ridge(problem: Problem, _classes: int, penalties: list[float]) -> Result:
    features, numbers = problem.features.double().numpy(), problem.labels.numpy()
    model, seconds = timed(lambda: RidgeCV(alphas=penalties).fit(features, numbers))
    score = r2_score(problem.test_labels.numpy(), model.predict(problem.test_features.double().numpy()))
    return Result(seconds, 100 * score, float(model.alpha_))


if __name__ == "__main__":
    main()
