"""Intervals where validation rows are too few: train rows that networks have not seen say how wide they must be."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from app.ml.data.arrays import ArrayData
from app.ml.data.tensor_file import Tensors
from app.ml.models.bundle import Bundle
from app.ml.spec import SPLITS, ColumnSpec, DataSpec, Split, TargetSpec
from tests.support import tiny
from tests.support.texts import run_of
from worker.training.cross_fitting import cross_fit
from worker.training.events import Note, StepDone
from worker.training.run import Run

FULL: dict[str, Any] = {"strategy": {"kind": "full"}, "training": {"epochs": 40}}
TREND = tuple(ColumnSpec(name=f"x{place}", type="number") for place in range(4))


def trend(train: int, validation: int, seed: int = 0) -> ArrayData:
    """Numbers that follow one column of four, with noise of a tenth of their variance; 1,000 rows test."""
    random = np.random.default_rng(seed)
    rows = train + validation + 1000
    x = random.normal(size=(rows, len(TREND)))
    y = 50 + 30 * x[:, 0] + 10 * random.normal(size=rows)
    split = np.repeat(np.arange(3, dtype=np.uint8), (train, validation, 1000))
    counts: dict[Split, int] = {name: int((split == code).sum()) for code, name in enumerate(SPLITS)}
    spec = DataSpec(
        modality="table",
        shape=(len(TREND),),
        columns=TREND,
        targets=(TargetSpec(name="y", type="number"),),
        rows=counts,
        labelled={"y": counts},
    )
    return ArrayData(spec, x, y[:, None], split)


def trained(data: ArrayData, **fields: Any) -> Run:
    return run_of(data, {"heads": [{"kind": "regressor", "target": "y"}], **FULL, **fields})


def coverage(run: Run) -> float:
    evaluation = run.evaluate("test")
    assert evaluation is not None
    return float(evaluation.heads["y"]["coverage"])


@pytest.mark.parametrize("validation", [0, 5])
def test_intervals_hold_nine_tenths_where_validation_rows_are_too_few(validation: int) -> None:
    run = trained(trend(120, validation))
    assert coverage(run) > 0.97, "intervals by the deviation of the target, or by a guess from five rows"
    drawn = torch.random.get_rng_state()
    *steps, note = cross_fit(run, None)
    assert 0.83 < coverage(run) < 0.97
    assert isinstance(note, Note)
    assert note.kind == "calibration.cross_fitted"
    assert note.data == {"rows": 120 + validation, "folds": 5}
    assert all(isinstance(step, StepDone) for step in steps)
    assert torch.equal(torch.random.get_rng_state(), drawn), "what comes after does not depend on it"


def test_networks_that_calibrate_start_from_the_model_where_the_training_does() -> None:
    """`auto` may train a network from scratch in spite of a model: its intervals may not depend on the model either."""
    data = trend(120, 0)
    model = trained(data, backbone={"kind": "mlp"}).bundle()  # it knows the rows that are left out
    heads = [{"kind": "regressor", "target": "y"}]
    training = {"epochs": 5}

    def calibrated(strategy: dict[str, Any], parent: Bundle | None) -> tuple[bool, Tensors]:
        run = run_of(data, {"heads": heads, "strategy": strategy, "training": training}, model)
        assert list(cross_fit(run, parent))
        return run.starts_from_model, run.state.objective.state_dict()

    from_scratch = {"kind": "automatic", "candidates": ["scratch"]}
    for strategy, starts_from_model in (({"kind": "full"}, True), (from_scratch, False)):
        (starts, with_model), (_, without) = (calibrated(strategy, parent) for parent in (model, None))
        assert starts == starts_from_model
        same = all(torch.equal(value, without[name]) for name, value in with_model.items())
        assert same != starts_from_model


def test_enough_rows_are_left_out_and_no_more() -> None:
    run = trained(trend(250, 0))
    note = list(cross_fit(run, None))[-1]
    assert isinstance(note, Note)
    assert note.data == {"rows": 100, "folds": 2}


def test_what_is_calibrated_already_trains_no_second_time() -> None:
    with_validation_rows = trained(trend(60, 40))
    solved = trained(trend(60, 0), strategy={"kind": "linear_probe"})
    classes = run_of(tiny.table(48), {"heads": [{"kind": "classifier", "target": "label"}], **FULL})
    for run in (with_validation_rows, solved, classes):
        assert list(cross_fit(run, None)) == []


def test_several_numbers_each_get_a_width_of_their_own() -> None:
    """Their units differ by a factor of 1,000, and one of them is not known in every row."""
    data = trend(120, 0, seed=1)
    random = np.random.default_rng(2)
    second = np.where(np.arange(len(data.targets)) % 3 == 0, np.nan, 1000 * random.normal(size=len(data.targets)))
    targets = (*data.spec.targets, TargetSpec(name="z", type="number"))
    spec = data.spec.model_copy(update={"targets": targets, "labelled": {}})
    data = replace(data, spec=spec, targets=np.column_stack((data.targets, second)))
    run = run_of(data, {"heads": [{"kind": "regressor", "name": "both", "target": ["y", "z"]}], **FULL})
    list(cross_fit(run, None))
    evaluation = run.evaluate("test")
    assert evaluation is not None
    by_target = evaluation.heads["both"]["targets"]
    assert 0.8 < by_target["y"]["coverage"] < 0.98
    assert 0.8 < by_target["z"]["coverage"] < 0.98
