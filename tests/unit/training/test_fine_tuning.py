"""On real digits: the pretrained weights are what helps, and a frozen backbone runs once per row."""

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from app.ml.configs.learning import FineTuningConfig, PretrainingConfig
from app.ml.data.arrays import ArrayData
from app.ml.fitting.evaluation import Evaluation
from app.ml.interfaces.doubts import Doubts
from app.ml.kinds.modalities import AnyModality
from app.ml.kinds.strategies.full import ResolvedFull
from app.ml.models.bundle import Bundle
from app.ml.resolution.fine_tuning import resolve_fine_tuning
from app.ml.resolution.pretraining import resolve_pretraining
from app.ml.spec import SPLITS, DataSpec, Split, TargetSpec, WarningCode
from tests.support import tiny
from tests.support.digits import mnist_data
from worker.training.model_selection.automatic import prepare
from worker.training.run import Run

DIGITS = TargetSpec(name="digit", type="category", classes=tuple("0123456789"))
PROBE = {"kind": "linear_probe", "layer": "last"}
STRATEGIES = ("lp_ft", "gradual_unfreezing", "layerwise_decay", "lora", "bias_only")
BY_GRADIENT = {**PROBE, "solver": "gradient"}


@cache
def digits() -> tuple[Any, Any]:
    """5,000 digits, shuffled."""
    images, labels = mnist_data()
    order = np.random.default_rng(0).permutation(len(images))
    return images.reshape(-1, 28, 28, 1).astype(np.uint8)[order], labels.astype(float)[order]


def dataset(rows: slice, split: Any) -> ArrayData:
    images, labels = (values[rows] for values in digits())
    counts: dict[Split, int] = {name: int((split == code).sum()) for code, name in enumerate(SPLITS)}
    spec = DataSpec(modality="image", shape=(28, 28, 1), targets=(DIGITS,), rows=counts, labelled={"digit": counts})
    return ArrayData(spec, images, labels[:, None], split)


@pytest.fixture(scope="module")
def pretrained() -> Bundle:
    return without_labels({"kind": "autoencoder"}, epochs=2)


def without_labels(method: dict[str, Any], epochs: int) -> Bundle:
    data = dataset(slice(0, 1500), np.zeros(1500, np.uint8))
    request = {"backbone": {"kind": "mlp"}, "method": method, "training": {"epochs": epochs, "batch_size": 64}}
    run = prepare(resolve_pretraining(PretrainingConfig.model_validate(request), data.spec).config, data)
    for _ in run.train():
        pass
    return run.bundle()


def few_labels() -> ArrayData:
    """10 labels a class to learn from, 700 others to be tested on."""
    split = np.full(800, 2, np.uint8)
    labels = digits()[1][2000:2800]
    for code in range(10):
        split[np.flatnonzero(labels == code)[:10]] = 0
    return dataset(slice(2000, 2800), split)


def fine_tuned(parent: Bundle | None, strategy: dict[str, Any], **training: Any) -> Run:
    data = few_labels()
    request = {"heads": [{"kind": "classifier", "target": "digit"}], "strategy": strategy, "training": training}
    config = FineTuningConfig.model_validate(request)
    manifest = parent.manifest if parent else None
    run = prepare(resolve_fine_tuning(config, data.spec, manifest).config, data, parent=parent)
    for _ in run.train():
        pass
    return run


def accuracy(run: Run) -> float:
    evaluation = run.evaluate("test")
    assert isinstance(evaluation, Evaluation)
    return float(evaluation.heads["digit"]["accuracy"])


def shuffled(parent: Bundle) -> Bundle:
    """The same numbers in every tensor, at other places."""
    torch.manual_seed(0)
    backbone = parent.manifest.backbone.build(parent.manifest.encoding)
    backbone.load_state_dict(
        {
            name: value.flatten()[torch.randperm(value.numel())].view_as(value)
            for name, value in parent.backbone.state_dict().items()
        }
    )
    return Bundle(parent.manifest.model_copy(update={"heads": ()}), backbone, {})


@pytest.mark.slow
def test_a_shuffled_backbone_is_worse() -> None:
    """In ten draws of digits, weights and places 0.654 to 0.734 against 0.569 to 0.613: a gap of 0.083 at least.

    Of the autoencoder of 15 epochs it was 0.039 to 0.135 in four draws, of that of 40 epochs 0.027 to 0.098.
    """
    learned = without_labels({"kind": "vae"}, epochs=40)
    with_it, without = accuracy(fine_tuned(learned, PROBE)), accuracy(fine_tuned(shuffled(learned), PROBE))
    assert with_it > 0.6
    assert with_it > without + 0.04


@pytest.fixture(scope="module")
def taught() -> Bundle:
    """A backbone that knows digits from 1,500 labels."""
    data = dataset(slice(0, 1500), np.zeros(1500, np.uint8))
    request = {"heads": [{"kind": "classifier", "target": "digit"}], "backbone": {"kind": "mlp"}}
    config = FineTuningConfig.model_validate({**request, "training": {"epochs": 15}})
    run = prepare(resolve_fine_tuning(config, data.spec, None).config, data)
    for _ in run.train():
        pass
    return run.bundle()


