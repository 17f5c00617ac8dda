"""The arms of a transfer report: the fine-tuning of the pretrained model, and its controls.

Each arm is a fine-tuning of its own: the same heads on the same rows, encoded alike. What is below the heads differs.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from app.ml.configs.resolved import ResolvedFineTuning
from app.ml.configs.training import ResolvedTraining
from app.ml.data.arrays import ArrayData
from app.ml.fitting.evaluation import row_scores
from app.ml.fitting.features import GetOrCompute, uncached
from app.ml.interfaces import Backbone, BackboneConfig, ResolutionContext
from app.ml.kinds.modalities import AnyModality
from app.ml.kinds.strategies.base import StrategyConfig
from app.ml.kinds.strategies.full import ResolvedFull
from app.ml.kinds.strategies.linear_probe import ResolvedLinearProbe
from app.ml.learning.untrained_backbones import ConstantConfig
from app.ml.models.bundle import Bundle
from app.ml.resolution.network import PLAIN_BACKBONES
from app.ml.spec import Split
from worker.training.events import Event, Note
from worker.training.flops import solving_seconds
from worker.training.run import Run, prepare

PRETRAINED, RAW_LINEAR = "pretrained", "raw_linear"
CONTROLS = ("majority", RAW_LINEAR, "untrained", "scratch")
_SEED_OF_FRESH_WEIGHTS = 1_000_003  # far from any job's seed: the weights are not those that a job draws
_MAX_BYTES = 2 << 30  # of a linear model's inputs


@dataclass(frozen=True, slots=True)
class Arm:
    """A fine-tuning, and the model that it starts from in each round."""

    name: str
    config: ResolvedFineTuning
    start: Callable[[int], Bundle]  # by the round's number
    fresh_weights: bool = False  # each round starts from newly drawn weights
    cache: GetOrCompute = uncached

    @property
    def deterministic(self) -> bool:
        """Whether another round on the same rows would give the same scores."""
        strategy = self.config.strategy
        return strategy.solving == "only" and not self.fresh_weights

    def estimated_seconds(self, rows: int, outputs: int) -> float:
        """Seconds to solve for a linear model of the raw values; infinite where they do not fit into memory.

        0 for an arm that is not solved for on raw values: it can be stopped while it trains, so nobody needs to know.
        """
        backbone = self.start(0).backbone
        if self.name != RAW_LINEAR or not self.deterministic:
            return 0.0
        width = backbone.features  # values of a row, float64 while they are solved for
        return solving_seconds(rows, width, outputs) if rows * width * 8 <= _MAX_BYTES else float("inf")

    def with_steps_of(self, rows: int) -> "Arm":
        """The same arm, which takes as many steps as on so many rows, however few it gets."""
        training = self.config.training
        steps = training.model_copy(update={"steps": training.total_steps(rows), "epochs": None})
        return replace(self, config=self.config.model_copy(update={"training": steps}))

    def train(
        self, data: ArrayData, split: Split, device: torch.device, number: int, scores: dict[str, Tensor]
    ) -> Iterator[Event]:
        """Train round `number` on the train rows, and write the scores of the split's rows into `scores` by head (N,).

        N counts the rows of the whole dataset; rows outside the split keep what they have.
        """
        training = self.config.training.model_copy(update={"seed": self.config.training.seed + number})
        config = self.config.model_copy(update={"training": training})
        # Another seed each round: fresh weights of heads, another order of rows, other augmentations.
        run = prepare(config, data, device=device, parent=self.start(number), cache=self.cache)
        yield from (event for event in run.train() if not isinstance(event, Note))
        rows = torch.from_numpy(data.positions(split, config.targets))
        for key, values in row_scores(run.state.objective, run.examples(split)).items():  # type: ignore[arg-type]
            scores[key][rows] = values


def build_arms(run: Run, parent: Bundle) -> list[Arm]:
    """The pretrained arm of a training and its controls, about in the order of their cost."""
    config, modality, strategy = _pretrained_way(run, parent)
    report = config.transfer_report
    assert report is not None
    alone = {"transfer_report": None, "unlabelled": None}  # what rows without labels add is another question
    shared = {
        "strategy": strategy,
        "training": _without_evaluations(config.training),
        **alone,
    }
    pretrained = config.model_copy(update=shared)
    # The controls are loaded strictly, as the pretrained model is: they have the same shapes, all weights fit.
    plain = pretrained.model_copy(update={"loading": "strict"})
    from_scratch = {"strategy": ResolvedFull(backbone_lr_scale=1.0), "training": _without_evaluations(report.scratch)}
    linear = plain.model_copy(update={"strategy": _probe(config), "augmentations": ()})
    spec = run.data.spec
    context = ResolutionContext(spec.modality, spec.shape, spec.rows.get("train", 0))
    plain_backbone, _ = PLAIN_BACKBONES[spec.modality].resolve(context)
    majority, raw = (linear.model_copy(update={"backbone": kind}) for kind in (ConstantConfig(), plain_backbone))
    untrained = _UntrainedModels(plain, modality, parent, run.data)
    constant_model = untrained.around(ConstantConfig().build(modality.encoding))
    raw_model = untrained.around(untrained.initialized(plain_backbone))
    return [
        Arm("majority", majority, lambda _: constant_model),
        Arm(RAW_LINEAR, raw, lambda _: raw_model, cache=_MemoryCache().get_or_compute),
        Arm(PRETRAINED, pretrained, lambda _: parent, cache=_MemoryCache().get_or_compute),
        Arm("untrained", plain, untrained.drawn, fresh_weights=True),
        Arm("scratch", plain.model_copy(update=from_scratch), untrained.drawn, fresh_weights=True),
    ]


@dataclass(frozen=True, slots=True)
class _UntrainedModels:
    """Models as the pretraining would have left them, had it not trained."""

    config: ResolvedFineTuning
    modality: AnyModality
    parent: Bundle
    data: ArrayData

    def drawn(self, number: int) -> Bundle:
        """The configured backbone with the weights of round `number`; torch's global generator stays untouched."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_SEED_OF_FRESH_WEIGHTS + number)
            return self.around(self.initialized(self.config.backbone))

    def initialized(self, config: BackboneConfig) -> Backbone:
        """A backbone that has taken from train rows what is not learned."""
        backbone = config.build(self.modality.encoding)
        backbone.initialize(self.data.to_initialize(self.modality))
        return backbone

    def around(self, backbone: Backbone) -> Bundle:
        """A model of the parent's kind with this backbone, which has no heads and learned nothing for any."""
        manifest = self.parent.manifest.model_copy(update={"modality": self.modality, "encoding": backbone.encoding})
        return Bundle(manifest, backbone, {})


