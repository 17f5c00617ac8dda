"""The transfer report: what is trained, on which rows, and what is told. Real data and verdicts: test_verdict.py."""

import time
from typing import Any

import numpy as np
import pytest
import torch

from app.ml.configs.learning import FineTuningConfig, PretrainingConfig
from app.ml.configs.transfer_report import TransferReport
from app.ml.data.arrays import ArrayData
from app.ml.errors import ConfigError
from app.ml.interfaces import Encoding
from app.ml.learning.untrained_backbones import ConstantConfig
from app.ml.models.bundle import Bundle
from app.ml.resolution.fine_tuning import resolve_fine_tuning
from app.ml.resolution.pretraining import resolve_pretraining
from app.ml.spec import ModalityKind
from tests.support import tiny
from tests.support.reports import report_on, trained
from worker.training.run import prepare
from worker.training.transfer_report.arms import build_arms
from worker.training.transfer_report.budget import Budget, recommended
from worker.training.transfer_report.controlled_comparison import ControlledComparison
from worker.training.transfer_report.held_out import HeldOut

LABEL, SIZE = {"kind": "classifier", "target": "label"}, {"kind": "regressor", "target": "size"}
SHORT: dict[str, Any] = {"epochs": 2}
QUICK: dict[str, Any] = {"rounds": 2, "folds": 2, "budget_seconds": 3000}
FOLDS = {**QUICK, "measured_on": "folds"}
PROBE: dict[str, Any] = {"strategy": {"kind": "linear_probe", "layer": "last"}, "training": SHORT}
SMALL: dict[ModalityKind, dict[str, Any]] = {
    "image": {"kind": "mlp", "hidden": [12, 7]},
    "table": {"kind": "mlp", "hidden": [8]},
    "series": {"kind": "mlp", "hidden": [8]},
    "text": {"kind": "transformer", "width": 16, "depth": 1, "heads": 2},
}


def pretrained(data: ArrayData) -> Bundle:
    request = {"backbone": SMALL[data.spec.modality], "training": SHORT}
    run = prepare(resolve_pretraining(PretrainingConfig.model_validate(request), data.spec).config, data)
    for _ in run.train():
        pass
    return run.bundle()


@pytest.mark.parametrize("modality", tiny.DATASETS)
def test_every_modality_gets_all_controls(modality: ModalityKind) -> None:
    data = tiny.DATASETS[modality](rows=48)
    heads = [SIZE, {**LABEL, "hidden": [6]}] if modality == "image" else [SIZE]
    report, notes = report_on(data, pretrained(data), {"heads": heads, **PROBE}, FOLDS)
    rows = len(data.positions("train"))
    assert (report["measured_on"], report["folds"], report["rounds"], report["labels"]) == ("folds", 2, 2, rows)
    for key, score in (("size", "r2"), ("label", "accuracy"))[: len(heads)]:
        head = report["heads"][key]
        assert (head["score"], head["rows"]) == (score, rows)
        assert head["verdict"] in ("helps", "no evidence", "hurts")
        assert list(head["controls"]) == ["majority", "raw_linear", "untrained", "scratch"]
        for control in head["controls"].values():
            assert control["trainings"] == 2
            assert control["gain"]["low"] <= control["gain"]["value"] <= control["gain"]["high"]
            assert control["gain"]["value"] == pytest.approx(head["pretrained"] - control["score"], abs=1e-5)
        expected = 0 if key == "size" else 1 / 3
        assert head["controls"]["majority"]["score"] == pytest.approx(expected, abs=0.3)
    assert [note.kind for note in notes] == ["transfer.round", "transfer.round", "transfer.judged"]
    assert set(notes[0].data["scores"]) == {"pretrained", "majority", "raw_linear", "untrained", "scratch"}


@pytest.mark.parametrize(
    "strategy",
    [
        {"kind": "automatic", "candidates": ["linear_probe", "full"]},
        {"kind": "full"},
        {"kind": "lora"},
        {"kind": "lp_ft"},
    ],
    ids=lambda strategy: strategy["kind"],
)
def test_every_strategy_is_compared_under_itself(strategy: dict[str, Any]) -> None:
    data = tiny.images()
    request = {"heads": [SIZE], "strategy": strategy, "training": SHORT}
    report, _ = report_on(data, pretrained(data), request, FOLDS)
    assert all(control["score"] is not None for control in report["heads"]["size"]["controls"].values())


def test_heads_that_cannot_be_solved_for_and_partial_loading() -> None:
    data = tiny.images()
    request = {
        "heads": [{**LABEL, "hidden": [6]}],
        "backbone": {"kind": "mlp", "hidden": [12, 9]},
        "loading": "partial",
        "training": SHORT,
    }
    report, _ = report_on(data, pretrained(data), request, FOLDS)
    assert report["heads"]["label"]["controls"]["raw_linear"]["trainings"] == 2