@pytest.mark.parametrize(
    "strategy",
    [PROBE, BY_GRADIENT, *({"kind": kind} for kind in STRATEGIES)],
    ids=["exact", "gradient", *STRATEGIES],
)
def test_every_strategy_starts_from_the_pretrained_weights(taught: Bundle, strategy: dict[str, Any]) -> None:
    with_it = accuracy(fine_tuned(taught, strategy, epochs=25))
    without = accuracy(fine_tuned(shuffled(taught), strategy, epochs=25))
    assert with_it > 0.8
    assert with_it > without + 0.08


def test_what_was_chosen_is_better_than_what_was_not(taught: Bundle) -> None:
    """Layers and strategies by cross-validation, measured on rows that no choice saw."""
    probe = fine_tuned(taught, {"kind": "linear_probe"})
    (note,) = probe.notes
    assert note.kind == "layer.chosen"
    assert [candidate["layer"] for candidate in note.data["candidates"]] == ["last", "all", 0]
    assert probe.strategy.layer == note.data["layer"]  # type: ignore[union-attr]
    losses = {candidate["layer"]: candidate["held_out_loss"] for candidate in note.data["candidates"]}
    assert min(losses, key=losses.__getitem__) == note.data["layer"] == probe.bundle().manifest.strategy.layer  # type: ignore[union-attr]
    lowest = {**PROBE, "layer": 0}
    assert losses[0] > losses["last"]
    assert probe.evaluate("test").losses["loss"] < fine_tuned(taught, lowest).evaluate("test").losses["loss"]  # type: ignore[union-attr]


def test_the_way_is_chosen_within_a_budget_and_told(taught: Bundle) -> None:
    """Five steps ruin what a probe would keep; no budget leaves the preferred one."""
    names = ["linear_probe", "lp_ft", "full"]
    run = fine_tuned(taught, {"kind": "automatic", "candidates": names}, epochs=1)
    note = run.notes[-1]
    assert note.kind == "strategy.chosen"  # type: ignore[union-attr]
    assert note.data["scores"].keys() == {*names}  # type: ignore[union-attr]
    assert note.data["rows"] == 100  # type: ignore[union-attr]
    assert [rung["candidate"] for rung in run.ladder()["ladder"]] == names
    assert all(rung["low"] <= rung["score"] <= rung["high"] for rung in run.ladder()["ladder"])
    assert run.strategy is not None
    assert run.strategy.kind == note.data["strategy"] == run.bundle().manifest.strategy.kind  # type: ignore[union-attr]
    assert note.data["scores"][note.data["selected"]] > note.data["scores"]["full"]  # type: ignore[union-attr]
    poor = fine_tuned(taught, {"kind": "automatic", "budget_seconds": 0, "candidates": ["full", "lp_ft"]}, epochs=1)
    assert poor.strategy.kind == "full"  # type: ignore[union-attr]
    assert "within the budget" in poor.notes[-1].message
    assert {rung["score"] for rung in poor.ladder()["ladder"]} == {None}


def test_a_choice_made_before_is_not_made_again(taught: Bundle) -> None:
    run = fine_tuned(taught, {"kind": "automatic", "candidates": ["nearest_neighbours", "raw"]}, epochs=1)
    assert run.requested is not None
    assert run.selected is not None
    earlier = run.selected.model_copy(
        update={
            "candidate": "full",
            "config": run.config.model_copy(update={"strategy": ResolvedFull(backbone_lr_scale=0.5)}),
        }
    )
    again = prepare(run.requested, run.data, parent=taught, selected=earlier)
    assert again.strategy == ResolvedFull(backbone_lr_scale=0.5)
    assert again.notes == ()


def test_a_choice_leaves_no_trace_in_the_training(taught: Bundle) -> None:
    """The same losses as if the choice had been given: the generators are left alone."""
    chosen = fine_tuned(taught, {"kind": "automatic", "candidates": ["lp_ft", "full"]}, epochs=2)
    assert chosen.strategy is not None
    given = fine_tuned(taught, chosen.strategy.model_dump(mode="json"), epochs=2)
    assert accuracy(chosen) == accuracy(given)
    expected = given.state.objective.state_dict()
    differing = [
        name for name, value in chosen.state.objective.state_dict().items() if not torch.equal(value, expected[name])
    ]
    assert differing == ["heads.0.temperature"]  # by answers to rows left out, where the given one has none