class _MemoryCache:
    """Features of frozen weights in memory: every round scores the same rows again."""

    def __init__(self) -> None:
        self._features: dict[str, Tensor] = {}

    def get_or_compute(self, key: str, compute: Callable[[], Tensor]) -> Tensor:
        """Return the features under `key`; computed ones are cached while all together stay small enough."""
        if key in self._features:
            return self._features[key]
        features = compute()
        if sum(cached.nbytes for cached in self._features.values()) + features.nbytes <= _MAX_BYTES // 4:
            self._features[key] = features
        return features


def _pretrained_way(run: Run, parent: Bundle) -> tuple[ResolvedFineTuning, AnyModality, StrategyConfig]:
    """The config of the trained model, its preprocessing, and the strategy that each round repeats.

    Where a way without the pretrained weights was selected, that of a probe on them: what are they worth?
    A layer that was selected by labels is selected anew, by each round's labels: otherwise the held-out rows of a fold
    would have taken part in the selection.
    """
    if run.selected is not None and not run.selected.pretrained:
        assert run.requested is not None
        modality = parent.manifest.modality.adapted_to(run.data.to_fit(), run.data.spec)
        return run.requested, modality, ResolvedLinearProbe(solver="exact", layer="best")
    config, strategy = run.config, run.strategy
    assert isinstance(config, ResolvedFineTuning)
    assert strategy is not None
    if isinstance(strategy, ResolvedLinearProbe) and isinstance(config.strategy, ResolvedLinearProbe):
        return config, run.modality, config.strategy
    return config, run.modality, strategy


def _probe(config: ResolvedFineTuning) -> ResolvedLinearProbe:
    solvable = all(head.solvable for head in config.heads)
    return ResolvedLinearProbe(solver="exact" if solvable else "gradient", layer="last")


def _without_evaluations(training: ResolvedTraining) -> ResolvedTraining:
    """The same training, which evaluates no validation rows on the way, unless it stops early by them."""
    if training.early_stopping is not None:
        return training
    return training.without_evaluations()
