"""Measures the verdicts of transfer reports on made-up tables of which it is known what pretraining is worth.

A row has 16 columns of noise; a target is the largest of four random sums of the 24 hidden units of a random network.
The truth of a draw is the gain over the best control, on 10,000 rows of their own, over two other trainings.

    helps      a backbone that has learned three other targets of the same hidden units from 3,000 rows
    more       the same, fine-tuned as a fine-tuning is by default: its strategy is chosen by cross-validation
    fresh      new weights of a wide network, passed off as pretrained, for a target that nothing linear tells and that
               scratch learns worse than a probe of random units: the control `untrained` is just as good
    shuffled   `helps`, but the labels to fine-tune on and to compare on are shuffled: no gain
    folds      the same without test rows: cross-validation over 400 train rows
    hurts      a backbone that has learned a target of three columns, and thrown away what the target needs
"""

import argparse
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scipy.stats import beta

from app.ml.configs.learning import FineTuningConfig, PretrainingConfig
from app.ml.data.arrays import ArrayData
from app.ml.interfaces import Rows
from app.ml.models.bundle import Bundle
from app.ml.resolution.fine_tuning import resolve_fine_tuning
from app.ml.resolution.pretraining import resolve_pretraining
from app.ml.spec import SPLITS, ColumnSpec, DataSpec, Split, TargetSpec
from worker.training.run import Run, prepare
from worker.training.transfer_report.arms import CONTROLS, PRETRAINED, build_arms
from worker.training.transfer_report.controlled_comparison import ControlledComparison

COLUMNS, UNITS, CLASSES = 16, 24, 4
ROWS_OF_TRUTH, TRAININGS_OF_TRUTH = 10_000, 2
MLP: dict[str, Any] = {"kind": "mlp", "hidden": [64, 32]}
WIDE: dict[str, Any] = {"kind": "mlp", "hidden": [256]}
SCRATCH: dict[str, Any] = {"steps": 150, "batch_size": 32}  # it has learned 200 rows by heart by then
PROBE: dict[str, Any] = {"strategy": {"kind": "linear_probe", "layer": "last"}}
CASES: dict[str, dict[str, Any]] = {
    "helps": PROBE,
    "more": {},
    "fresh": PROBE,
    "shuffled": PROBE,
    "folds": PROBE,
    "hurts": PROBE,
}
COLUMN_SPECS = tuple(ColumnSpec(name=f"c{index}", type="number") for index in range(COLUMNS))


class Task:
    """One draw: a hidden network, and rows and targets of it."""

    def __init__(self, draw: int) -> None:
        self.random = np.random.default_rng([draw, 14])
        self.hidden = self.random.normal(size=(COLUMNS, UNITS)) / 2
        others = self.random.normal(size=(3, UNITS, CLASSES))
        # The target is a random mixture of what the three others are the largest of.
        mixture = np.einsum("kuc,kcd->ud", others, self.random.normal(size=(3, CLASSES, CLASSES)))
        self.sums = np.concatenate([mixture[None], others])

    def data(
        self, train: int, test: int, targets: tuple[int, ...], *, columns: int = COLUMNS, even: bool = False
    ) -> ArrayData:
        """Rows with some of the targets, which depend on the first `columns` columns; `even`: of nothing linear."""
        rows = self.random.normal(size=(train + test, COLUMNS)).astype(np.float32)
        sums = rows[:, :columns] @ self.hidden[:columns]
        units = np.abs(sums) if even else np.maximum(sums, 0)
        units -= units.mean(0)
        answers = np.stack([(units @ self.sums[target]).argmax(1) for target in targets], axis=1)
        return _array_data(rows, answers.astype(np.float64), np.repeat([0, 2], [train, test]), targets)


def _array_data(rows: Rows, answers: Rows, split: Rows, targets: tuple[int, ...]) -> ArrayData:
    counts: dict[Split, int] = {name: int((split == code).sum()) for code, name in enumerate(SPLITS)}
    classes = tuple("abcd")
    spec = DataSpec(
        modality="table",
        shape=(COLUMNS,),
        columns=COLUMN_SPECS,
        targets=tuple(TargetSpec(name=f"y{target}", type="category", classes=classes) for target in targets),
        rows=counts,
        labelled={f"y{target}": counts for target in targets},
    )
    return ArrayData(spec, rows, answers, split.astype(np.uint8))


def _trained(run: Run) -> Run:
    for _ in run.train():
        pass
    return run


def _taught(data: ArrayData) -> Bundle:
    """A backbone that has learned all targets of the data."""
    heads = [{"kind": "classifier", "target": target.name} for target in data.spec.targets]
    request = {"heads": heads, "backbone": MLP, "training": {"steps": 800, "batch_size": 64}}
    config = resolve_fine_tuning(FineTuningConfig.model_validate(request), data.spec, None).config
    return _trained(prepare(config, data)).bundle()


def _fresh(data: ArrayData, seed: int) -> Bundle:
    """New weights: a pretraining of one step that hardly moves them."""
    training = {"steps": 1, "seed": 7000 + seed, "optimizer": {"kind": "adamw", "lr": 1e-9}}
    request = {"backbone": WIDE, "method": {"kind": "autoencoder"}, "training": training}
    config = resolve_pretraining(PretrainingConfig.model_validate(request), data.spec).config
    return _trained(prepare(config, data)).bundle()


