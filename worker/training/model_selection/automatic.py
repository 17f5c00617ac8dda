"""A training whose config may leave it to the labels what is learned: see `ladder`."""

import math

import torch

from app.ml.configs.resolved import ResolvedFineTuning
from app.ml.data.arrays import ArrayData
from app.ml.data.tensor_file import Tensors
from app.ml.fitting.features import GetOrCompute, uncached
from app.ml.kinds.strategies.automatic import OF_THE_MODEL, ResolvedAutomatic
from app.ml.kinds.strategies.base import StrategyConfig
from app.ml.models.bundle import Bundle
from app.ml.resolution.candidates import Candidate
from app.ml.spec import WarningCode, WarningItem
from worker.training import run
from worker.training.events import Note
from worker.training.model_selection.ladder import Ladder
from worker.training.model_selection.measurement import Trainer
from worker.training.run import AnyRunConfig, Run
from worker.training.selected import Selected


def prepare(  # noqa: PLR0913 - what a training is made of, all by name
    config: AnyRunConfig,
    data: ArrayData,
    *,
    device: str | torch.device = "cpu",
    parent: Bundle | None = None,
    selected: Selected | None = None,
    strategy: StrategyConfig | None = None,
    cache: GetOrCompute = uncached,
    auxiliary: ArrayData | None = None,
    most_seconds: float = math.inf,
    baseline: StrategyConfig | None = None,
) -> Run:
    """Prepare a training as `run.prepare` does, once what `automatic` leaves open is selected.

    `selected` and `strategy` are what an earlier attempt at the same training selected; nothing is selected again.
    Choosing takes `most_seconds` of CPU at most, whatever the config says. `baseline` is a strategy for the same heads
    on the pretrained model, which what is selected is compared with.
    """
    device = torch.device(device)
    if not isinstance(config, ResolvedFineTuning) or not isinstance(config.strategy, ResolvedAutomatic):
        return run.prepare(
            config, data, device=device, parent=parent, strategy=strategy, cache=cache, auxiliary=auxiliary
        )
    held_out: Tensors = {}
    notes: tuple[Note, ...] = ()
    layer: Note | None = None
    if selected is None:
        budget = min(config.strategy.budget_seconds, most_seconds)
        ladder = Ladder(config, Trainer(data, parent, device, cache), budget, baseline=_baseline(config, baseline))
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            selected, measured, notes = ladder.climb()
        held_out = measured.held_out if measured else {}
        if measured is not None and measured.layer and len(measured.rows) == _labelled(config, data):
            strategy, layer = measured.objective.strategy, measured.layer  # the same rows would choose it again
    start = parent if selected.pretrained else None
    training = run.prepare(
        selected.config, data, device=device, parent=start, strategy=strategy, cache=cache, auxiliary=auxiliary
    )
    training.selected, training.requested = selected, config
    unused = [_not_used(selected)] if parent is not None and not selected.pretrained and notes else []
    training.notes = (*unused, *training.notes, *([layer] if layer else []), *notes)
    training.state.held_out = held_out
    return training


def _labelled(config: ResolvedFineTuning, data: ArrayData) -> int:
    return len(data.positions("train", config.targets))


def _baseline(config: ResolvedFineTuning, strategy: StrategyConfig | None) -> Candidate | None:
    if strategy is None:
        return None
    return Candidate("linear_probe", config.model_copy(update={"strategy": strategy}), pretrained=True)


def _not_used(selected: Selected) -> WarningItem:
    scores = {rung.candidate: rung.score for rung in selected.ladder if rung.score is not None}
    of_model = [score for name, score in scores.items() if name in OF_THE_MODEL and name != "untrained"]
    best = f"{max(of_model):.3f}" if of_model else "not measured"
    message = (
        f"The pretrained model is not used: on train rows held out {selected.candidate} scores "
        f"{scores.get(selected.candidate, 0):.3f}, and the best way on the model {best}."
    )
    remedy = '`"strategy": {"kind": "linear_probe"}` learns on the model whatever the scores are.'
    return WarningItem(code=WarningCode.MODEL_NOT_USED, message=message, remedy=remedy)
