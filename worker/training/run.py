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

from app.ml.configs.learning import FineTuningConfig, PretrainingConfig
from app.ml.data.arrays import ArrayData, Chosen, Examples, InMemory
from app.ml.data.spec import Split
from app.ml.interfaces import Backbone, Head, Modality, Objective
from app.ml.kinds.methods import AnyMethod
from app.ml.kinds.modalities import AnyModality
from app.ml.kinds.registry import FAMILIES, kinds
from app.ml.kinds.strategies import AnyStrategy
from app.ml.kinds.supervision.term import JointObjective
from app.ml.models.assembly import FineTuning, build_heads, stacked, targets_of
from app.ml.models.bundle import Bundle, HeadEntry, Manifest, save_bundle
from app.ml.models.checkpoint import Tensors
from app.ml.models.partial_loading import take_over
from app.ml.resolution.pretrained import inherits_preprocessing
from worker.training.evaluation import Evaluation, calibrate, evaluate, features_of
from worker.training.events import EpochDone, Event, Noted
from worker.training.features import Keeper, computed, feature_key
from worker.training.label_propagation.pseudo_labels import Unlabelled
from worker.training.loop import Metrics, Plan, train
from worker.training.model_selection import Ground, chosen
from worker.training.online_probe import Watcher, watcher
from worker.training.optimizer import build_optimizer
from worker.training.precision import lay_out
from worker.training.solve import solve_heads, train_by_solving
from worker.training.state import LoopState
from worker.training.task_affinity import is_due, measure_tasks

AnyRunConfig = PretrainingConfig | FineTuningConfig


@dataclass
class Run:
    """A prepared training. Splits are encoded when first needed and then kept."""

    config: AnyRunConfig
    data: ArrayData
    modality: AnyModality
    state: LoopState
    splits: dict[Split, Examples] = field(default_factory=dict)
    notes: tuple[Noted, ...] = ()  # what was found and chosen while preparing
    keep: Keeper = computed  # features of a frozen backbone
    watcher: Watcher | None = None  # of a pretraining
    unlabelled: Unlabelled | None = None  # of a fine-tuning

    @property
    def plan(self) -> Plan:
        """Its length."""
        return Plan(self.config.training, len(self.examples("train")), self._solving == "only")

    @property
    def lr(self) -> float:
        """The rate of the last step, as it really was."""
        progress = self.state.progress
        return self.plan.lr(max(progress.step - 1, 0)) * progress.rate

    def train(self) -> Iterator[Event]:
        """The loop, from where the state is; once it has ended, heads are calibrated on the validation rows."""
        yield from self._steps()
        if isinstance(self.state.objective, FineTuning) and len(self.examples("validation")):
            calibrate(self.state.objective, self.examples("validation"))

    def _steps(self) -> Iterator[Event]:
        examples, objective = self.examples("train"), self.state.objective
        validate = self._validate if len(self.examples("validation")) else None
        if self._solving == "only":
            yield from train_by_solving(self.state, examples, validate, self.unlabelled)
            return
        if self._solving in ("first", "around") and self.state.progress.step == 0:
            assert isinstance(objective, FineTuning)
            yield solve_heads(objective, examples)
        for event in train(self.state, examples, self.plan, validate, self.watcher):
            yield event
            if isinstance(event, EpochDone) and is_due(self.plan, event.epoch, event.step):
                measure_tasks(objective, examples, self.plan, event.epoch)
        if self._solving == "around":
            assert isinstance(objective, FineTuning)
            _fit_heads(self, objective)  # as before the first time: solutions scale some of it
            yield solve_heads(objective, examples)

    @property
    def _solving(self) -> str:
        objective = self.state.objective
        return objective.strategy.solving if isinstance(objective, FineTuning) else "never"

    def evaluate(self, split: Split) -> Evaluation | None:
        """Measure a split with the weights as they are; None where it has no rows."""
        examples = self.examples(split)
        return evaluate(self.state.objective, examples, split) if len(examples) else None

    def tasks(self) -> dict[str, Any]:
        """{"tasks": which head helps which}, where several have learned together."""
        objective = self.state.objective
        if not isinstance(objective, FineTuning) or objective.affinity is None:
            return {}
        return {"tasks": objective.affinity.as_json([config.key for config in objective.configs])}

    def examples(self, split: Split) -> Examples:
        """A split's rows, or for a frozen backbone their features; for fine-tuning only labelled rows."""
        if split not in self.splits:
            targets = _targets(self.config)
            examples = self.data.examples(split, self.modality, self.state.device, targets, _joining(self.config))
            objective = self.state.objective
            if isinstance(objective, FineTuning) and objective.strategy.caches_features and len(examples):
                features = partial(features_of, objective, examples)
                examples = Examples(InMemory(self.keep(self._feature_key(split), features)), examples.targets)
            self.splits[split] = examples
        return self.splits[split]

    def _feature_key(self, split: Split) -> str:
        rows, strategy = self.data.positions(split, _targets(self.config)), self.strategy
        assert strategy is not None
        return feature_key(self.state.objective.backbone, self.modality, rows, strategy.source, self.config.backbone)

    def save_bundle(self, folder: Path) -> list[str]:
        """Write the model's files into an existing folder; returns their names."""
        return save_bundle(folder, self.bundle())

    def bundle(self) -> Bundle:
        """The model as it is now."""
        objective = self.state.objective
        backbone = objective.backbone
        if isinstance(objective, FineTuning):
            backbone = objective.strategy.merged(backbone)
        return Bundle(self._manifest(), backbone, self._heads(), self._method_state())

    def _method_state(self) -> Tensors:
        """What a pretraining method learned beside the backbone."""
        objective = self.state.objective
        return {} if isinstance(objective, FineTuning) else objective.learned()

    def _validate(self) -> Metrics:
        measured = self.evaluate("validation")
        assert measured is not None
        return measured.scalars()

    def _heads(self) -> dict[str, Head]:
        objective = self.state.objective
        if not isinstance(objective, FineTuning):
            return {}
        return {config.key: head for config, head in zip(objective.configs, objective.each_head(), strict=True)}

    def _manifest(self) -> Manifest:
        config, backbone = self.config, self.state.objective.backbone
        assert not isinstance(config.backbone, str)
        assert not isinstance(config.preprocessing, str)
        fine_tuned = isinstance(config, FineTuningConfig)
        return Manifest(
            kind="fine_tuned" if fine_tuned else "backbone",
            preprocessing=config.preprocessing,
            modality=self.modality,
            backbone=config.backbone,
            encoding=backbone.encoding,
            features=backbone.features,
            heads=_head_entries(config, self.data),
            method=_method(config),
            labels=config.labels if isinstance(config, PretrainingConfig) else None,
            watch=config.watch if isinstance(config, PretrainingConfig) else None,
            strategy=self.strategy,
        )

    @property
    def strategy(self) -> AnyStrategy | None:
        """How the backbone is adapted, with nothing left to choose; None where there is nothing to adapt to."""
        objective = self.state.objective
        return objective.strategy if isinstance(objective, FineTuning) else None  # type: ignore[return-value]


