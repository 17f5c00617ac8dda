"""Measures which task helps which: heads trained alone, in pairs and all together, over HTTP, on real digits.

Each of four draws has 200 labelled digits to train on; the model is a small convnet from scratch, with defaults
otherwise; 1,000 other digits are the test rows of all draws. Three targets are classes: the digit, whether it is even,
whether it is above four. Two are numbers computed from the image: the slant of the digit and the thickness of its
strokes. Writes docs/tasks.md.
"""

import argparse
from collections import defaultdict
from itertools import combinations
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
from digits import Array, digits
from scipy.stats import spearmanr, t
from service import service

from graftwork import Graftwork

Json = dict[str, Any]
Scores = dict[str, float]  # by task
Results = dict[tuple[str, ...], list[Scores]]  # by the tasks trained together, the scores of each draw
TARGET = Path(__file__).parents[1] / "docs" / "tasks.md"
TASKS = ("digit", "even", "above four", "slant", "stroke")
NUMBERS = ("slant", "stroke")
TRAIN, TEST = 200, 1000
BACKBONE = {"kind": "convnet", "channels": [8, 16], "features": 32}


def targets(images: Array, labels: Array) -> Array:
    """Return the five targets (N, 5) of images (N, 28, 28) and labels (N,)."""
    ink = images / 255.0
    rows, columns = np.mgrid[:28, :28]
    total = ink.sum((1, 2))
    # The centre of mass (N,) and the second moments about it: the slant is that of the regression line x(y).
    y, x = ((ink * coordinate).sum((1, 2)) / total for coordinate in (rows, columns))
    down, right = rows - y[:, None, None], columns - x[:, None, None]
    slant = (ink * down * right).sum((1, 2)) / (ink * down**2).sum((1, 2))
    dark = images > 127
    # A stroke of thickness t and length l has area t * l and about 2 * l edge pixels. Inner: all neighbours are dark.
    inner = dark[:, 1:-1, 1:-1] & dark[:, :-2, 1:-1] & dark[:, 2:, 1:-1] & dark[:, 1:-1, :-2] & dark[:, 1:-1, 2:]
    area, edge = dark.sum((1, 2)), dark.sum((1, 2)) - inner.sum((1, 2))
    return np.stack([labels, labels % 2 == 0, labels > 4, slant, 2 * area / edge], axis=1)


def upload(client: Graftwork, draw: int) -> str:
    """Upload the train rows of one draw and the test rows of all draws; return the dataset's id."""
    images, labels = digits()
    values = targets(images, labels)
    train = np.random.default_rng(draw).choice(np.arange(TEST, len(images)), TRAIN, replace=False)
    rows = np.concatenate([train, np.arange(TEST)])
    split = np.array(["train"] * TRAIN + ["test"] * TEST)
    arrays = {"x": images[rows], "y": values[rows], "split": split}
    types = {f"label{index}": "number" if task in NUMBERS else "category" for index, task in enumerate(TASKS)}
    return str(client.datasets.create(arrays, name=f"tasks-{draw}", types=types, duplicates="keep")["id"])


def train(client: Graftwork, dataset: str, tasks: tuple[str, ...], draw: int) -> Json:
    """Train heads for these tasks on one backbone; return the job's metrics."""
    heads = [
        {"kind": "regressor" if task in NUMBERS else "classifier", "target": f"label{TASKS.index(task)}", "name": task}
        for task in tasks
    ]
    fields: Json = {"heads": heads, "backbone": BACKBONE, "model": None, "training": {"seed": draw}}
    job = client.jobs.create(kind="fine_tuning", dataset=dataset, name="tasks", wait=True, **fields)
    metrics: Json = job["metrics"]
    return metrics


def scores(metrics: Json) -> Scores:
    """Return each task's score: accuracy of classes or explained variance of numbers, in percent."""
    return {
        task: 100 * (measured["r2"] if task in NUMBERS else measured["accuracy"])
        for task, measured in metrics["heads"].items()
    }