def draw_case(name: str, draw: int, labels: int, test: int, report: dict[str, Any]) -> dict[str, Any]:
    """The report on one case, and the true gain over the best control."""
    task = Task(draw)
    new_weights = name in ("fresh", "folds")
    rows = (400, 0) if name == "folds" else (400, test) if name == "fresh" else (labels, test)
    data = task.data(*rows, (0,), even=new_weights)
    if new_weights:
        parent = _fresh(data, draw)
    else:
        narrow = {"targets": (1,), "columns": 3} if name == "hurts" else {"targets": (1, 2, 3)}
        parent = _taught(task.data(3000, 0, **narrow))
    if name == "shuffled":
        data.targets[:, 0] = task.random.permutation(data.targets[:, 0])
    heads = [{"kind": "classifier", "target": "y0"}]
    request = {"heads": heads, **CASES[name], "transfer_report": report}
    config = resolve_fine_tuning(FineTuningConfig.model_validate(request), data.spec, parent.manifest).config
    comparison = ControlledComparison(_trained(prepare(config, data, parent=parent)), parent)
    for _ in comparison.run():
        pass
    truth = _true_gain(comparison, parent, task) if name in ("helps", "more") else float("nan")
    return {**comparison.result, "truth": truth}


def _true_gain(comparison: ControlledComparison, parent: Bundle, task: Task) -> float:
    """The mean accuracy of the pretrained arm minus that of the best control, on rows of their own."""
    data, others = comparison.trained.data, task.data(0, ROWS_OF_TRUTH, (0,))
    train = data.split == 0
    rows = np.concatenate([data.inputs[train], others.inputs])
    answers = np.concatenate([data.targets[train], others.targets])
    whole = _array_data(rows, answers, np.repeat([0, 2], [train.sum(), ROWS_OF_TRUTH]), (0,))
    means: dict[str, list[float]] = {}
    for arm in build_arms(comparison.trained, parent):
        for number in range(100, 100 + (1 if arm.deterministic else TRAININGS_OF_TRUTH)):
            scores = {"y0": torch.full((len(rows),), torch.nan, dtype=torch.float64)}
            for _ in arm.train(whole, "test", torch.device("cpu"), number, scores):
                pass
            means.setdefault(arm.name, []).append(scores["y0"].nanmean().item())
    return float(np.mean(means[PRETRAINED]) - max(np.mean(means[name]) for name in CONTROLS))


def interval(count: int, draws: int) -> str:
    """A share with its exact 95 % interval (Clopper and Pearson), in words."""
    low = beta.ppf(0.025, count, draws - count + 1) if count else 0.0
    high = beta.ppf(0.975, count + 1, draws - count) if count < draws else 1.0
    return f"{count} of {draws} ({100 * low:.0f} to {100 * high:.0f} %)"


def main() -> None:
    """Print the verdicts of every case and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=40)
    parser.add_argument("--first", type=int, default=0, help="the first draw")
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES), metavar="CASE")
    parser.add_argument("--labels", type=int, default=150, help="labelled train rows")
    parser.add_argument("--test", type=int, default=3000, help="test rows to compare on")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--worth", type=float, default=0.03, help="true gains of so much and more are counted")
    arguments = parser.parse_args()
    show: Callable[[str], None] = lambda line: print(line, flush=True)  # noqa: E731
    for name in arguments.only:
        results = []
        for draw in range(arguments.first, arguments.first + arguments.draws):
            began = time.process_time()
            result = draw_case(
                name, draw, arguments.labels, arguments.test, {"rounds": arguments.rounds, "scratch": SCRATCH}
            )
            head, taken = result["heads"]["y0"], time.process_time() - began
            results.append((head["verdict"], result["truth"], result["seconds"], head["gain"]["value"]))
            gain = ", ".join(f"{100 * head['gain'][key]:.1f}" for key in ("value", "low", "high"))
            show(
                f"{draw} {name}: {head['verdict']}; {gain} over {head['best_control']}; "
                f"truth {100 * result['truth']:.1f}; {result['rounds']} rounds, {result['seconds']:.1f} CPU s of "
                f"{taken:.0f}; needed {result['needed_seconds']}"
            )
        worth = [verdict for verdict, truth, _, _ in results if truth >= arguments.worth]
        show(f"{name}: {dict(Counter(verdict for verdict, *_ in results))} in {len(results)} draws")
        show(f"  helps: {interval(sum(verdict == 'helps' for verdict, *_ in results), len(results))}")
        if worth:
            found = interval(sum(verdict == "helps" for verdict in worth), len(worth))
            show(f"  helps where it is worth {100 * arguments.worth:g} points and more: {found}")
        truths = np.array([truth for _, truth, _, _ in results])
        seconds = np.array([taken for _, _, taken, _ in results])
        gains = np.mean([gain for *_, gain in results])
        show(
            f"  gain {100 * gains:.1f}, truth {100 * truths.mean():.1f}; CPU s {np.median(seconds):.1f}, "
            f"at most {seconds.max():.1f}"
        )


if __name__ == "__main__":
    main()
