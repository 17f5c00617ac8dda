"""The ways of learning that a transfer report compares: the pretrained one, and its controls.

Each is a fine-tuning of its own: the same heads on the same rows, encoded alike. What is below the heads differs.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from app.ml.configs.learning import FineTuningConfig
from app.ml.configs.training import TrainingConfig
from app.ml.data.arrays import ArrayData
from app.ml.data.spec import Split
from app.ml.interfaces import Backbone
from app.ml.kinds.modalities import AnyModality
from app.ml.kinds.strategies import AnyStrategy
from app.ml.kinds.strategies.automatic import Automatic
from app.ml.kinds.strategies.full import Full
from app.ml.kinds.strategies.linear_probe import LinearProbe
from app.ml.learning.untrained_backbones import Constant, Raw, RawBackbone
from app.ml.models.bundle import Bundle
from worker.training.evaluation import row_scores
from worker.training.events import Event, Noted
from worker.training.features import Keeper, computed
from worker.training.flops import solving_seconds
from worker.training.run import Run, prepare

PRETRAINED, CONTROLS = "pretrained", ("majority", "raw_linear", "untrained", "scratch")
_START = 1_000_003  # new weights are not those that a job of the same seed draws
_MAX_BYTES = 2 << 30  # of a linear model's inputs
_SELDOM = 100_000


@dataclass(frozen=True, slots=True)
class Way:
    """A fine-tuning, and what it starts from in each round."""

    name: str
    config: FineTuningConfig
    start: Callable[[int], Bundle]  # by round
    draws: bool = False  # whether each round starts from new weights
    keep: Keeper = computed

    @property
    def settled(self) -> bool:
        """Whether another round on the same rows would be the same."""
        strategy = self.config.strategy
        assert not isinstance(strategy, str)
        return strategy.solving == "only" and not self.draws

    def seconds(self, rows: int, outputs: int) -> float:
        """What solving for a model of so many raw values takes, about; infinite where they do not fit into memory."""
        backbone = self.start(0).backbone
        if not isinstance(backbone, RawBackbone) or not self.settled:
            return 0.0
        width = backbone.features
        return solving_seconds(rows, width, outputs) if rows * width * 8 <= _MAX_BYTES else float("inf")

    def as_long(self, rows: int) -> "Way":
        """The same in as many steps as so many rows take."""
        training = self.config.training
        steps = training.model_copy(update={"steps": training.total_steps(rows), "epochs": None})
        return replace(self, config=self.config.model_copy(update={"training": steps}))

    def train(
        self, data: ArrayData, split: Split, device: torch.device, number: int, scores: dict[str, Tensor]
    ) -> Iterator[Event]:
        """Train on a dataset's train rows, and leave in `scores` (N,) by head what a split's rows score."""
        training = self.config.training.model_copy(update={"seed": self.config.training.seed + number})
        config = self.config.model_copy(update={"training": training})
        run = prepare(config, data, device=device, parent=self.start(number), keep=self.keep)
        yield from (event for event in run.train() if not isinstance(event, Noted))
        rows = torch.from_numpy(data.positions(split, labels_of(config)))
        for key, found in row_scores(run.state.objective, run.examples(split)).items():  # type: ignore[arg-type]
            scores[key][rows] = found


def labels_of(config: FineTuningConfig) -> tuple[str, ...]:
    """The targets of all heads."""
    return tuple(dict.fromkeys(name for head in config.heads for name in head.targets))


def ways_of(run: Run, parent: Bundle) -> list[Way]:
    """The pretrained way of a training, and the controls in order."""
    config, modality = run.config, run.modality
    assert isinstance(config, FineTuningConfig)
    report = config.transfer_report
    assert report is not None
    assert not isinstance(report.scratch, str)
    alone = {"transfer_report": None, "unlabelled": None}  # what rows without labels add is another question
    same = {"strategy": _left_open(config, run.strategy), "training": _quiet(config.training), **alone}
    pretrained = config.model_copy(update=same)
    # What has learned nothing comes in through the same door as the pretrained model, and whole.
    plain = pretrained.model_copy(update={"loading": "strict"})
    scratch = plain.model_copy(update={"strategy": Full(backbone_lr_scale=1.0), "training": _quiet(report.scratch)})
    linear = plain.model_copy(update={"strategy": _probe(config), "augmentations": ()})
    new = _New(plain, modality, parent)
    majority, raw = (linear.model_copy(update={"backbone": backbone}) for backbone in (Constant(), Raw()))
    return [
        Way(PRETRAINED, pretrained, lambda _: parent, keep=_Memory().keep),
        Way("majority", majority, new.plain(Constant().build(modality.encoding))),
        Way("raw_linear", raw, new.plain(_fitted(Raw().build(modality.encoding), run)), keep=_Memory().keep),
        Way("untrained", plain, new, draws=True),
        Way("scratch", scratch, new, draws=True),
    ]


@dataclass(frozen=True, slots=True)
class _New:
    """Models as a pretraining might have left them, had it not trained."""

    config: FineTuningConfig
    modality: AnyModality
    parent: Bundle

    def __call__(self, number: int) -> Bundle:
        """With new weights each round."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_START + number)
            return self._around(self.config.backbone.build(self.modality.encoding))  # type: ignore[union-attr]

    def plain(self, backbone: Backbone) -> Callable[[int], Bundle]:
        """With what it is anyway."""
        bundle = self._around(backbone)
        return lambda _: bundle

    def _around(self, backbone: Backbone) -> Bundle:
        """Heads inherit nothing from it."""
        manifest = self.parent.manifest.model_copy(update={"modality": self.modality, "encoding": backbone.encoding})
        return Bundle(manifest, backbone, {})


class _Memory:
    """Features of frozen weights on rows that are measured on again and again."""

    def __init__(self) -> None:
        self._known: dict[str, Tensor] = {}

    def keep(self, key: str, compute: Callable[[], Tensor]) -> Tensor:
        """The tensor under `key`, as long as there are not too many."""
        if key in self._known:
            return self._known[key]
        found = compute()
        if sum(one.nbytes for one in self._known.values()) + found.nbytes <= _MAX_BYTES // 4:
            self._known[key] = found
        return found


def _fitted(backbone: RawBackbone, run: Run) -> RawBackbone:
    if backbone.grid is None:
        examples = run.data.examples("train", run.modality, torch.device("cpu"))
        backbone.fit(torch.cat([examples.inputs.take(block) for block in examples.blocks()]))
    return backbone


def _left_open(config: FineTuningConfig, chosen: AnyStrategy | None) -> AnyStrategy:
    """The model's strategy. A layer that was chosen by the labels is chosen anew, by those that there are."""
    asked = config.strategy
    assert chosen is not None
    if isinstance(chosen, LinearProbe) and isinstance(asked, LinearProbe):
        return asked
    if isinstance(chosen, LinearProbe) and isinstance(asked, Automatic):
        return chosen.model_copy(update={"layer": "best"})
    return chosen


def _probe(config: FineTuningConfig) -> LinearProbe:
    solvable = all(head.solvable for head in config.heads)
    return LinearProbe(solver="exact" if solvable else "gradient", layer="last")


def _quiet(training: TrainingConfig) -> TrainingConfig:
    """The same without looking at validation rows on the way, unless it stops early by them."""
    if training.early_stopping is not None:
        return training
    return training.model_copy(update={"evaluate_every": _SELDOM})