def test_full_fine_tuning_starts_from_the_pretrained_weights_and_moves_a_copy(pretrained: Bundle) -> None:
    parent = {name: value.clone() for name, value in pretrained.backbone.state_dict().items()}
    data = few_labels()
    request = {"heads": [{"kind": "classifier", "target": "digit"}], "strategy": {"kind": "full"}}
    config = FineTuningConfig.model_validate({**request, "training": {"epochs": 2}})
    run = prepare(resolve_fine_tuning(config, data.spec, pretrained.manifest).config, data, parent=pretrained)
    backbone = run.state.objective.backbone
    assert all(torch.equal(parent[name], value) for name, value in backbone.state_dict().items())
    for _ in run.train():
        pass
    assert not any(torch.equal(parent[name], value) for name, value in backbone.state_dict().items())
    assert all(torch.equal(parent[name], value) for name, value in pretrained.backbone.state_dict().items())


@pytest.mark.parametrize("strategy", [PROBE, BY_GRADIENT])
def test_a_probe_leaves_the_backbone_bit_identical_and_runs_it_once_per_row(
    pretrained: Bundle, strategy: dict[str, Any]
) -> None:
    before = {name: value.clone() for name, value in pretrained.backbone.state_dict().items()}
    seen: list[int] = []
    data = few_labels()
    request = {"heads": [{"kind": "classifier", "target": "digit"}], "strategy": strategy, "training": {"epochs": 30}}
    config = resolve_fine_tuning(FineTuningConfig.model_validate(request), data.spec, pretrained.manifest).config
    run = prepare(config, data, parent=pretrained)
    run.splits.clear()
    backbone = run.state.objective.backbone
    backbone.register_forward_hook(lambda _module, inputs, _output: seen.append(len(inputs[0])))
    for _ in run.train():
        pass
    run.evaluate("test")
    run.evaluate("test")
    assert sum(seen) == len(data.inputs), "every row once, whatever the epochs"
    assert all(torch.equal(before[name], value) for name, value in backbone.state_dict().items())


def test_probe_features_are_standardised_by_the_train_split(pretrained: Bundle) -> None:
    run = fine_tuned(pretrained, BY_GRADIENT, epochs=1)
    (head,) = run.bundle().heads.values()
    features = run.examples("train").inputs.take(None)
    standardised = (features - head.standardize.mean) / head.standardize.std  # type: ignore[union-attr]
    alive = features.std(0) > 0.1 * features.std(0).max()
    assert standardised.mean(0).abs().max() < 1e-3
    assert torch.allclose(standardised[:, alive].std(0, correction=0), torch.ones(int(alive.sum())), atol=1e-3)


def test_a_value_first_lacking_in_fine_tuning_is_no_doubt_when_asked() -> None:
    old, new = tiny.table(), tiny.table(seed=1)
    new.inputs[new.positions("train")[0], 1] = np.nan
    config = PretrainingConfig.model_validate({"backbone": {"kind": "mlp", "hidden": [8]}, "training": {"epochs": 1}})
    parent = prepare(resolve_pretraining(config, old.spec).config, old).bundle()
    row = [[100, None, 0.5, "red"]]
    assert _lacking(parent.manifest.modality, row) == ["weight"]
    request = {"heads": [{"kind": "classifier", "target": "label"}], "strategy": PROBE}
    resolved = resolve_fine_tuning(FineTuningConfig.model_validate(request), new.spec, parent.manifest).config
    modality = prepare(resolved, new, parent=parent).modality
    assert modality.shape == parent.manifest.modality.shape
    assert modality.encode(modality.decode(row))[0, 1] == 0
    assert _lacking(modality, row) == []
    assert _lacking(modality, [[None, 1, 0.5, "red"]]) == ["width"]


def _lacking(modality: AnyModality, rows: list[list[Any]]) -> list[str]:
    """The columns that are doubted since they lack a value."""
    doubts = Doubts()
    modality.decode(rows, doubts)
    return [doubt.subject for code, doubt in doubts.each() if code == WarningCode.MISSING_VALUE]


@pytest.mark.parametrize("strategy", [PROBE, {"kind": "full"}])
def test_new_rows_are_encoded_as_the_parents_were(strategy: dict[str, Any]) -> None:
    """The backbone knows the parent's scale: rows 1,000 wider are far out for it, not average again."""
    old, new = tiny.table(), tiny.table(seed=1)
    new.inputs[:, 0] += 1000
    config = PretrainingConfig.model_validate({"backbone": {"kind": "mlp", "hidden": [8]}, "training": {"epochs": 1}})
    source = prepare(resolve_pretraining(config, old.spec).config, old)
    parent = source.bundle()
    request = {"heads": [{"kind": "classifier", "target": "label"}], "strategy": strategy}
    resolved = resolve_fine_tuning(FineTuningConfig.model_validate(request), new.spec, parent.manifest).config
    run = prepare(resolved, new, parent=parent)
    again = run.bundle().manifest.modality.encode(new.inputs)
    assert torch.equal(again, parent.manifest.modality.encode(new.inputs))
    rows = parent.manifest.modality.encode(new.inputs[new.positions("train")])
    assert rows[:, 0].min() > 20
    with torch.no_grad():
        expected = parent.backbone(rows) if strategy is PROBE else rows
    assert torch.allclose(run.examples("train").inputs.take(None), expected)
