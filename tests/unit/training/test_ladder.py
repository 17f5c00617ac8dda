"""The ladder of `automatic`: what is tried, what is taken, and what calibrates it."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from app.ml.configs.learning import FineTuningConfig
from app.ml.data.arrays import ArrayData
from app.ml.interfaces import Rows
from app.ml.kinds.heads.regressor import RegressorHead
from app.ml.kinds.strategies.automatic import CandidateName
from app.ml.models.assembly import FineTuning
from app.ml.resolution.candidates import Candidate
from app.ml.resolution.fine_tuning import resolve_fine_tuning
from app.ml.spec import ColumnSpec, DataSpec, TargetSpec
from tests.support import tiny
from worker.training.model_selection.automatic import prepare
from worker.training.model_selection.ladder import Ladder, _is_less_sure, _is_worse, _rungs
from worker.training.model_selection.measurement import Measured
from worker.training.run import Run

CLASSIFY, REGRESS = {"kind": "classifier", "target": "y"}, {"kind": "regressor", "target": "y"}
BRIEF = {"budget_seconds": 2}
SIMPLE = ["nearest_neighbours", "raw", "boosted_trees", "random_forest", "blend"]


def table(x: Rows, y: Rows, train: int, *, classes: tuple[str, ...] = ()) -> ArrayData:
    """Rows of numbers; the first `train` of them to learn from, the others to test."""
    split = np.full(len(x), 2, np.uint8)
    split[:train] = 0
    counts: Any = {"train": train, "validation": 0, "test": len(x) - train}
    spec = DataSpec(
        modality="table",
        shape=(x.shape[1],),
        columns=tuple(ColumnSpec(name=f"c{index}", type="number") for index in range(x.shape[1])),
        targets=(TargetSpec(name="y", type="category" if classes else "number", classes=classes),),
        rows=counts,
        labelled={"y": counts},
    )
    return ArrayData(spec, x.astype(np.float32), y[:, None].astype(float), split)


def lines(train: int = 120) -> ArrayData:
    """Two classes on both sides of a plane, with noise."""
    random = np.random.default_rng(0)
    x = random.normal(size=(train + 300, 6))
    return table(x, x @ [1, -1, 1, 0, 0, 0] + random.normal(size=len(x)) / 2 > 0, train, classes=("below", "above"))


def squares(train: int = 150) -> ArrayData:
    """Two classes by the sign of a product: no plane tells them apart."""
    x = np.random.default_rng(0).uniform(-1, 1, size=(train + 300, 4))
    return table(x, x[:, 0] * x[:, 1] > 0, train, classes=("unlike", "like"))


def fine_tuned(data: ArrayData, head: dict[str, Any], candidates: list[str], **fields: Any) -> Run:
    strategy = {"kind": "automatic", "candidates": candidates, **fields}
    config = FineTuningConfig.model_validate({"heads": [head], "strategy": strategy})
    run = prepare(resolve_fine_tuning(config, data.spec, None).config, data)
    list(run.train())
    return run


def accuracy(run: Run) -> float:
    evaluation = run.evaluate("test")
    assert evaluation is not None
    return float(evaluation.heads["y"]["accuracy"])


def rungs(run: Run) -> dict[str, dict[str, Any]]:
    return {rung["candidate"]: rung for rung in run.ladder()["ladder"]}


def test_what_is_linear_is_learned_by_a_line_and_what_is_not_by_others() -> None:
    line, square = (fine_tuned(data, CLASSIFY, ["raw", "random_forest"]) for data in (lines(), squares()))
    assert rungs(line)["raw"]["score"] > rungs(line)["random_forest"]["score"]
    assert rungs(square)["raw"]["score"] < 0.65 < rungs(square)["random_forest"]["score"]
    alone = fine_tuned(squares(), CLASSIFY, ["raw"])
    assert accuracy(square) > accuracy(alone) + 0.2
    assert accuracy(line) > 0.85


def test_a_few_validation_rows_do_not_calibrate_where_more_were_left_out() -> None:
    data = squares(train=150)
    split = data.split.copy()
    split[150:160] = 1
    labels = data.targets.copy()
    labels[150:160] = 1 - labels[150:160]  # these would make any answer doubtful
    few = replace(data, split=split, targets=labels)
    temperatures = []
    for rows in (data, few):
        objective = fine_tuned(rows, CLASSIFY, ["random_forest", "nearest_neighbours"]).state.objective
        assert isinstance(objective, FineTuning)
        temperatures.append(float(objective.each_head()[0].temperature))  # type: ignore[arg-type]
    assert temperatures[0] == temperatures[1]


def test_few_rows_prove_no_network_better() -> None:
    run = fine_tuned(lines(train=40), CLASSIFY, ["raw", "scratch"])
    assert rungs(run)["scratch"]["score"] is None
    assert "40 rows are too few" in rungs(run)["scratch"]["reason"]
    assert rungs(run)["raw"]["folds"] == 15


def test_a_candidate_that_does_not_fit_the_budget_is_left_out_with_the_reason() -> None:
    run = fine_tuned(lines(), CLASSIFY, ["raw", "scratch"], budget_seconds=0.001)
    assert "it would take" in rungs(run)["scratch"]["reason"]
    assert run.selected is not None
    assert run.selected.candidate == "raw"


def test_answers_to_rows_left_out_calibrate_and_survive_a_checkpoint(tmp_path: Path) -> None:
    run = fine_tuned(squares(), CLASSIFY, ["random_forest", "nearest_neighbours"])
    objective = run.state.objective
    assert isinstance(objective, FineTuning)
    temperature = float(objective.each_head()[0].temperature)  # type: ignore[arg-type]
    assert temperature != 1.0
    run.state.save(tmp_path / "state.safetensors")
    assert run.requested is not None
    again = prepare(run.requested, run.data, selected=run.selected, strategy=run.strategy)
    assert not again.state.held_out
    again.state.load(tmp_path / "state.safetensors")
    list(again.train())
    objective = again.state.objective
    assert isinstance(objective, FineTuning)
    assert float(objective.each_head()[0].temperature) == temperature  # type: ignore[arg-type]
    assert accuracy(again) == accuracy(run)


@pytest.mark.parametrize("candidates", [["raw"], SIMPLE], ids=str)
def test_intervals_hold_what_they_say_without_validation_rows(candidates: list[str]) -> None:
    random = np.random.default_rng(1)
    x = random.normal(size=(700, 5))
    data = table(x, np.sin(2 * x[:, 0]) + x[:, 1] + random.normal(size=700) / 3, 200)
    evaluation = fine_tuned(data, REGRESS, candidates).evaluate("test")
    assert evaluation is not None
    assert 0.82 < evaluation.heads["y"]["coverage"] < 0.97


def test_a_target_of_which_the_logarithm_is_learned_is_not_blended() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(500, 4))
    data = table(x, np.exp(2 * x[:, 0] + random.normal(size=500) / 3), 200)
    run = fine_tuned(data, REGRESS, SIMPLE)
    assert run.selected is not None
    (head,) = run.selected.config.heads
    estimator = getattr(head, "estimator", None)
    members = estimator.members if estimator is not None and estimator.kind == "blend" else ()
    assert all(member.estimator is not None for member in members)
    evaluation = run.evaluate("test")
    assert evaluation is not None
    assert evaluation.heads["y"]["r2"] > 0.5


@pytest.mark.parametrize("modality", tiny.DATASETS)
def test_every_modality_has_a_ladder(modality: str) -> None:
    data = tiny.DATASETS[modality](rows=48)  # type: ignore[index]
    request = {"heads": [{"kind": "classifier", "target": "label"}], "strategy": {"kind": "automatic", **BRIEF}}
    config = resolve_fine_tuning(FineTuningConfig.model_validate(request), data.spec, None).config
    run = prepare(config, data)
    list(run.train())
    tried = [name for name, rung in rungs(run).items() if rung["score"] is not None]
    assert len(tried) >= (1 if modality == "text" else 3)
    assert run.bundle().manifest.backbone == run.config.backbone  # type: ignore[union-attr]


def test_several_heads_share_what_is_chosen() -> None:
    data = tiny.table(rows=64)
    heads = [{"kind": "classifier", "target": "label"}, {"kind": "regressor", "target": "size"}]
    strategy = {"kind": "automatic", "candidates": ["nearest_neighbours", "raw", "blend"]}
    config = FineTuningConfig.model_validate({"heads": heads, "strategy": strategy})
    run = prepare(resolve_fine_tuning(config, data.spec, None).config, data)
    list(run.train())
    assert "blend" not in rungs(run)
    objective = run.state.objective
    assert isinstance(objective, FineTuning)
    assert isinstance(objective.each_head()[1], RegressorHead)


def test_many_rows_are_compared_on_few_first() -> None:
    assert _rungs(1500) == [1500]
    assert _rungs(2000) == [2000]
    assert _rungs(5000) == [1000, 5000]
    assert _rungs(60_000) == [1000, 4000, 16_000]


def measured(name: CandidateName, rows: list[int], scores: list[float], certainties: list[float]) -> Measured:
    candidate = Candidate(name, None, pretrained=False)  # type: ignore[arg-type]
    arrays = np.array(rows), np.array(scores), np.array(certainties)
    return Measured(candidate, *arrays, 0.0, 5, 0.0, {}, None)  # type: ignore[arg-type]


def test_a_difference_is_judged_over_the_rows_that_both_have() -> None:
    rows = list(range(40))
    good, bad = measured("raw", rows, [1.0] * 40, [-1.0] * 40), measured("raw", rows, [1.0, 0.0] * 20, [-1.0, 0.0] * 20)
    assert _is_worse(bad, good, 2.0)
    assert not _is_worse(good, bad, 2.0)
    assert _is_less_sure(good, bad, 2.0)
    assert not _is_less_sure(bad, good, 2.0)
    one_row = measured("raw", rows, [0.0] + [1.0] * 39, [-1.0] * 40)
    assert not _is_worse(one_row, good, 2.0)
    unknown = measured("raw", [0, 1], [torch.nan, torch.nan], [torch.nan, torch.nan])
    assert not _is_worse(unknown, good, 1.0)
    assert not _is_less_sure(unknown, good, 1.0)


@pytest.mark.parametrize(
    ("modality", "right", "sure", "taken"),
    [
        # Rows of 50 that each candidate answers rightly, and how probable it holds every row's class.
        ("series", {"rocket": 35, "random_kernels": 37}, {}, "rocket"),
        ("series", {"rocket": 25, "random_kernels": 37}, {}, "random_kernels"),
        ("series", {"rocket": 35, "random_kernels": 35}, {"rocket": 0.6, "random_kernels": 0.8}, "random_kernels"),
        ("series", {"rocket": 37, "random_kernels": 35}, {"rocket": 0.6, "random_kernels": 0.8}, "rocket"),
        ("series", {"blend": 37, "rocket": 36}, {}, "rocket"),
        ("table", {"blend": 35, "random_forest": 37, "raw": 30}, {}, "blend"),
        ("table", {"blend": 35, "random_forest": 46, "raw": 30}, {}, "random_forest"),
        ("image", {"random_patches": 38, "raw": 30, "blend": 37}, {}, "blend"),
        ("text", {"tfidf": 35, "scratch": 37}, {}, "tfidf"),
        ("table", {"raw": 35, "tabular_resnet": 37}, {}, "raw"),
        ("table", {"raw": 35, "tabular_resnet": 47}, {}, "tabular_resnet"),
        ("table", {"nearest_neighbours": 36, "raw": 35}, {}, "nearest_neighbours"),  # no blend was made
    ],
)
def test_few_rows_take_what_is_usually_best_unless_another_is_proved_better(
    modality: str, right: dict[CandidateName, int], sure: dict[CandidateName, float], taken: str
) -> None:
    rows = list(range(50))
    each_measured = {
        # Not the same rows as the others: of 50, four more may be chance, and eleven more are not.
        name: measured(
            name,
            rows,
            [float((row + 7 * place) % 50 < count) for row in rows],
            [float(np.log(sure.get(name, 0.7)))] * 50,
        )
        for place, (name, count) in enumerate(right.items())
    }
    spec = SimpleNamespace(modality=modality)
    trainer: Any = SimpleNamespace(data=SimpleNamespace(spec=spec))
    ladder = Ladder(None, trainer, 0.0, each_measured)  # type: ignore[arg-type]
    assert ladder._best([each.candidate for each in each_measured.values()]).name == taken
