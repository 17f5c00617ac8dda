"""Refitting: what was solved for learns again from the labelled rows of all splits, once it is measured."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from app.ml.configs.learning import FineTuningConfig
from app.ml.data.arrays import ArrayData
from app.ml.resolution.fine_tuning import resolve_fine_tuning
from app.ml.spec import SPLITS, ColumnSpec, DataSpec, TargetSpec
from worker.training.model_selection.automatic import prepare
from worker.training.refitting import refit
from worker.training.run import Run

CLASSIFY = {"kind": "classifier", "target": "y"}


def table(shares: tuple[float, float, float] = (0.8, 0.1, 0.1), count: int = 200, *, usual: bool = True) -> ArrayData:
    """Two classes on both sides of a plane, with noise; every tenth row has no label."""
    random = np.random.default_rng(0)
    x = random.normal(size=(count, 6)).astype(np.float32)
    y = (x @ [1, -1, 1, 0, 0, 0] + random.normal(size=count) > 0).astype(float)
    split = random.choice(len(SPLITS), size=count, p=shares).astype(np.uint8)
    unlabelled = np.arange(count) % 10 == 0
    y[unlabelled], split[unlabelled] = np.nan, 0
    rows: Any = {name: int((split == code).sum()) for code, name in enumerate(SPLITS)}
    labelled: Any = {name: int(((split == code) & ~unlabelled).sum()) for code, name in enumerate(SPLITS)}
    spec = DataSpec(
        modality="table",
        shape=(6,),
        columns=tuple(ColumnSpec(name=f"c{index}", type="number") for index in range(6)),
        targets=(TargetSpec(name="y", type="category", classes=("below", "above")),),
        rows=rows,
        labelled={"y": labelled},
        usual_splits=usual,
    )
    return ArrayData(spec, x, y[:, None], split)


def trained(data: ArrayData, candidates: tuple[str, ...] = ("raw", "nearest_neighbours"), **strategy: Any) -> Run:
    strategy = {"kind": "automatic", "candidates": candidates, **strategy}
    config = FineTuningConfig.model_validate({"heads": [CLASSIFY], "strategy": strategy})
    run = prepare(resolve_fine_tuning(config, data.spec, None).config, data)
    list(run.train())
    return run


def heads(run: Run) -> dict[str, Any]:
    return {name: tensor.clone() for name, tensor in run.bundle().heads["y"].state_dict().items()}


def test_the_refitted_model_is_the_one_that_all_labelled_rows_as_train_rows_give() -> None:
    data = table(count=400)
    run = trained(data)
    again = refit(run, None)
    assert again is not None
    list(again.train())
    assert len(again.examples("train")) == 360
    everything = trained(replace(data, split=np.zeros_like(data.split)), ("raw",))
    learned, alike, before = heads(again), heads(everything), heads(run)
    weights = [name for name in learned if "weight" in name or "bias" in name]
    assert weights
    assert all(torch.equal(learned[name], alike[name]) for name in weights)
    assert not all(torch.equal(learned[name], before[name]) for name in weights)
    assert run.bundle().manifest.learned_splits == ("train",)
    assert again.bundle().manifest.learned_splits == SPLITS
    assert again.ladder() == run.ladder()


def test_it_is_calibrated_by_the_train_rows_held_out_and_not_by_rows_that_it_learned() -> None:
    run = trained(table((0.5, 0.4, 0.1), 400))
    again = refit(run, None)
    assert again is not None
    list(again.train())
    own = heads(run)
    run._calibrate_by_held_out(run.state.objective)  # type: ignore[arg-type]
    (name,) = [name for name in own if "temperature" in name]
    assert torch.equal(heads(again)[name], heads(run)[name])
    assert not torch.equal(heads(again)[name], own[name]), "many validation rows calibrate what has not learned them"


def test_of_very_few_rows_the_selection_is_repeated_on_all_of_them() -> None:
    data = table(count=120)
    run = trained(data)
    again = refit(run, None)
    assert again is not None
    list(again.train())
    everything = trained(replace(data, split=np.zeros_like(data.split)))
    assert [rung.rows for rung in again.selected.ladder] == [108, 108]  # type: ignore[union-attr]
    assert again.selected.candidate == everything.selected.candidate  # type: ignore[union-attr]
    assert all(torch.equal(tensor, heads(everything)[name]) for name, tensor in heads(again).items())
    spent = sum(rung.cpu_seconds for rung in run.selected.ladder)  # type: ignore[union-attr]
    solved_for = refit(run, None, most_seconds=1.5 * spent)
    assert solved_for is not None
    assert solved_for.selected is run.selected, "the budget is not enough to select twice"


def test_a_selection_that_lacks_candidates_of_the_first_one_does_not_count() -> None:
    run = trained(table(count=120), ("raw", "nearest_neighbours"))
    assert run.selected is not None
    assert run.requested is not None
    fewer = run.requested.strategy.model_copy(update={"candidates": ("raw",)})
    run.requested = run.requested.model_copy(update={"strategy": fewer})
    again = refit(run, None)
    assert again is not None
    assert again.selected is run.selected


@pytest.mark.parametrize(
    "run",
    [
        pytest.param(lambda: trained(table(usual=False)), id="somebody said how to split"),
        pytest.param(lambda: trained(table(), refit="no"), id="the request says no"),
        pytest.param(lambda: trained(table(count=2400)), id="many rows"),
        pytest.param(lambda: trained(table(), ("scratch",)), id="a network"),
        pytest.param(lambda: trained(table(), ("raw",)), id="nothing was compared"),
    ],
)
def test_otherwise_it_stays_as_it_was_measured(run: Any) -> None:
    assert refit(run(), None) is None


def test_it_can_be_asked_for_of_many_rows_and_of_splits_that_somebody_chose() -> None:
    assert refit(trained(table(usual=False, count=2400), refit="yes"), None) is not None
