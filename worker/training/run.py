"""One training from its config and data to a model's files.

data = ArrayData.open(folder)
run = prepare(config, data)                 # config: resolved, without any "auto"
run.state.load(checkpoint)                  # only when resuming
for event in run.train():                   # report, run.state.save(path), or stop
    ...
metrics = run.evaluate("test")
names = run.save_bundle(folder)
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from app.ml.configs.resolved import ResolvedFineTuning, ResolvedPretraining
from app.ml.data.arrays import ArrayData, Examples, InMemory, Subset
from app.ml.fitting.evaluation import Evaluation, calibrate, calibrate_by, evaluate, features_of
from app.ml.fitting.far_targets import warn_of_far_targets
from app.ml.fitting.features import GetOrCompute, feature_key, uncached
from app.ml.fitting.objective import (
    build_objective,
    fit_statistics,
    head_entries,
    inherited_by,
    warn_of_dropped_classes,
)
from app.ml.fitting.settling import settle_heads
from app.ml.fitting.unknown_values import check_unknown_values
from app.ml.interfaces import Backbone, Head, Modality, Objective
from app.ml.kinds.modalities import AnyModality
from app.ml.kinds.registry import FAMILIES, kinds
from app.ml.kinds.strategies.base import StrategyConfig
from app.ml.kinds.strategies.linear_probe import ResolvedLinearProbe
from app.ml.kinds.supervision.base import JointObjective
from app.ml.models.assembly import FineTuning
from app.ml.models.bundle import Bundle, Manifest, save_bundle
from app.ml.models.partial_loading import load_partially
from app.ml.resolution.inheritance import with_inherited_classes
from app.ml.resolution.pretrained import inherits_preprocessing
from app.ml.spec import Decision, Split, WarningItem
from worker.training.batches import notes_on_order
from worker.training.events import EpochDone, Event, Note
from worker.training.label_propagation.pseudo_labels import LabelPropagation
from worker.training.layer_selection import SelectionContext, select_layer
from worker.training.loop import Metrics, Plan, train
from worker.training.online_probe import OnlineProbe
from worker.training.optimizer import build_optimizer
from worker.training.precision import use_channels_last
from worker.training.selected import Selected
from worker.training.solve import solve_heads, train_by_solving
from worker.training.state import LoopState
from worker.training.task_affinity import is_due, measure_task_affinity

AnyRunConfig = ResolvedPretraining | ResolvedFineTuning
_MANY_VALIDATION_ROWS = 50  # of fewer, train rows that were left out in the selection say more


@dataclass
class Run:
    """A prepared training. Splits are encoded when they are first needed, and then stay in memory."""

    config: AnyRunConfig
    data: ArrayData
    modality: AnyModality
    state: LoopState
    splits: dict[Split, Examples] = field(default_factory=dict)
    notes: tuple[Note | WarningItem, ...] = ()  # what was loaded and selected while preparing
    cache: GetOrCompute = uncached  # for features of a frozen backbone
    probe: OnlineProbe | None = None  # of a pretraining
    label_propagation: LabelPropagation | None = None  # of a fine-tuning
    selected: Selected | None = None  # of a fine-tuning that chose among candidates: how the config was found
    requested: ResolvedFineTuning | None = None  # and the config that left it open
    learned_splits: tuple[Split, ...] = ("train",)  # which rows of the dataset are in the run's train split

    @property
    def plan(self) -> Plan:
        """How long the training is."""
        rows, least_rows = len(self.examples("train")), self.state.objective.least_rows
        return Plan(self.config.training, rows, self._solving == "only", least_rows)

    @property
    def lr(self) -> float:
        """The learning rate of the last step, with what a divergence has left of it."""
        progress = self.state.progress
        return self.plan.lr(max(progress.step - 1, 0)) * progress.rate

    def train(self) -> Iterator[Event]:
        """Train from where the state is; once that has ended, calibrate the heads on rows that they did not learn."""
        yield from self._steps()
        objective = self.state.objective
        if not isinstance(objective, FineTuning):
            return
        # Pseudo-labels learn their own temperature.
        left_out = bool(self.state.held_out) and self.label_propagation is None
        if len(self.examples("validation")) >= (_MANY_VALIDATION_ROWS if left_out else 1):
            calibrate(objective, self.examples("validation"))
        elif left_out:
            self._calibrate_by_held_out(objective)

    def _calibrate_by_held_out(self, objective: FineTuning) -> None:
        """Calibrate on train rows, each answered by heads that were fitted without it in the selection."""
        rows = self.state.held_out["rows"].cpu().numpy()
        device = self.state.device
        labels = {name: self.data.labels(name, rows).to(device) for name in _targets(self.config)}
        outputs = [self.state.held_out[str(index)].to(device) for index in range(len(objective.configs))]
        calibrate_by(objective, outputs, labels)

    def _steps(self) -> Iterator[Event]:
        examples, objective = self.examples("train"), self.state.objective
        validate = self._validate if len(self.examples("validation")) >= objective.least_rows else None
        if self._solving == "only":
            yield from train_by_solving(self.state, examples, validate, self.label_propagation)
            return
        # A run that is resumed from a later step has heads that were solved for already, and trained since.
        if self._solving in ("first", "around") and self.state.progress.step == 0:
            assert isinstance(objective, FineTuning)
            yield solve_heads(objective, examples)
        for event in train(self.state, examples, self.plan, validate, self.probe):
            yield event
            if isinstance(event, EpochDone) and is_due(self.plan, event.epoch, event.step):
                self.state.gather()
                measure_task_affinity(objective, examples, self.plan, event.epoch)
        if self._solving == "around":
            assert isinstance(objective, FineTuning)
            # Anew: solving scales the standardisation by the layers' widths.
            fit_statistics(objective, examples, self._inherited_heads)
            yield solve_heads(objective, examples)

    @property
    def _inherited_heads(self) -> tuple[str, ...]:
        return self.config.inherited_heads if isinstance(self.config, ResolvedFineTuning) else ()

    @property
    def _solving(self) -> str:
        """When the heads are solved for: "only", "first", "around" the steps, or "never"."""
        objective = self.state.objective
        return objective.strategy.solving if isinstance(objective, FineTuning) else "never"

    def evaluate(self, split: Split) -> Evaluation | None:
        """Evaluate a split with the weights as they are; None where it has no rows, or one that needs another."""
        examples, objective = self.examples(split), self.state.objective
        return evaluate(objective, examples, split) if len(examples) >= objective.least_rows else None

    def tasks(self) -> dict[str, Any]:
        """{"tasks": which head's learning helps which}, where several heads trained the backbone together."""
        objective = self.state.objective
        if not isinstance(objective, FineTuning) or objective.affinity is None:
            return {}
        return {"tasks": objective.affinity.as_json([config.key for config in objective.configs])}

    def ladder(self) -> dict[str, Any]:
        """{"ladder": all candidates with their scores and costs}, where the config was selected among several."""
        return {"ladder": [rung.model_dump(mode="json") for rung in self.selected.ladder]} if self.selected else {}

    @property
    def starts_from_model(self) -> bool:
        """Whether it starts from the pretrained model that was given, if any was."""
        return self.selected is None or self.selected.pretrained

    def examples(self, split: Split) -> Examples:
        """A split's rows, or for a frozen backbone their features; of a fine-tuning only labelled rows."""
        if split not in self.splits:
            targets = _targets(self.config)
            examples = self.data.examples(
                split, self.modality, self.state.device, targets, _optional_targets(self.config)
            )
            objective = self.state.objective
            # A frozen backbone runs once for each row: from here on the features (N, F) stand for the rows.
            if isinstance(objective, FineTuning) and objective.strategy.caches_features and len(examples):
                features = partial(features_of, objective, examples)
                examples = Examples(InMemory(self.cache(self._feature_key(split), features)), examples.targets)
            self.splits[split] = examples
        return self.splits[split]

    def _feature_key(self, split: Split) -> str:
        rows, strategy = self.data.positions(split, _targets(self.config)), self.strategy
        assert strategy is not None
        return feature_key(self.state.objective.backbone, self.modality, rows, strategy.source, self.config.backbone)

    def save_bundle(self, folder: Path) -> list[str]:
        """Write the model's files into an existing folder; return their names."""
        return save_bundle(folder, self.bundle())

    def bundle(self) -> Bundle:
        """The model with the weights as they are now; a strategy's additions are merged into the backbone."""
        objective = self.state.objective
        backbone = objective.backbone
        if isinstance(objective, FineTuning):
            heads = zip(objective.configs, objective.each_head(), strict=True)
            by_key: dict[str, Head] = {config.key: head for config, head in heads}
            return Bundle(self._manifest(), objective.strategy.merged(backbone), by_key, {})
        return Bundle(self._manifest(), backbone, {}, objective.learned())

    def _validate(self) -> Metrics:
        evaluation = self.evaluate("validation")
        assert evaluation is not None
        return evaluation.scalars()

    def _manifest(self) -> Manifest:
        config, backbone = self.config, self.state.objective.backbone
        fine_tuned = isinstance(config, ResolvedFineTuning)
        return Manifest(
            kind="fine_tuned" if fine_tuned else "backbone",
            preprocessing=config.preprocessing,
            modality=self.modality,
            backbone=config.backbone,
            encoding=backbone.encoding,
            features=backbone.features,
            heads=head_entries(config, self.data.spec) if isinstance(config, ResolvedFineTuning) else (),
            method=config.method if isinstance(config, ResolvedPretraining) else None,
            labels=config.labels if isinstance(config, ResolvedPretraining) else None,
            watch=config.watch if isinstance(config, ResolvedPretraining) else None,
            strategy=self.strategy,
            learned_splits=self.learned_splits,
        )

    @property
    def strategy(self) -> StrategyConfig | None:
        """How the backbone is adapted, with nothing left to select; None for a pretraining."""
        objective = self.state.objective
        return objective.strategy if isinstance(objective, FineTuning) else None


def prepare(
    config: AnyRunConfig,
    data: ArrayData,
    *,
    device: str | torch.device = "cpu",
    parent: Bundle | None = None,
    strategy: StrategyConfig | None = None,
    cache: GetOrCompute = uncached,
    auxiliary: ArrayData | None = None,
) -> Run:
    """Build everything for a resolved config. The seed is set here, before the first weight is drawn.

    With a `parent` its preprocessing and backbone are used, as copies; the resolution has checked that they fit. Only
    the scale of numbers in JSON, and how other sizes are treated, are the new dataset's: whoever asks the new model
    sends images as they were uploaded for it.
    A `strategy` is the one that an earlier attempt at the same training selected; nothing is selected again. `cache`
    may hold features already. `auxiliary` is the other dataset that the config names.
    """
    # Everything below draws from torch's global generators in a fixed order: weights of the backbone, of the method or
    # the heads (on the CPU), then what objectives fit at random. In another order it would be another training.
    torch.manual_seed(config.training.seed)
    device = torch.device(device)
    inherited = inherited_by(config, parent) if isinstance(config, ResolvedFineTuning) else {}
    data = data.with_classes(with_inherited_classes(data.spec, inherited.values()))
    modality = _modality(config, data, parent)
    unknown = () if parent is None else check_unknown_values(modality, data)
    backbone, loaded = _backbone(config, data, modality, parent)
    objective: Objective
    notes: tuple[Note | WarningItem, ...] = ()
    if isinstance(config, ResolvedPretraining):
        objective = _pretraining(config, data, backbone)
    else:
        assert not config.strategy.selects_strategy, "what automatic stands for must be selected before"
        if strategy is None:
            strategy, notes = _select(SelectionContext(config, data, modality, backbone, device, cache))
        # Heads draw their weights on the CPU, whatever the device: the same seed gives the same weights everywhere.
        objective = build_objective(config, data.spec, backbone.cpu(), strategy, parent)
    objective.augmentations = config.augmentations
    objective.to(device)
    use_channels_last(objective)
    optimizer = build_optimizer(config.training.optimizer, objective.groups())
    state = LoopState(objective, optimizer, device, frozen=_frozen(config, objective, optimizer, parent))
    run = Run(config, data, modality, state, notes=(*modality.warnings, *unknown, *loaded, *notes), cache=cache)
    if isinstance(config, ResolvedPretraining):
        if config.watch is not None:
            run.probe = OnlineProbe.open(config.watch, data, auxiliary, modality, device)
    elif config.unlabelled is not None:
        run.label_propagation = LabelPropagation.open(config, data, auxiliary, modality, device)
    # The objective first, on the device: initial centroids, say. Heads after it: they standardise by features.
    objective.fit(run.examples("train"))
    run.notes = (*notes_on_order(run.examples("train").shards), *run.notes)
    if run.probe is not None:
        run.probe = run.probe.with_untrained(objective)
    if isinstance(objective, FineTuning):
        assert isinstance(config, ResolvedFineTuning)
        run.config, decisions = settle_heads(config, objective, run.examples("train"))
        fit_statistics(objective, run.examples("train"), config.inherited_heads)
        run.notes = (
            *warn_of_dropped_classes(config, objective, parent),
            *warn_of_far_targets(objective, run.examples("train")),
            *map(_note_of, decisions),
            *run.notes,
        )
    return run


def _note_of(decision: Decision) -> Note:
    return Note("head.settled", f"{decision.field} is {decision.value}: {decision.reason}.", decision.model_dump())


def _frozen(
    config: AnyRunConfig, objective: Objective, optimizer: torch.optim.Optimizer, parent: Bundle | None
) -> frozenset[str]:
    """Names of the backbone's weights that stay the parent's: nothing trains them."""
    if parent is None or not isinstance(config, ResolvedFineTuning) or config.loading != "strict":
        return frozenset()  # weights that were drawn are saved: another release may draw others
    trained = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    named = objective.backbone.named_parameters(prefix="backbone", remove_duplicate=False)
    return frozenset(name for name, parameter in named if id(parameter) not in trained)


def fit_modality(config: AnyRunConfig, data: ArrayData) -> AnyModality:
    """Fit the preprocessing on the train split."""
    kind = kinds(FAMILIES["modalities"])[data.spec.modality]
    assert issubclass(kind, Modality)
    rows = data.to_fit() if kind.learns else Subset(data.inputs, data.split[:0])
    return kind.fit(rows, data.spec, config.preprocessing)  # type: ignore[return-value]


def _modality(config: AnyRunConfig, data: ArrayData, parent: Bundle | None) -> AnyModality:
    """The parent's preprocessing, unless it does not fit and the backbone is loaded in part."""
    if parent is None:
        return fit_modality(config, data)
    if isinstance(config, ResolvedFineTuning) and not inherits_preprocessing(config, data.spec, parent.manifest):
        return fit_modality(config, data)
    return parent.manifest.modality.adapted_to(data.to_fit(), data.spec)


def _pretraining(config: ResolvedPretraining, data: ArrayData, backbone: Backbone) -> Objective:
    labels = config.labels
    objective = config.method.build(backbone)
    target = data.spec.target(labels.target) if labels else None
    if labels is None or target is None:
        return objective
    # Labels join the method: a supervised term on the same features, over the rows that carry the target.
    return JointObjective(objective, labels.build(backbone.features, target), labels)


def _select(context: SelectionContext) -> tuple[StrategyConfig, tuple[Note, ...]]:
    """The strategy with the layer that it leaves open; torch's global generators stay untouched."""
    strategy = context.config.strategy
    if not isinstance(strategy, ResolvedLinearProbe) or strategy.layer != "best":
        return strategy, ()
    with torch.random.fork_rng(devices=[context.device] if context.device.type == "cuda" else []):
        probe, note = select_layer(strategy, context)
    return probe, (note,)


def _backbone(
    config: AnyRunConfig, data: ArrayData, modality: AnyModality, parent: Bundle | None
) -> tuple[Backbone, tuple[Note, ...]]:
    """The backbone with the weights that training starts from: copies, the parent may be serving."""
    built = config.backbone.build(modality.encoding)
    loads_partially = isinstance(config, ResolvedFineTuning) and config.loading == "partial"
    if parent is None or loads_partially:
        built.initialize(data.to_initialize(modality))
    if parent is None:
        return built, ()
    # Fresh weights are drawn first and then overwritten: what does not fit the parent keeps them.
    if loads_partially:
        loaded = load_partially(built, parent.backbone.state_dict(), parent.manifest.encoding)
        return built, (Note("weights.loaded", f"{loaded.words}.", loaded.as_json()),)
    built.load_state_dict(parent.backbone.state_dict())
    return built, ()


def _targets(config: AnyRunConfig) -> tuple[str, ...]:
    """The targets that a row must carry one of to take part."""
    return () if isinstance(config, ResolvedPretraining) else config.targets


def _optional_targets(config: AnyRunConfig) -> tuple[str, ...]:
    """The targets that rows of a pretraining may carry: a supervised term learns from those that do."""
    return (config.labels.target,) if isinstance(config, ResolvedPretraining) and config.labels else ()