def test_on_a_split_what_is_solved_for_is_trained_once() -> None:
    data = tiny.images(rows=96)
    request = {"heads": [SIZE], "strategy": {"kind": "linear_probe"}, "training": SHORT}
    report, _ = report_on(data, pretrained(data), request, {**QUICK, "measured_on": "test"})
    head = report["heads"]["size"]
    assert head["rows"] == data.spec.rows["test"]
    trainings = {name: control["trainings"] for name, control in head["controls"].items()}
    assert trainings == {"majority": 1, "raw_linear": 1, "untrained": 2, "scratch": 2}
    assert [point["labels"] for point in head["labels_saved"]["curve"]] == [len(data.positions("train"))]
    again, _ = report_on(data, pretrained(data), request, {**QUICK, "measured_on": "test"})
    assert again["heads"] == report["heads"]


def test_what_the_budget_does_not_allow_is_null_and_told() -> None:
    data = tiny.images()
    request = {"heads": [LABEL], "strategy": {"kind": "full"}, "training": SHORT}
    report, _ = report_on(data, pretrained(data), request, {**QUICK, "budget_seconds": 1e-6})
    head = report["heads"]["label"]
    assert (head["verdict"], head["gain"], head["pretrained"]) == ("no evidence", None, None)
    assert {control["score"] for control in head["controls"].values()} == {None}
    assert "budget" in head["reason"]
    assert all("budget" in control["reason"] for control in head["controls"].values())
    assert report["needed_seconds"] > report["budget_seconds"] == 1e-6
    assert f"a budget of about {report['needed_seconds']:g} CPU seconds would tell more" in head["reason"]


def test_a_table_of_324_rows_gets_a_verdict_over_every_control() -> None:
    data = tiny.table(rows=324)
    data.targets[:, 0] = np.random.default_rng(0).permutation(data.targets[:, 0])
    request = {"heads": [LABEL], "strategy": {"kind": "linear_probe", "layer": "last"}, "training": SHORT}
    report, notes = report_on(data, pretrained(data), request, {"measured_on": "folds"})
    head = report["heads"]["label"]
    assert {control["reason"] for control in head["controls"].values()} == {None}
    assert (head["verdict"], report["needed_seconds"]) == ("no evidence", None)
    assert "more labelled rows might" in head["reason"]
    assert report["rounds"] < 10, "the labels are shuffled: no further round would change that"
    assert notes[-1].data["needed_seconds"] is None
    assert report["seconds"] < report["budget_seconds"] == 60


def test_an_arm_that_does_not_fit_is_left_out_and_the_budget_for_it_is_told() -> None:
    data = tiny.table(rows=96)
    scratch = {"steps": 5_000_000, "batch_size": 32}
    request = {"heads": [LABEL], **PROBE}
    report, _ = report_on(data, pretrained(data), request, {**FOLDS, "budget_seconds": 3.0, "scratch": scratch})
    head = report["heads"]["label"]
    assert {name for name, control in head["controls"].items() if control["trainings"] == 0} == {"scratch"}
    assert all(control["trainings"] == 2 for name, control in head["controls"].items() if name != "scratch")
    assert "do not fit the budget" in head["controls"]["scratch"]["reason"]
    assert head["verdict"] == "hurts" or report["needed_seconds"] > 100
    assert report["seconds"] < 3, "its first steps told what it would cost"


def test_cheap_arms_are_trained_first_and_fewer_folds_where_the_budget_needs_it() -> None:
    data = tiny.table(rows=96)
    parent = pretrained(data)
    request = {"heads": [LABEL], **PROBE, "transfer_report": {"measured_on": "folds", "budget_seconds": 3000}}
    config = resolve_fine_tuning(FineTuningConfig.model_validate(request), data.spec, parent.manifest).config
    run = trained(prepare(config, data, parent=parent))
    arms = build_arms(run, parent)
    assert [arm.name for arm in arms] == ["majority", "raw_linear", "pretrained", "untrained", "scratch"]
    for seconds, folds in ((1.0, 5), (24.0, 4), (1000.0, 3)):
        comparison = ControlledComparison(run, parent)
        for arm in arms:
            comparison.first[arm.name] = {}
            comparison.budget.record(arm.name, seconds)
        comparison.choose_folds(arms)  # 2,250 s for 4 rounds of 5 arms
        assert comparison.held_out.folds == folds
        assert bool(comparison.first) == (folds == 5), "a training on other folds would not count"


def test_on_a_cpu_the_budget_is_cpu_seconds() -> None:
    budget = Budget(60.0, torch.device("cpu"))
    time.sleep(0.2)
    assert budget.spent < 0.1
    assert budget.unit == "CPU seconds"
    assert Budget(60.0, torch.device("cuda")).unit == "wall seconds"
    budget.record("raw_linear", 2.0)
    budget.record("scratch", 30.0)
    assert budget.seconds_of("untrained") == 30.0, "what was never trained costs as much as the dearest"
    assert recommended(100.0) == 120.0


