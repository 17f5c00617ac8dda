"""Watching: what is told, that it disturbs nothing, and that the best weights for the probe are the ones kept."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from app.ml.configs.learning import PretrainingConfig
from app.ml.data.arrays import ArrayData
from app.ml.errors import ConfigError
from app.ml.learning.collapse_metrics import effective_rank, probe_scores
from app.ml.resolution.pretraining import resolve_pretraining
from app.ml.spec import ModalityKind, WarningCode, WarningItem
from tests.support import digits, tiny
from worker.training.events import Evaluated, Event, Finished, Note, StepDone
from worker.training.run import Run, prepare

PROBE = {"target": "label"}
TRAINING = {"epochs": 6, "batch_size": 7, "evaluate_every": 1, "optimizer": {"kind": "adamw", "lr": 0.01}}


def watched(data: ArrayData, watch: dict[str, Any] | None, auxiliary: ArrayData | None = None, **fields: Any) -> Run:
    network = {"backbone": {"kind": "mlp", "hidden": [16, 8]}, "method": {"kind": "autoencoder"}}
    request = {**network, "training": TRAINING, "watch": watch, **fields}
    config = PretrainingConfig.model_validate(request)
    resolved = resolve_pretraining(config, data.spec, auxiliary.spec if auxiliary else None)
    return prepare(resolved.config, data, auxiliary=auxiliary)


def weights(run: Run) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in run.state.objective.state_dict().items()}


def equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def scores(events: list[Event]) -> list[float]:
    return [event.metrics["watch/probe_accuracy"] for event in events if isinstance(event, Evaluated)]


def test_every_evaluation_tells_the_gauges_and_the_probe() -> None:
    data = tiny.images()
    run = watched(data, PROBE)
    events = list(run.train())
    evaluations = [event.metrics for event in events if isinstance(event, Evaluated)]
    assert len(evaluations) == 6
    names = {"watch/effective_rank", "watch/dead_units", "watch/probe_accuracy"}
    assert all(names <= metrics.keys() and "val/loss" in metrics for metrics in evaluations)
    positions = data.positions("train")
    with torch.no_grad():
        features = run.state.objective.backbone.eval()(data.encoded(positions, run.modality))
    assert evaluations[-1]["watch/effective_rank"] == effective_rank(features)
    expected = probe_scores(features, data.labels("label", positions), data.spec.targets[0])
    assert evaluations[-1]["watch/probe_accuracy"] == expected.mean()


def test_without_labels_the_gauges_are_told_alone_and_without_a_validation_split_too() -> None:
    data = tiny.table()
    data.split[data.split == 1] = 0
    evaluations = [event.metrics for event in watched(data, {}).train() if isinstance(event, Evaluated)]
    assert len(evaluations) == 6
    assert all(metrics.keys() == {"watch/effective_rank", "watch/dead_units"} for metrics in evaluations)


@pytest.mark.parametrize(
    ("method", "backbone"),
    [
        ("vae", {"kind": "convnet", "channels": [4, 8], "features": 8}),
        ("simclr", {"kind": "resnet", "widths": [4, 8], "stem": "small"}),
    ],
)
def test_watching_changes_no_weight(method: str, backbone: dict[str, Any]) -> None:
    """Whatever the labels say: they only watch. Neither noise nor running statistics are disturbed."""
    other = tiny.images()
    other.targets[:, 0] = np.random.default_rng(1).permutation(other.targets[:, 0])
    runs = []
    for data, watch in ((tiny.images(), None), (tiny.images(), PROBE), (other, PROBE)):
        run = watched(data, watch, method={"kind": method}, backbone=backbone)
        losses = [event.losses["loss"].item() for event in run.train() if isinstance(event, StepDone)]
        runs.append((losses, weights(run), torch.get_rng_state()))
    for losses, kept, generator in runs[1:]:
        assert losses == runs[0][0]
        assert equal(kept, runs[0][1])
        assert torch.equal(generator, runs[0][2])


def ruin(run: Run, event: Event) -> None:
    """Forget all that was learned after the first epoch, as a too high rate would."""
    if isinstance(event, StepDone) and event.epoch >= 1:
        for parameter in run.state.objective.backbone.parameters():
            parameter.data.zero_()


def test_the_best_weights_for_the_probe_are_kept_and_training_ends() -> None:
    run = watched(tiny.images(), {**PROBE, "keep": "best", "patience": 3})
    remembered: dict[int, dict[str, torch.Tensor]] = {}
    events = []
    for event in run.train():
        events.append(event)
        ruin(run, event)
        if isinstance(event, Evaluated):
            remembered[event.step] = weights(run)
    probe_scores = scores(events)
    assert max(probe_scores[1:]) < probe_scores[0]
    assert len(probe_scores) == 4, "three evaluations without gain end it"
    (note,) = [event for event in events if isinstance(event, Note)]
    assert (note.kind, note.data) == ("watch.kept", {"step": 6, "score": probe_scores[0]})
    assert equal(weights(run), remembered[6])
    assert events[-1] == Finished(24, "early_stopping", 6)


def test_the_last_weights_are_kept_unless_told_otherwise() -> None:
    run = watched(tiny.images(), PROBE)
    for event in run.train():
        ruin(run, event)
    assert not any(parameter.any() for parameter in run.state.objective.backbone.parameters())


@pytest.mark.parametrize("stop", [3, 10, 17])
def test_a_resumed_training_watches_and_keeps_the_same(stop: int, tmp_path: Path) -> None:
    data = tiny.images()
    data.targets[::2, 0] = np.nan
    request = {"keep": "best", "patience": 3, **PROBE}
    labels = {"kind": "supervised", "target": "label", "rows": 4}
    undisturbed = watched(data, request, labels=labels)
    expected = list(undisturbed.train())
    first = watched(data, request, labels=labels)
    before = []
    for event in first.train():
        before.append(event)
        if isinstance(event, StepDone) and event.step == stop:
            break
    first.state.save(tmp_path / "state.safetensors")
    torch.manual_seed(5)
    again = watched(data, request, labels=labels)
    again.state.load(tmp_path / "state.safetensors")
    after = list(again.train())
    assert scores(before) + scores(after) == scores(expected)
    assert after[-1] == expected[-1]
    assert equal(weights(again), weights(undisturbed))
    assert again.state.progress == undisturbed.state.progress


def test_a_small_set_of_its_own_watches() -> None:
    """Columns may come in another order; the rows that are pretrained on carry no label at all."""
    labelled, data = tiny.table(24, seed=3), tiny.table()
    unlabelled = ArrayData(
        data.spec.model_copy(update={"targets": (), "labelled": {}}), data.inputs, data.targets[:, :0], data.split
    )
    columns = labelled.spec.columns[::-1]
    mirrored = ArrayData(
        labelled.spec.model_copy(update={"columns": columns}),
        np.ascontiguousarray(labelled.inputs[:, ::-1]),
        labelled.targets,
        labelled.split,
    )
    results = []
    for auxiliary in (labelled, mirrored):
        run = watched(unlabelled, {**PROBE, "dataset": "ds_small"}, auxiliary)
        results.append(scores(list(run.train())))
    assert results[0] == results[1]
    assert len(results[0]) == 6


def test_few_rows_are_looked_at() -> None:
    run = watched(digits.few_labels(0, per_class=5), {**PROBE, "rows": 30})
    assert run.probe is not None
    assert run.probe.labelled is not None
    assert (len(run.probe.rows), len(run.probe.labelled)) == (30, 30)


def test_a_collapse_is_seen() -> None:
    run = watched(tiny.images(), {})
    metrics = []
    for event in run.train():
        ruin(run, event)
        if isinstance(event, Evaluated):
            metrics.append((event.metrics["watch/effective_rank"], event.metrics["watch/dead_units"]))
    assert metrics[0][0] > 1
    assert metrics[0][1] < 1
    assert metrics[-1] == (0, 1)


@pytest.mark.parametrize(
    ("watch", "word"), [({"keep": "best"}, "keep is about a probe"), ({"patience": 3}, "patience is about a probe")]
)
def test_what_needs_a_probe_needs_a_target(watch: dict[str, Any], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        PretrainingConfig.model_validate({"watch": watch})


def test_what_does_not_fit_is_refused_by_name() -> None:
    stopping = {**TRAINING, "early_stopping": {}}
    for watch, auxiliary, training, place, word in (
        ({"target": "colour"}, None, TRAINING, ("watch", "target"), "it has 'label', 'size'"),
        ({**PROBE, "keep": "best"}, None, stopping, ("watch", "keep"), "choose one of the two"),
        ({**PROBE, "dataset": "ds_1"}, tiny.images(), TRAINING, ("watch", "dataset"), "of modality image"),
    ):
        with pytest.raises(ConfigError, match=word) as refused:
            watched(tiny.table(), watch, auxiliary, training=training)
        assert refused.value.loc == place
    fewer = tiny.table()
    spec = fewer.spec.model_copy(update={"columns": fewer.spec.columns[1:], "shape": (3,)})
    config = PretrainingConfig.model_validate({"watch": {**PROBE, "dataset": "ds_1"}})
    with pytest.raises(ConfigError, match="it lacks column 'width'"):
        resolve_pretraining(config, fewer.spec, spec)


def warnings_of(events: list[Event]) -> list[WarningItem]:
    return [event for event in events if isinstance(event, WarningItem)]


def test_a_pretraining_that_loses_the_target_warns_once_while_it_runs() -> None:
    data = tiny.images(rows=240)
    training = {**TRAINING, "epochs": 10, "optimizer": {"kind": "adamw", "lr": 3.0}}
    events = list(watched(data, PROBE, training=training).train())
    (warning,) = warnings_of(events)
    assert warning.code == WarningCode.WORSE_THAN_UNTRAINED
    assert "'label'" in warning.message
    assert "untrained network" in warning.message
    assert warning.count == len(data.positions("train"))
    place = events.index(warning)
    assert isinstance(events[place + 1], Evaluated), "the evaluation that showed it"
    assert sum(isinstance(event, Evaluated) for event in events[place:]) > 1, "it comes while training runs"


@pytest.mark.parametrize("modality", tiny.DATASETS)
def test_sound_pretrainings_do_not_warn_and_are_watched_by_default(modality: ModalityKind) -> None:
    data = tiny.DATASETS[modality](rows=90)
    config = PretrainingConfig.model_validate({"training": {**TRAINING, "optimizer": {"kind": "adamw", "lr": 1e-3}}})
    resolved = resolve_pretraining(config, data.spec)
    assert resolved.config.watch is not None
    assert (resolved.config.watch.target, resolved.config.watch.keep) == ("label", "last")
    assert "watch" in {decision.field for decision in resolved.decisions}
    events = list(prepare(resolved.config, data).train())
    assert len(scores(events)) == 6
    assert not warnings_of(events)


def test_few_labels_or_null_are_not_watched() -> None:
    data = tiny.table(rows=60)
    assert resolve_pretraining(PretrainingConfig(), data.spec).config.watch is None, "40 train rows"
    many = tiny.table(rows=90)
    assert resolve_pretraining(PretrainingConfig(watch=None), many.spec).config.watch is None