def prepare(
    config: AnyRunConfig,
    data: ArrayData,
    *,
    device: str | torch.device = "cpu",
    parent: Bundle | None = None,
    strategy: AnyStrategy | None = None,
    keep: Keeper = computed,
    beside: ArrayData | None = None,
) -> Run:
    """Build everything for a resolved config. The seed is set here, before the first weight is drawn.

    With a `parent` its preprocessing and backbone are used, as copies; the resolution has checked that they fit. Only
    the scale of numbers in JSON, and how other sizes are treated, are the new dataset's: whoever asks the new model
    sends images as they were uploaded for it.
    A `strategy` is what an earlier attempt at the same training chose; it is not chosen again. `keep` may know
    features already. `beside` are the rows of another dataset that the config names.
    """
    torch.manual_seed(config.training.seed)
    device = torch.device(device)
    modality = _modality(config, data, parent)
    backbone, loaded = _backbone(config, modality, parent)
    objective: Objective
    notes: tuple[Noted, ...] = ()
    if isinstance(config, PretrainingConfig):
        objective = _pretraining(config, data, backbone)
    else:
        trial = partial(_trial, device, parent)
        ground = Ground(config, data, modality, backbone, parent is not None, device, trial, keep)
        found, notes = chosen(_strategy(config), ground) if strategy is None else (strategy, ())
        objective = _fine_tuning(config, data, backbone.cpu(), found, parent)
    assert not isinstance(config.augmentations, str)
    objective.augmentations = config.augmentations
    objective.to(device)
    lay_out(objective)
    optimizer = build_optimizer(config.training.optimizer, objective.groups())
    state = LoopState(objective, optimizer, device)
    run = Run(config, data, modality, state, notes=(*loaded, *notes), keep=keep)
    if isinstance(config, PretrainingConfig):
        run.watcher = watcher(config.watch, data, beside, modality, device)
    elif config.unlabelled is not None:
        run.unlabelled = Unlabelled.of(config, data, beside, modality, device)
    objective.fit(run.examples("train"))
    if isinstance(objective, FineTuning):
        _fit_heads(run, objective)
    return run