def test_rows_without_a_label_are_not_compared() -> None:
    data = tiny.table(rows=96)
    data.targets[::4, 1] = np.nan
    report, _ = report_on(data, pretrained(data), {"heads": [SIZE], **PROBE}, FOLDS)
    train = data.positions("train")
    assert report["heads"]["size"]["rows"] == int(np.isfinite(data.targets[train, 1]).sum())


def test_held_out_rows_are_never_trained_on() -> None:
    data = tiny.images(rows=96)
    train = data.positions("train")
    folds = HeldOut(data, ("label",), TransferReport(measured_on="folds"), folds=3)
    for number in range(2):
        splits = list(folds.datasets(number))
        held = [split.positions(folds.split) for split in splits]
        assert sorted(np.concatenate(held)) == sorted(train)
        for split, rows in zip(splits, held, strict=True):
            assert set(split.positions("train")) == set(train) - set(rows)
            some = folds.halved(split, 2, number)
            assert set(some.positions("train")) < set(split.positions("train"))
            assert len(some.positions("train")) == pytest.approx(len(split.positions("train")) / 4, abs=1)
            assert np.array_equal(some.positions(folds.split), rows)
    assert [list(rows) for rows in held] != [list(dataset.positions("validation")) for dataset in folds.datasets(0)]
    (test,) = HeldOut(data, ("label",), TransferReport(measured_on="test"), folds=3).datasets(0)
    assert np.array_equal(test.split, data.split)


@pytest.mark.parametrize(
    ("fields", "model", "loc", "words"),
    [
        ({}, False, ("transfer_report",), "nothing was transferred"),
        ({"measured_on": "folds", "folds": 10, "labels": 15}, True, ("transfer_report", "measured_on"), "needs 20"),
        ({"measured_on": "test", "test": 3}, True, ("transfer_report", "measured_on"), "3 test rows carry a target"),
    ],
)
def test_where_it_can_tell_nothing_it_is_refused(
    fields: dict[str, Any], model: bool, loc: tuple[str, ...], words: str
) -> None:
    data = tiny.images()
    labelled = {"train": fields.pop("labels", 60), "validation": 0, "test": fields.pop("test", 0)}
    spec = data.spec.model_copy(update={"labelled": {"label": labelled}})
    config = FineTuningConfig.model_validate({"heads": [LABEL], "transfer_report": fields})
    parent = pretrained(data).manifest if model else None
    with pytest.raises(ConfigError, match=words) as caught:
        resolve_fine_tuning(config, spec, parent)
    assert caught.value.loc == loc


def test_pseudo_labels_have_no_report() -> None:
    data = tiny.images()
    spec = data.spec.model_copy(update={"labelled": {"label": {"train": 20, "validation": 0, "test": 0}}})
    request = {"heads": [LABEL], "transfer_report": {}, "unlabelled": {}, "strategy": {"kind": "linear_probe"}}
    with pytest.raises(ConfigError, match="labelled by what is compared"):
        resolve_fine_tuning(FineTuningConfig.model_validate(request), spec, pretrained(data).manifest)


def test_a_head_without_labels_has_no_report() -> None:
    data = tiny.texts()
    config = FineTuningConfig.model_validate({"heads": [{"kind": "generator"}], "transfer_report": {}})
    parent = pretrained(data).manifest
    with pytest.raises(ConfigError, match="compares by labels"):
        resolve_fine_tuning(config, data.spec, parent)


@pytest.mark.parametrize(("test", "train", "expected"), [(300, 1000, "test"), (299, 1000, "folds"), (40, 40, "test")])
def test_auto_measures_on_a_split_that_has_many_labelled_rows(test: int, train: int, expected: str) -> None:
    data = tiny.images()
    spec = data.spec.model_copy(update={"labelled": {"label": {"train": train, "validation": 5000, "test": test}}})
    config = FineTuningConfig.model_validate({"heads": [LABEL], "transfer_report": {}})
    resolved = resolve_fine_tuning(config, spec, pretrained(data).manifest)
    report = resolved.config.transfer_report
    assert report is not None
    assert report.measured_on == expected
    assert not isinstance(report.scratch, str)
    assert report.scratch.optimizer.lr == 1e-3, "new weights have a recipe of their own"
    assert "transfer_report.measured_on" in {decision.field for decision in resolved.decisions}


def test_the_control_that_knows_nothing_answers_from_nothing() -> None:
    rows, encoding = torch.rand(5, 3, 4, 6), Encoding(shape=(3, 4, 6))
    assert torch.equal(ConstantConfig().build(encoding)(rows), torch.zeros(5, 1))
