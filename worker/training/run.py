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
from pathlib import Path

import torch

from app.ml.assembly import FineTuning, build_heads
from app.ml.bundle import GOLDEN_ROWS, Bundle, HeadEntry, Manifest, save_bundle
from app.ml.configs import FineTuningConfig, PretrainingConfig
from app.ml.data import ArrayData, Examples
from app.ml.interfaces import Backbone, Head, Modality, Objective
from app.ml.modalities import AnyModality
from app.ml.registry import FAMILIES, kinds
from app.ml.spec import Split
from app.ml.strategies import AnyStrategy
from worker.training.evaluate import Evaluation, evaluate, features_of
from worker.training.events import Event
from worker.training.loop import Metrics, Plan, train
from worker.training.optimizer import build_optimizer
from worker.training.state import LoopState

AnyRunConfig = PretrainingConfig | FineTuningConfig


@dataclass
class Run:
    """A prepared training. Splits are encoded when first needed and then kept."""

    config: AnyRunConfig
    data: ArrayData
    modality: AnyModality
    state: LoopState
    splits: dict[Split, Examples] = field(default_factory=dict)

    @property
    def plan(self) -> Plan:
        """Its length."""
        return Plan(self.config.training, len(self.examples("train")))

    def train(self) -> Iterator[Event]:
        """The loop, from where the state is."""
        validates = len(self.examples("validation")) > 0
        return train(self.state, self.examples("train"), self.plan, self._validate if validates else None)

    def evaluate(self, split: Split) -> Evaluation | None:
        """Measure a split with the weights as they are; None where it has no rows."""
        examples = self.examples(split)
        return evaluate(self.state.objective, examples, split) if len(examples) else None

    def examples(self, split: Split) -> Examples:
        """A split's rows, or for a frozen backbone their features; for fine-tuning only labelled rows."""
        if split not in self.splits:
            targets = _targets(self.config)
            examples = self.data.examples(split, self.modality, self.state.device, targets)
            objective = self.state.objective
            if isinstance(objective, FineTuning) and objective.strategy.caches_features and len(examples):
                examples = features_of(objective.backbone, examples)
            self.splits[split] = examples
        return self.splits[split]

    def save_bundle(self, folder: Path) -> list[str]:
        """Write the model's files into an existing folder; returns their names."""
        positions = self.data.positions("train", _targets(self.config))[:GOLDEN_ROWS]
        rows = self.modality.aligned(self.data.inputs[positions], self.data.spec)
        objective = self.state.objective
        return save_bundle(folder, Bundle(self._manifest(), objective.backbone, self._heads()), rows)

    def _validate(self) -> Metrics:
        measured = self.evaluate("validation")
        assert measured is not None  # noqa: S101 - for programmers: asked only where there are rows
        return measured.scalars()

    def _heads(self) -> dict[str, Head]:
        objective = self.state.objective
        if not isinstance(objective, FineTuning):
            return {}
        return {
            config.key: head
            for config, head in zip(objective.configs, objective.heads.values(), strict=True)
            if isinstance(head, Head)
        }

    def _manifest(self) -> Manifest:
        config, backbone = self.config, self.state.objective.backbone
        assert not isinstance(config.backbone, str)  # noqa: S101 - for programmers: recipes settle it
        fine_tuned = isinstance(config, FineTuningConfig)
        return Manifest(
            kind="fine_tuned" if fine_tuned else "backbone",
            modality=self.modality,
            backbone=config.backbone,
            input_shape=backbone.input_shape,
            features=backbone.features,
            heads=_head_entries(config, self.data),
            method=config.method if isinstance(config, PretrainingConfig) else None,
            strategy=_strategy(config),
        )


def prepare(
    config: AnyRunConfig, data: ArrayData, *, device: str | torch.device = "cpu", parent: Bundle | None = None
) -> Run:
    """Build everything for a resolved config. The seed is set here, before the first weight is drawn.

    With a `parent` its preprocessing and backbone are used, as copies; recipes have checked that they fit. Only the
    scale of numbers in JSON is the new dataset's: whoever asks the new model sends images as they were uploaded for it.
    """
    torch.manual_seed(config.training.seed)
    device = torch.device(device)
    modality = _inherited(parent.manifest.modality, data) if parent else fit_modality(data)
    objective = _objective(config, data, modality, parent)
    objective.to(device)
    optimizer = build_optimizer(config.training.optimizer, objective.groups())
    run = Run(config, data, modality, LoopState(objective, optimizer, device))
    if isinstance(objective, FineTuning):
        _fit_heads(run, objective)
    return run


def fit_modality(data: ArrayData) -> AnyModality:
    """Preprocessing learned from the train split."""
    kind = kinds(FAMILIES["modalities"])[data.spec.modality]
    assert issubclass(kind, Modality)  # noqa: S101 - for programmers
    rows = data.inputs[data.positions("train")] if kind.learns else data.inputs[:0]
    return kind.fit(rows, data.spec)  # type: ignore[return-value]


def _inherited(modality: AnyModality, data: ArrayData) -> AnyModality:
    """A parent's preprocessing. Stored images are bytes whatever their source's scale, so encoding stays the same."""
    if modality.kind != "image":
        return modality
    return modality.model_copy(update={"value_scale": data.spec.value_scale})


def _objective(config: AnyRunConfig, data: ArrayData, modality: AnyModality, parent: Bundle | None) -> Objective:
    backbone = _backbone(config, modality, parent)
    if isinstance(config, PretrainingConfig):
        return config.method.build(backbone)
    strategy = _strategy(config)
    assert strategy is not None  # noqa: S101 - for programmers: a fine-tuning has one
    heads = build_heads(config.heads, backbone.features, data.spec)
    return FineTuning(backbone, heads, config.heads, strategy)


def _backbone(config: AnyRunConfig, modality: AnyModality, parent: Bundle | None) -> Backbone:
    assert not isinstance(config.backbone, str)  # noqa: S101 - for programmers: recipes settle it
    built = config.backbone.build(modality.shape)
    if parent is not None:
        built.load_state_dict(parent.backbone.state_dict())  # copies: the parent may be serving
    return built


def _fit_heads(run: Run, objective: FineTuning) -> None:
    examples = run.examples("train")
    features = examples if objective.strategy.caches_features else None
    for config, head in zip(objective.configs, objective.heads.values(), strict=True):
        assert isinstance(head, Head)  # noqa: S101 - for programmers
        head.fit_target(examples.targets[config.target])
        if features is not None:
            head.fit_features(features.inputs.take(None))


def _strategy(config: AnyRunConfig) -> AnyStrategy | None:
    if isinstance(config, PretrainingConfig):
        return None
    assert not isinstance(config.strategy, str)  # noqa: S101 - for programmers: recipes settle it
    return config.strategy


def _head_entries(config: AnyRunConfig, data: ArrayData) -> tuple[HeadEntry, ...]:
    if isinstance(config, PretrainingConfig):
        return ()
    found = ((head, data.spec.target(head.target)) for head in config.heads)
    return tuple(HeadEntry(config=head, target=target) for head, target in found if target is not None)


def _targets(config: AnyRunConfig) -> tuple[str, ...]:
    if isinstance(config, PretrainingConfig):
        return ()
    return tuple(dict.fromkeys(head.target for head in config.heads))