def fit_modality(config: AnyRunConfig, data: ArrayData) -> AnyModality:
    """Preprocessing learned from the train split."""
    kind = kinds(FAMILIES["modalities"])[data.spec.modality]
    assert issubclass(kind, Modality)
    rows = data.to_fit() if kind.learns else Chosen(data.inputs, data.split[:0])
    return kind.fit(rows, data.spec, config.preprocessing)  # type: ignore[return-value]


def _modality(config: AnyRunConfig, data: ArrayData, parent: Bundle | None) -> AnyModality:
    """The parent's preprocessing, unless it does not fit and the backbone is loaded in part."""
    if parent is None or not inherits_preprocessing(config, data.spec, parent.manifest):
        return fit_modality(config, data)
    return parent.manifest.modality.adapted_to(data.to_fit(), data.spec)


def _pretraining(config: PretrainingConfig, data: ArrayData, backbone: Backbone) -> Objective:
    method, labels = _method(config), config.labels
    assert method is not None
    objective = method.build(backbone)
    target = data.spec.target(labels.target) if labels else None
    if labels is None or target is None:
        return objective
    return JointObjective(objective, labels.build(backbone.features, target), labels)


def _fine_tuning(
    config: FineTuningConfig, data: ArrayData, backbone: Backbone, strategy: AnyStrategy, parent: Bundle | None
) -> FineTuning:
    targets = [targets_of(head, data.spec) for head in config.heads]
    heads = build_heads(config.heads, strategy, backbone, targets)
    objective = FineTuning(strategy.adapt(backbone), heads, config.heads, strategy, config.balancing)
    for head in objective.each_head():
        head.inherit(parent.method if parent else {}, backbone)
    return objective


def _trial(device: torch.device, parent: Bundle | None, config: FineTuningConfig, data: ArrayData) -> Evaluation | None:
    """A training of its own, measured on the validation split."""
    run = prepare(config, data, device=device, parent=parent)
    for _ in run.train():
        pass
    return run.evaluate("validation")


def _backbone(config: AnyRunConfig, modality: AnyModality, parent: Bundle | None) -> tuple[Backbone, tuple[Noted, ...]]:
    """The backbone with the weights that training starts from: copies, the parent may be serving."""
    assert not isinstance(config.backbone, str)
    built = config.backbone.build(modality.encoding)
    if parent is None:
        return built, ()
    if isinstance(config, FineTuningConfig) and config.loading == "partial":
        done = take_over(built, parent.backbone.state_dict(), parent.manifest.encoding)
        return built, (Noted("weights.loaded", f"{done.words}.", done.as_json()),)
    built.load_state_dict(parent.backbone.state_dict())
    return built, ()


def _fit_heads(run: Run, objective: FineTuning) -> None:
    examples = run.examples("train")
    features = examples if objective.strategy.caches_features else None
    for config, head in zip(objective.configs, objective.each_head(), strict=True):
        if not config.needs_labels:
            head.fit_examples(examples)
        else:
            head.fit_target(stacked(config, examples.targets))
        if features is not None:
            head.fit_features(features.inputs.take(None))


def _strategy(config: FineTuningConfig) -> AnyStrategy:
    assert not isinstance(config.strategy, str)
    return config.strategy


def _method(config: AnyRunConfig) -> AnyMethod | None:
    if not isinstance(config, PretrainingConfig):
        return None
    assert not isinstance(config.method, str)
    return config.method


def _head_entries(config: AnyRunConfig, data: ArrayData) -> tuple[HeadEntry, ...]:
    if isinstance(config, PretrainingConfig):
        return ()
    return tuple(HeadEntry(config=head, targets=targets_of(head, data.spec)) for head in config.heads)


def _targets(config: AnyRunConfig) -> tuple[str, ...]:
    if isinstance(config, PretrainingConfig):
        return ()
    return tuple(dict.fromkeys(name for head in config.heads for name in head.targets))


def _joining(config: AnyRunConfig) -> tuple[str, ...]:
    """The targets that rows of a pretraining may carry."""
    return (config.labels.target,) if isinstance(config, PretrainingConfig) and config.labels else ()
