"""Which task helps which: heads trained alone, in pairs and all together, over HTTP, on five targets of real digits.

200 labelled digits to train on, another 200 in each of four draws; a small convnet from scratch and otherwise defaults;
measured on 1,000 digits that no draw trains on. Three targets are classes: which digit, whether it is even, whether it
is above four. Two are numbers, from the image's moments: how slanted the digit is and how thick its strokes are.
Writes docs/tasks.md.
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

from app.client import Graftwork

Json = dict[str, Any]
Scores = dict[str, float]
TARGET = Path(__file__).parents[1] / "docs" / "tasks.md"
TASKS = ("digit", "even", "above four", "slant", "stroke")
NUMBERS = ("slant", "stroke")
TRAIN, TEST = 200, 1000
BACKBONE = {"kind": "convnet", "channels": [8, 16], "features": 32}


def targets(images: Array, labels: Array) -> Array:
    """The five targets (N, 5)."""
    ink = images / 255.0
    rows, columns = np.mgrid[:28, :28]
    total = ink.sum((1, 2))
    y, x = ((ink * place).sum((1, 2)) / total for place in (rows, columns))
    down, right = rows - y[:, None, None], columns - x[:, None, None]
    slant = (ink * down * right).sum((1, 2)) / (ink * down**2).sum((1, 2))
    dark = images > 127
    inner = dark[:, 1:-1, 1:-1] & dark[:, :-2, 1:-1] & dark[:, 2:, 1:-1] & dark[:, 1:-1, :-2] & dark[:, 1:-1, 2:]
    area, edge = dark.sum((1, 2)), dark.sum((1, 2)) - inner.sum((1, 2))
    return np.stack([labels, labels % 2 == 0, labels > 4, slant, 2 * area / edge], axis=1)


def upload(client: Graftwork, draw: int) -> str:
    """The rows of one draw, and the test rows that all share; returns the dataset's id."""
    images, labels = digits()
    answers = targets(images, labels)
    chosen = np.random.default_rng(draw).choice(np.arange(TEST, len(images)), TRAIN, replace=False)
    rows = np.concatenate([chosen, np.arange(TEST)])
    split = np.array(["train"] * TRAIN + ["test"] * TEST)
    arrays = {"x": images[rows], "y": answers[rows], "split": split}
    types = {f"label{index}": "number" if task in NUMBERS else "category" for index, task in enumerate(TASKS)}
    return str(client.datasets.create(arrays, name=f"tasks-{draw}", types=types, duplicates="keep")["id"])


def train(client: Graftwork, dataset: str, tasks: tuple[str, ...], draw: int) -> Json:
    """Heads for these tasks on one backbone; returns the job's metrics."""
    heads = [
        {"kind": "regressor" if task in NUMBERS else "classifier", "target": f"label{TASKS.index(task)}", "name": task}
        for task in tasks
    ]
    fields: Json = {"heads": heads, "backbone": BACKBONE, "model": None, "training": {"seed": draw}}
    metrics: Json = client.jobs.create(kind="fine_tuning", dataset=dataset, name="tasks", wait=True, **fields)[
        "metrics"
    ]
    return metrics


def scores(metrics: Json) -> Scores:
    """Percent right of each class, percent of the variance explained of each number."""
    return {
        task: 100 * (found["r2"] if task in NUMBERS else found["accuracy"]) for task, found in metrics["heads"].items()
    }


def run(client: Graftwork, draws: int) -> None:
    """Train every combination in every draw; the page is written anew after each."""
    found: dict[tuple[str, ...], list[Scores]] = defaultdict(list)
    told: list[Json] = []  # by the jobs of all tasks: who helps whom
    for draw in range(draws):
        dataset = upload(client, draw)
        for tasks in [*((task,) for task in TASKS), *combinations(TASKS, 2), TASKS]:
            metrics = train(client, dataset, tasks, draw)
            found[tasks].append(scores(metrics))
            print(draw, {task: round(score, 1) for task, score in scores(metrics).items()}, flush=True)
        told.append(metrics["tasks"])
        TARGET.write_text(report(found, told), encoding="utf-8")


def interval(values: list[float]) -> str:
    """The mean over draws, and Student's 95 % interval."""
    if len(values) == 1:
        return f"{values[0]:+.1f}"
    half = float(t.ppf(0.975, len(values) - 1)) * stdev(values) / len(values) ** 0.5
    star = "**" if abs(mean(values)) > half else ""
    return f"{star}{mean(values):+.1f} ± {half:.1f}{star}"


def gains(found: dict[tuple[str, ...], list[Scores]], task: str, with_: tuple[str, ...]) -> list[float]:
    """By draw: how much better a task is with others than alone."""
    together = tuple(other for other in TASKS if other == task or other in with_)
    pairs = zip(found[together], found[task,], strict=True)
    return [ours[task] - alone[task] for ours, alone in pairs]


def report(found: dict[tuple[str, ...], list[Scores]], told: list[Json]) -> str:
    """docs/tasks.md."""
    lines = [
        "# Which task helps which",
        "",
        f"Written by `bench/tasks.py`: {TRAIN} MNIST digits to train on, a convnet of 8 and 16 channels from scratch,",
        f"every head's losses added up, {TEST:,} other digits to measure on; means over {len(told)} draws of the",
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
        cells = ["" if other == task else interval(gains(found, task, (other,))) for other in TASKS]
        alone = mean(one[task] for one in found[task,])
        lines.append(f"| {task} | {alone:.1f} | {' | '.join(cells)} | {interval(gains(found, task, TASKS))} |")
    return "\n".join([*lines, "", *foretold(found, told)]) + "\n"


def foretold(found: dict[tuple[str, ...], list[Scores]], told: list[Json]) -> list[str]:
    """What one training of all tasks says of it: `metrics.tasks` beside the pairs' gains."""
    ahead = {(task, other): mean(one["lookahead"][task][other] for one in told) for task in TASKS for other in TASKS}
    pairs = [pair for pair in ahead if pair[0] != pair[1]]
    measured = [mean(gains(found, task, (other,))) for task, other in pairs]
    rank = spearmanr([ahead[pair] for pair in pairs], measured).statistic
    lines = [
        "What one training of all five tells on its way (`metrics.tasks`): by how many parts in ten thousand the loss",
        "of the row's task falls when the backbone takes a small step for the column's task alone (TAG's lookahead).",
        "",
        f"| task | {' | '.join(TASKS)} |",
        f"|---|{'---|' * len(TASKS)}",
    ]
    lines += [f"| {task} | {' | '.join(f'{1e4 * ahead[task, other]:+.1f}' for other in TASKS)} |" for task in TASKS]
    return [
        *lines,
        "",
        f"Over the {len(pairs)} ordered pairs, the rank correlation of this with the pairs' gains above is {rank:.2f}.",
    ]


def main() -> None:
    """Train all of it and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=4)
    draws = parser.parse_args().draws
    with service() as client:
        run(client, draws)


if __name__ == "__main__":
    main()