def run(client: Graftwork, draws: int) -> None:
    """Train every combination of tasks in every draw; write the page after each draw."""
    results: Results = defaultdict(list)
    reports: list[Json] = []  # `metrics.tasks` of the jobs that train all tasks
    for draw in range(draws):
        dataset = upload(client, draw)
        for tasks in [*((task,) for task in TASKS), *combinations(TASKS, 2), TASKS]:
            metrics = train(client, dataset, tasks, draw)
            results[tasks].append(scores(metrics))
            print(draw, {task: round(score, 1) for task, score in scores(metrics).items()}, flush=True)
        reports.append(metrics["tasks"])
        TARGET.write_text(page(results, reports), encoding="utf-8")


def interval(values: list[float]) -> str:
    """Format the mean over draws and Student's 95 % interval; bold if the interval does not hold 0."""
    if len(values) == 1:
        return f"{values[0]:+.1f}"
    half = float(t.ppf(0.975, len(values) - 1)) * stdev(values) / len(values) ** 0.5
    bold = "**" if abs(mean(values)) > half else ""
    return f"{bold}{mean(values):+.1f} ± {half:.1f}{bold}"


def paired_differences(results: Results, task: str, others: tuple[str, ...]) -> list[float]:
    """Return by draw how much higher a task's score is when trained with `others` than alone."""
    trained = tuple(name for name in TASKS if name == task or name in others)
    pairs = zip(results[trained], results[task,], strict=True)
    return [together[task] - alone[task] for together, alone in pairs]


def page(results: Results, reports: list[Json]) -> str:
    """Return the text of docs/tasks.md."""
    lines = [
        "# Which task helps which",
        "",
        f"Written by `bench/tasks.py`: {TRAIN} MNIST digits to train on, a convnet of 8 and 16 channels from scratch,",
        f"every head's losses added up, {TEST:,} other digits to measure on; means over {len(reports)} draws of the",
        "training digits with Student's 95 % intervals, paired by draw. `digit`, `even` and `above four` are classes,",
        "scored by percent right; `slant` and `stroke` (its thickness) are numbers, scored by percent of the variance",
        "explained.",
        "",
        "The task of a row, helped by the task of a column: points gained over training alone, trained as a pair;",
        "last, all five together. Bold: the interval does not hold 0.",
        "",
        f"| task | alone | {' | '.join(f'with {task}' for task in TASKS)} | all five |",
        f"|---|---|{'---|' * len(TASKS)}---|",
    ]
    for task in TASKS:
        cells = ["" if other == task else interval(paired_differences(results, task, (other,))) for other in TASKS]
        alone = mean(score[task] for score in results[task,])
        all_five = interval(paired_differences(results, task, TASKS))
        lines.append(f"| {task} | {alone:.1f} | {' | '.join(cells)} | {all_five} |")
    return "\n".join([*lines, "", *lookahead_section(results, reports)]) + "\n"


def lookahead_section(results: Results, reports: list[Json]) -> list[str]:
    """Return the lines that compare TAG's lookahead, from one training of all tasks, to the measured differences."""
    lookahead = {
        (task, other): mean(report["lookahead"][task][other] for report in reports) for task in TASKS for other in TASKS
    }
    pairs = [pair for pair in lookahead if pair[0] != pair[1]]
    measured = [mean(paired_differences(results, task, (other,))) for task, other in pairs]
    rank = spearmanr([lookahead[pair] for pair in pairs], measured).statistic
    lines = [
        "What one training of all five tells on its way (`metrics.tasks`): by how many parts in ten thousand the loss",
        "of the row's task falls when the backbone takes a small step for the column's task alone (TAG's lookahead).",
        "",
        f"| task | {' | '.join(TASKS)} |",
        f"|---|{'---|' * len(TASKS)}",
    ]
    lines += [f"| {task} | {' | '.join(f'{1e4 * lookahead[task, other]:+.1f}' for other in TASKS)} |" for task in TASKS]
    return [
        *lines,
        "",
        f"Over the {len(pairs)} ordered pairs, the lookahead's rank correlation with the points gained is {rank:.2f}.",
    ]


def main() -> None:
    """Train all combinations and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=4)
    draws = parser.parse_args().draws
    with service() as client:
        run(client, draws)


if __name__ == "__main__":
    main()
