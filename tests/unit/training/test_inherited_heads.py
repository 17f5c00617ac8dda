"""Fine-tuning a fine-tuned model: its heads go on where they answer the same, and what is dropped is said."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from app.ml.configs.learning import FineTuningConfig
from app.ml.configs.resolved import Resolved, ResolvedFineTuning
from app.ml.data.arrays import ArrayData
from app.ml.errors import ConfigError
from app.ml.kinds.heads.classifier import Classifier
from app.ml.models.bundle import Bundle
from app.ml.resolution.fine_tuning import resolve_fine_tuning
from app.ml.spec import SPLITS, TargetSpec, WarningItem
from tests.support import tiny
from worker.training.model_selection.automatic import prepare
from worker.training.run import Run

LABEL, SIZE = {"kind": "classifier", "target": "label"}, {"kind": "regressor", "target": "size"}
FULL = {"kind": "full"}
SEVERAL = {"kind": "multi_label", "target": ["round"], "threshold": "fitted"}


def with_classes(*names: str) -> ArrayData:
    """Tiny tables of the rows that have one of these classes, which are counted in this order."""
    data = tiny.table()
    chosen = np.flatnonzero([tiny.CLASSES[int(code)] in names for code in data.targets[:, 0]])
    targets = data.targets[chosen].copy()
    targets[:, 0] = [names.index(tiny.CLASSES[int(code)]) for code in targets[:, 0]]
    split = data.split[chosen]
    rows = {name: int((split == code).sum()) for code, name in enumerate(SPLITS)}
    label = TargetSpec(name="label", type="category", classes=names)
    spec = data.spec.model_copy(
        update={
            "targets": (label, *data.spec.targets[1:]),
            "rows": rows,
            "labelled": dict.fromkeys(data.spec.labelled, rows),
            "class_rows": {"label": tuple(np.bincount(targets[split == 0, 0].astype(int)).tolist())},
        }
    )
    return ArrayData(spec, data.inputs[chosen], targets, split)


def resolved(data: ArrayData, parent: Bundle | None, **request: Any) -> Resolved[ResolvedFineTuning]:
    own = {} if parent else {"backbone": {"kind": "mlp", "hidden": [8]}}
    config = FineTuningConfig.model_validate({"heads": [LABEL], "training": {"epochs": 10}, **own, **request})
    return resolve_fine_tuning(config, data.spec, parent.manifest if parent else None)


def tuned(data: ArrayData, parent: Bundle | None = None, **request: Any) -> Run:
    return prepare(resolved(data, parent, **request).config, data, parent=parent)


def trained(data: ArrayData, parent: Bundle | None = None, **request: Any) -> Bundle:
    run = tuned(data, parent, **{"strategy": FULL, **request})
    for _ in run.train():
        pass
    return run.bundle()


def outputs(run: Run, data: ArrayData) -> torch.Tensor:
    """Raw outputs of the first head for all rows."""
    encoded = data.encoded(np.arange(len(data.inputs)), run.modality)
    with torch.no_grad():
        return run.state.objective.eval().outputs(encoded)[0]  # type: ignore[operator, no-any-return]


def codes(run: Run) -> list[str]:
    return [note.code for note in run.notes if isinstance(note, WarningItem)]


@pytest.mark.parametrize("strategy", ["auto", "full", "lora", "bias_only", "gradual_unfreezing", "layerwise_decay"])
def test_a_head_for_the_same_target_goes_on(strategy: str) -> None:
    data = tiny.table()
    parent = trained(data)
    request = {} if strategy == "auto" else {"strategy": {"kind": strategy}}
    found = resolved(data, parent, **request)
    assert found.config.inherited_heads == ("label",)
    assert found.config.strategy.kind == ("full" if strategy == "auto" else strategy)
    (decision,) = [decision for decision in found.decisions if decision.field == "heads.0"]
    assert (decision.value, decision.option) == ("inherited", '`"inherited_heads": []`')
    run = prepare(found.config, data, parent=parent)
    encoded = data.encoded(np.arange(len(data.inputs)), run.modality)
    assert torch.allclose(outputs(run, data), parent.outputs(encoded)["label"], atol=1e-6)
    assert codes(run) == []


def test_new_classes_get_new_outputs_and_the_old_ones_keep_theirs() -> None:
    parent = trained(with_classes("circle", "cross"))
    data = with_classes("bar", "circle", "cross")
    found = resolved(data, parent, training={"epochs": 60})
    assert "1 outputs are new" in next(item.reason for item in found.decisions if item.field == "heads.0")
    run = prepare(found.config, data, parent=parent)
    before = outputs(run, data)
    encoded = data.encoded(np.arange(len(data.inputs)), run.modality)
    assert torch.allclose(before[:, :2], parent.outputs(encoded)["label"], atol=1e-6)
    for _ in run.train():
        pass
    made = run.bundle()
    assert made.manifest.heads[0].targets[0].classes == ("circle", "cross", "bar")
    figures = run.evaluate("train").heads["label"]["by_class"]  # type: ignore[union-attr]
    assert {name: of_class["rows"] for name, of_class in figures.items()} == {"circle": 12, "cross": 12, "bar": 12}
    assert min(of_class["recall"] for of_class in figures.values()) > 0.6


def test_classes_that_the_dataset_lacks_are_dropped_with_a_warning_or_kept() -> None:
    parent, data = trained(tiny.table()), with_classes("bar", "circle")
    run = tuned(data, parent, strategy=FULL)
    assert run.config.inherited_heads == ()  # type: ignore[union-attr]
    (warning,) = [note for note in run.notes if isinstance(note, WarningItem)]
    assert (warning.code, warning.count, "'cross'" in warning.message) == ("classes_dropped", 1, True)
    assert '"heads": "inherit"' in (warning.remedy or "")
    kept = tuned(data, parent, heads="inherit", training={"epochs": 60})
    assert codes(kept) == []
    for _ in kept.train():
        pass
    assert kept.bundle().manifest.heads[0].targets[0].classes == tiny.CLASSES
    assert kept.evaluate("train").heads["label"]["by_class"]["bar"]["recall"] > 0.5  # type: ignore[union-attr]


def test_another_question_of_the_same_name_is_not_warned_about() -> None:
    data = with_classes("bar", "circle")
    label = data.spec.targets[0].model_copy(update={"classes": ("left", "right")})
    data = replace(data, spec=data.spec.model_copy(update={"targets": (label, *data.spec.targets[1:])}))
    assert codes(tuned(data, trained(with_classes("circle", "cross")), strategy=FULL)) == []


def test_heads_that_are_solved_for_do_not_go_on() -> None:
    data = tiny.table()
    parent = trained(data)
    for strategy in ("linear_probe", "lp_ft", "automatic"):
        assert resolved(data, parent, strategy={"kind": strategy}).config.inherited_heads == ()
        with pytest.raises(ConfigError, match="solves for heads anew"):
            resolved(data, parent, strategy={"kind": strategy}, heads="inherit")
    assert resolved(data, parent, inherited_heads=[]).config.inherited_heads == ()
    assert resolved(data, parent, inherited_heads=["label"], strategy=FULL).config.inherited_heads == ("label",)


def test_a_probe_of_an_inner_layer_goes_on_at_that_layer() -> None:
    data = tiny.table()
    deep = {"backbone": {"kind": "mlp", "hidden": [8, 8]}}
    parent = trained(data, strategy={"kind": "linear_probe", "layer": 0}, **deep)
    found = resolved(data, parent)
    assert found.config.strategy.model_dump(include={"kind", "layer", "solver"}) == {
        "kind": "linear_probe", "layer": 0, "solver": "gradient",
    }  # fmt: skip
    run = prepare(found.config, data, parent=parent)
    train = data.positions("train")
    given = parent.outputs(data.encoded(train, run.modality))["label"]
    with torch.no_grad():
        (own,) = run.state.objective.eval().outputs(run.examples("train").inputs.take(None))  # type: ignore[operator]
    assert torch.allclose(own, given, atol=1e-5)
    assert resolved(data, parent, strategy=FULL).config.inherited_heads == ()
    with pytest.raises(ConfigError, match="layer '0'"):
        resolved(data, parent, strategy=FULL, heads="inherit")


def test_a_regressor_keeps_the_unit_that_it_learned() -> None:
    data = tiny.table()
    parent = trained(data, heads=[SIZE])
    other = tiny.table(seed=5)
    other.targets[:, 1] += 100
    run = tuned(other, parent, heads=[SIZE])
    mean = run.state.objective.each_head()[0].target_mean.item()  # type: ignore[operator]
    assert mean == parent.heads["size"].target_mean.item()  # type: ignore[operator]


def test_labels_are_added_and_other_layers_start_anew() -> None:
    data = tiny.table()
    parent = trained(data, heads=[SEVERAL])
    more = {**SEVERAL, "target": ["large", "round"], "name": "several"}
    run = tuned(data, parent, heads=[more], strategy=FULL)
    (given,) = parent.outputs(data.encoded(np.arange(len(data.inputs)), run.modality)).values()
    assert torch.allclose(outputs(run, data)[:, 1], given[:, 0], atol=1e-6)
    deeper = {**LABEL, "hidden": [4]}
    assert resolved(data, trained(data), heads=[deeper], strategy=FULL).config.inherited_heads == ()


@pytest.mark.parametrize(
    ("names", "positive"),
    [(("bar", "circle", "cross"), None), (("bar", "circle"), "circle"), (("circle", "cross"), "cross")],
)
def test_the_class_that_counts_goes_on_where_it_is_still_one_of_two(
    names: tuple[str, ...], positive: str | None
) -> None:
    parent = trained(with_classes("circle", "cross"), heads=[{**LABEL, "positive": "cross"}])
    (head,) = resolved(with_classes(*names), parent, heads="inherit").config.heads
    assert isinstance(head, Classifier)
    assert head.positive == positive


def test_heads_that_cannot_be_inherited_are_refused() -> None:
    data = tiny.table()
    parent = trained(data)
    with pytest.raises(ConfigError, match="no head to inherit"):
        resolved(data, None, heads="inherit")
    with pytest.raises(ConfigError, match="loaded strictly"):
        resolved(data, parent, heads="inherit", loading="partial")
    with pytest.raises(ConfigError, match=r"inherited_heads.*no head for the target"):
        resolved(data, parent, heads=[SIZE], inherited_heads=["size"])


def test_a_resumed_training_of_an_inherited_head_is_the_same(tmp_path: Path) -> None:
    parent, data = trained(with_classes("circle", "cross")), with_classes("bar", "circle", "cross")
    config = resolved(data, parent, training={"epochs": 3}).config
    again = type(config).model_validate_json(config.model_dump_json())
    runs = [prepare(each, data, parent=parent) for each in (config, again)]
    for _ in runs[0].train():
        pass
    stream = runs[1].train()
    for _ in range(3):
        next(stream)
    runs[1].state.save(tmp_path / "state")
    resumed = prepare(again, data, parent=parent)
    resumed.state.load(tmp_path / "state")
    for _ in resumed.train():
        pass
    assert torch.equal(outputs(runs[0], data), outputs(resumed, data))
