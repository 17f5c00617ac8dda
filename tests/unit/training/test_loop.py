"""The loop: its order, its length, what it tells, and that a run may be cut at any event."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from app.ml.configs.learning import FineTuningConfig, PretrainingConfig
from app.ml.configs.training import TrainingConfig
from app.ml.data.arrays import Examples, InMemory
from app.ml.kinds.schedules import Constant, Cosine
from app.ml.models.assembly import FineTuning
from app.ml.resolution.fine_tuning import resolve_fine_tuning
from app.ml.resolution.pretraining import resolve_pretraining
from tests.support import tiny
from worker.training import loop
from worker.training.batches import epoch_batches, epoch_order
from worker.training.events import EpochDone, Evaluated, Event, Finished, Started, StepDone
from worker.training.run import Run, prepare
from worker.training.schedule import rate_factor


def pretraining(**training: Any) -> Run:
    data = tiny.images()
    request = {
        "backbone": {"kind": "mlp", "hidden": [16, 8]},
        "method": {"kind": "autoencoder"},
        "training": {"epochs": 3, "batch_size": 10, "optimizer": {"kind": "adamw", "lr": 0.01}, **training},
    }
    return prepare(resolve_pretraining(PretrainingConfig.model_validate(request), data.spec).config, data)


def losses_of(events: list[Event]) -> list[float]:
    return [event.losses["loss"].item() for event in events if isinstance(event, StepDone)]


def test_a_step_keeps_its_order(monkeypatch: pytest.MonkeyPatch) -> None:
    run = pretraining(clip_grad_norm=1.0, schedule={"kind": "constant", "warmup_steps": 4})
    calls: list[str] = []
    optimizer, objective = run.state.optimizer, run.state.objective

    def spy(owner: Any, name: str, word: str) -> None:
        inner = getattr(owner, name)

        def wrapper(*args: Any, **kwargs: Any) -> Any:
            calls.append(f"{word} {run.state.progress.step}")
            return inner(*args, **kwargs)

        monkeypatch.setattr(owner, name, wrapper)

    spy(loop, "set_rate", "rate")
    spy(objective, "loss", "forward")
    spy(torch.Tensor, "backward", "backward")
    spy(torch.nn.utils, "clip_grads_with_norm_", "clip")
    spy(optimizer, "step", "step")
    for event in run.train():
        if isinstance(event, StepDone):
            calls.append(f"count {event.step}")
            if event.step == 2:
                break
    order = ["rate", "forward", "backward", "clip", "step"]
    assert calls == [f"{word} 0" for word in order] + ["count 1"] + [f"{word} 1" for word in order] + ["count 2"]


def test_rates_follow_the_schedule_and_the_groups() -> None:
    data = tiny.images()
    request = {
        "heads": [{"kind": "classifier", "target": "label"}],
        "backbone": {"kind": "mlp", "hidden": [8]},
        "strategy": {"kind": "full", "backbone_lr_scale": 0.1},
        "training": {
            "steps": 6,
            "optimizer": {"kind": "sgd", "lr": 0.5},
            "schedule": {"kind": "cosine", "warmup_steps": 2},
        },
    }
    config = resolve_fine_tuning(FineTuningConfig.model_validate(request), data.spec, None).config
    run = prepare(config, data)
    rates = []
    for event in run.train():
        if isinstance(event, StepDone):
            heads, backbone = run.state.optimizer.param_groups
            assert heads["lr"] == event.lr
            assert backbone["lr"] == pytest.approx(0.1 * event.lr)
            rates.append(event.lr)
    assert rates == pytest.approx([0.25, 0.5, 0.5, 0.5 * 0.7525, 0.5 * 0.2575, 0.5 * 0.01], rel=1e-5)


def test_schedules() -> None:
    assert [rate_factor(Constant(warmup_steps=0), step, 3) for step in range(3)] == [1, 1, 1]
    cosine = Cosine(warmup_steps=0, final_fraction=0.2)
    assert rate_factor(cosine, 0, 11) == 1
    assert rate_factor(cosine, 5, 11) == pytest.approx(0.6)
    assert rate_factor(cosine, 10, 11) == 0.2, "the last step's rate is exactly the final one"
    assert rate_factor(cosine, 0, 1) == 1
    assert rate_factor(Cosine(warmup_steps=50), 49, 10) == 1


def test_an_epoch_takes_every_row_once_and_epochs_differ() -> None:
    batches = [batch for batch in epoch_batches(23, 5, seed=1, epoch=0) if batch is not None]
    assert [len(batch) for batch in batches] == [5, 5, 5, 5, 3]
    assert sorted(torch.cat(batches).tolist()) == list(range(23))
    assert not torch.equal(epoch_order(23, 1, 0), epoch_order(23, 1, 1))
    assert not torch.equal(epoch_order(23, 1, 0), epoch_order(23, 2, 0))
    resumed = [batch for batch in epoch_batches(23, 5, 1, 0, start=3) if batch is not None]
    assert all(torch.equal(batch, other) for batch, other in zip(resumed, batches[3:], strict=True))
    assert list(epoch_batches(5, 5, 1, 0)) == [None]
    assert list(epoch_batches(5, 5, 1, 0, start=1)) == []


def test_a_batch_of_everything_copies_nothing() -> None:
    values = torch.rand(6, 3)
    assert Examples(InMemory(values), {}).batch(None).inputs is values


@pytest.mark.parametrize(("amount", "steps"), [({"epochs": 2}, 8), ({"epochs": None, "steps": 6}, 6)])
def test_the_length_is_epochs_or_steps(amount: dict[str, Any], steps: int) -> None:
    events = list(pretraining(**amount).train())
    assert events[0] == Started(0, steps, 4)
    assert len(losses_of(events)) == steps
    assert isinstance(events[-2], Evaluated), "the end is measured"
    assert events[-1] == Finished(steps, "completed", steps)


@pytest.mark.parametrize("cut", range(19))
def test_a_run_cut_at_any_event_ends_the_same(cut: int, tmp_path: Path) -> None:
    expected = list(pretraining().train())
    assert len(expected) == 20
    first = pretraining()
    stream: Iterator[Event] = first.train()
    before = [next(stream) for _ in range(cut + 1)]
    first.state.save(tmp_path / "state")
    again = pretraining()
    again.state.load(tmp_path / "state")
    after = list(again.train())[1:]
    assert losses_of(before) + losses_of(after) == losses_of(expected)
    seen = [event for event in before + after if isinstance(event, Evaluated)]
    evaluations = [event for event in expected if isinstance(event, Evaluated)]
    assert list(dict.fromkeys(map(str, seen))) == list(map(str, evaluations))
    assert after[-1] == expected[-1]


def test_early_stopping_waits_for_its_patience_and_returns_to_the_best() -> None:
    run = pretraining(epochs=50, early_stopping={"patience": 2})
    validation = iter([5.0, 4.0, 4.5, float("nan"), 1.0])
    weights: list[dict[str, torch.Tensor]] = []

    def measure() -> dict[str, float]:
        weights.append({name: value.clone() for name, value in run.state.objective.state_dict().items()})
        return {"val/loss": next(validation)}

    events = list(loop.train(run.state, run.examples("train"), run.plan, measure))
    assert [event.best for event in events if isinstance(event, Evaluated)] == [True, True, False, False]
    assert events[-1] == Finished(16, "early_stopping", 8)
    final = run.state.objective.state_dict()
    assert all(torch.equal(weights[1][name], value) for name, value in final.items())
    assert any(not torch.equal(weights[3][name], value) for name, value in final.items())


@pytest.mark.parametrize(("min_delta", "gains"), [(0.0, [True, True, True, True]), (0.5, [True, False, True, False])])
def test_a_gain_is_a_fall_by_more_than_min_delta(min_delta: float, gains: list[bool]) -> None:
    run = pretraining(epochs=4, early_stopping={"patience": 3, "min_delta": min_delta})
    validation = iter([5.0, 4.75, 4.25, 4.0])  # 4.25 is 0.75 below the best until then, 4.0 only 0.25 below that
    metrics = ({"val/loss": loss} for loss in validation)
    events = list(loop.train(run.state, run.examples("train"), run.plan, lambda: next(metrics)))
    assert [event.best for event in events if isinstance(event, Evaluated)] == gains
    assert run.state.progress.best_loss == (4.25 if min_delta else 4.0)


def test_early_stopping_survives_a_resume(tmp_path: Path) -> None:
    def stopping() -> Run:
        return pretraining(epochs=200, early_stopping={"patience": 1}, optimizer={"kind": "sgd", "lr": 0.3})

    undisturbed = stopping()
    expected = list(undisturbed.train())
    assert expected[-1].reason == "early_stopping"  # type: ignore[union-attr]
    first = stopping()
    evaluations = 0
    for event in first.train():
        evaluations += isinstance(event, Evaluated)
        if evaluations == 2:
            break
    first.state.save(tmp_path / "state")
    again = stopping()
    again.state.load(tmp_path / "state")
    assert list(again.train())[-1] == expected[-1]
    expected = undisturbed.state.objective.state_dict()
    assert all(torch.equal(expected[name], value) for name, value in again.state.objective.state_dict().items())


def test_without_validation_rows_nothing_is_measured() -> None:
    run = pretraining()
    run.data.split[run.data.split == 1] = 0
    assert not any(isinstance(event, Evaluated) for event in run.train())
    assert run.evaluate("validation") is None


def test_evaluations_are_as_rare_as_asked() -> None:
    events = list(pretraining(epochs=7, evaluate_every=3).train())
    assert [event.epoch for event in events if isinstance(event, Evaluated)] == [2, 5, 6]
    assert sum(isinstance(event, EpochDone) for event in events) == 7


def test_dropout_is_off_while_measuring_and_on_again_after() -> None:
    data = tiny.images()
    request = {"backbone": {"kind": "mlp", "dropout": 0.5}, "training": {"epochs": 1}}
    run = prepare(resolve_pretraining(PretrainingConfig.model_validate(request), data.spec).config, data)
    assert run.evaluate("test") == run.evaluate("test")
    assert run.state.objective.training


def test_a_full_batch_training_is_the_plain_loop() -> None:
    """zero_grad, forward, loss, backward, step on an nn.Sequential: the same losses."""
    training = {"epochs": 20, "batch_size": 1000, "optimizer": {"kind": "adam", "lr": 0.01}, "precision": "float32"}
    run = pretraining(**training, schedule={"kind": "constant"})
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 8), nn.ReLU())
    plain.extend([nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 64)])
    optimizer = torch.optim.Adam(plain.parameters(), 0.01)
    inputs = run.examples("train").batch(None).inputs.flatten(1)
    expected = []
    for _ in range(20):
        optimizer.zero_grad()
        loss = 0.5 * (plain(inputs) - inputs).square().sum() / len(inputs)
        loss.backward()
        optimizer.step()
        expected.append(loss.item())
    assert losses_of(list(run.train())) == pytest.approx(expected, rel=1e-4)


def test_only_rows_with_the_label_train_a_head() -> None:
    data = tiny.images()
    data.targets[data.positions("train")[3:], 0] = float("nan")
    request = {"heads": [{"kind": "classifier", "target": "label"}], "training": {"epochs": 1}}
    config = resolve_fine_tuning(FineTuningConfig.model_validate(request), data.spec, None).config
    run = prepare(config, data)
    assert len(run.examples("train")) == 3
    assert isinstance(run.state.objective, FineTuning)


def test_a_training_config_needs_no_fields() -> None:
    assert TrainingConfig().epochs == "auto"
    assert TrainingConfig(steps=3).epochs is None
