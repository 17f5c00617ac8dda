"""What `automatic` may choose among, each candidate as the config of a fine-tuning of its own.

A candidate is what a user could have asked for: features (the raw row, tf-idf, random kernels or patches, or those of a
network), and what the heads learn on them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from app.ml.configs.resolved import ResolvedFineTuning
from app.ml.configs.training import TrainingConfig
from app.ml.errors import ConfigError
from app.ml.interfaces import ResolutionContext
from app.ml.kinds.backbones import AnyBackbone
from app.ml.kinds.backbones.kmeans_patches import KMeansPatches
from app.ml.kinds.backbones.random_kernels import RandomKernels
from app.ml.kinds.backbones.raw import Raw
from app.ml.kinds.backbones.rocket import Rocket
from app.ml.kinds.backbones.tabular_resnet import TabularResNet
from app.ml.kinds.backbones.tfidf import Tfidf
from app.ml.kinds.estimators.base import EstimatorRequest
from app.ml.kinds.estimators.blend import BlendMember, ResolvedBlend
from app.ml.kinds.estimators.boosted_trees import BoostedTrees
from app.ml.kinds.estimators.nearest_neighbours import NearestNeighbours
from app.ml.kinds.estimators.random_forest import RandomForest
from app.ml.kinds.estimators.ridge import Ridge
from app.ml.kinds.heads import AnyHead
from app.ml.kinds.heads.classifier import Classifier
from app.ml.kinds.heads.regressor import Regressor
from app.ml.kinds.strategies.automatic import OF_THE_MODEL, CandidateName, ResolvedAutomatic
from app.ml.kinds.strategies.base import StrategyConfig
from app.ml.kinds.strategies.full import Full
from app.ml.kinds.strategies.linear_probe import ResolvedLinearProbe
from app.ml.kinds.strategies.lp_ft import LpFt
from app.ml.models.assembly import targets_of
from app.ml.resolution.network import resolve_backbone, resolve_preprocessing
from app.ml.resolution.training import Purpose, resolve_training
from app.ml.spec import DataSpec

_BACKBONES: dict[CandidateName, AnyBackbone] = {
    "tfidf": Tfidf(),
    "random_kernels": RandomKernels(),
    "rocket": Rocket(),
    "random_patches": KMeansPatches(),
    "tabular_resnet": TabularResNet(),
}
_ESTIMATORS: dict[CandidateName, EstimatorRequest] = {
    "nearest_neighbours": NearestNeighbours(),
    "boosted_trees": BoostedTrees(),
    "random_forest": RandomForest(),
}
_BY_RIDGE: tuple[CandidateName, ...] = ("random_kernels", "rocket")  # many more features than rows
BLENDED: tuple[CandidateName, ...] = ("nearest_neighbours", "raw", "boosted_trees", "random_forest")
"""Candidates that learn from the same features, so that their answers can be averaged."""
_MOVES: tuple[CandidateName, ...] = ("scratch", "lp_ft", "full")  # the config's own backbone
_BY_GRADIENT: tuple[CandidateName, ...] = ("tabular_resnet", "scratch", "lp_ft", "full")
_SHARE_OF_LAYERS = 0.25  # of the budget, for the choice of a probe's layer


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to learn what is asked for."""

    name: CandidateName
    config: ResolvedFineTuning
    pretrained: bool  # whether it starts from the pretrained model

    @property
    def by_gradient(self) -> bool:
        """Whether a network is trained, which is costlier than anything that is solved for."""
        return self.name in _BY_GRADIENT


def candidates_of(config: ResolvedFineTuning, spec: DataSpec, rows: int, *, pretrained: bool) -> list[Candidate]:
    """Return the candidates of a fine-tuning that chooses among them, in their order.

    `rows` are labelled train rows; `pretrained`: whether there is a model to start from. Left out is what its heads or
    its rows do not allow.
    """
    assert isinstance(config.strategy, ResolvedAutomatic)
    context = ResolutionContext(spec.modality, spec.shape, rows, pretrained=pretrained)
    candidates = []
    fixed = not config.backbone.learns or "centroids" in config.backbone.provides
    for name in config.strategy.candidates:
        if name == "blend" or (fixed and name in _MOVES):
            continue  # it is made of the others; or labels have nothing to teach it
        of_model = pretrained and name in OF_THE_MODEL
        build = _adapted if name in OF_THE_MODEL else _fresh
        try:
            candidate = build(name, config, spec, context)
        except ConfigError:  # an image smaller than a patch, say
            continue
        if candidate is not None:
            if name in (*_BY_GRADIENT, *_ESTIMATORS, *_BY_RIDGE):  # pseudo-labels join linear weights alone
                candidate = candidate.model_copy(update={"unlabelled": None})
            candidates.append(Candidate(name, candidate, of_model and name != "untrained"))
    return candidates


def _adapted(
    name: CandidateName, config: ResolvedFineTuning, spec: DataSpec, context: ResolutionContext
) -> ResolvedFineTuning | None:
    """The model's network, or its kind with new weights, under a strategy."""
    del spec
    assert isinstance(config.strategy, ResolvedAutomatic)
    seconds = _SHARE_OF_LAYERS * config.strategy.budget_seconds
    probe = ResolvedLinearProbe(solver="exact", layer="best", budget_seconds=seconds)
    strategies: dict[CandidateName, Callable[[], StrategyConfig]] = {
        "untrained": lambda: probe,
        "linear_probe": lambda: probe,
        "lp_ft": LpFt,
        "full": lambda: Full().resolve(context)[0],
    }
    alone = {"loading": "strict", "inherited_heads": ()} if name == "untrained" else {}
    return config.model_copy(update={"strategy": strategies[name](), **alone})


def _fresh(
    name: CandidateName, config: ResolvedFineTuning, spec: DataSpec, context: ResolutionContext
) -> ResolvedFineTuning | None:
    """Features of their own, or a network from scratch; None where the heads cannot learn so."""
    changes: dict[str, object] = {"loading": "strict", "inherited_heads": ()}
    if name in _ESTIMATORS:
        changes["heads"] = _with_estimator(_ESTIMATORS[name], config.heads, spec, context.train_rows)
        if changes["heads"] is None:
            return None
    elif name in _BY_RIDGE:
        changes["heads"] = tuple(map(_by_ridge, config.heads))
    backbone: AnyBackbone | Literal["auto"] = "auto" if name == "scratch" else _BACKBONES.get(name, Raw())
    own = backbone != "auto" and backbone.usual_preprocessing(context) is not None
    if context.pretrained or own:  # the config's is the model's, or the network's
        changes["preprocessing"] = resolve_preprocessing("auto", context, backbone)[0]
    if backbone != "auto":
        changes["backbone"] = resolve_backbone(backbone, context, frozenset(), name)[0]
    if name in _BY_GRADIENT:
        changes["strategy"] = Full(backbone_lr_scale=1.0).resolve(context)[0]
        if context.pretrained:  # new weights need other rates and more steps
            request = TrainingConfig(seed=config.training.seed, precision=config.training.precision)
            purpose = Purpose("from_scratch", context.train_rows, spec, config.targets)
            changes["training"] = resolve_training(request, purpose)[0]
    else:
        changes["strategy"] = ResolvedLinearProbe(solver="exact", layer="last")
    return config.model_copy(update=changes)


def _with_estimator(
    estimator: EstimatorRequest, heads: tuple[AnyHead, ...], spec: DataSpec, rows: int
) -> tuple[AnyHead, ...] | None:
    """The heads with an estimator in place of their weights; None where one of them cannot have it."""
    changed = []
    for head in heads:
        if not isinstance(head, Classifier | Regressor):
            return None
        with_it = head.model_copy(update={"estimator": estimator})
        changed.append(with_it.settled(targets_of(head, spec), spec.class_rows, rows)[0])
    return tuple(changed)


def _by_ridge(head: AnyHead) -> AnyHead:
    """A classifier with ridge regression in place of logistic regression; other heads as they are."""
    if not isinstance(head, Classifier) or head.label_smoothing:
        return head
    return head.model_copy(update={"estimator": Ridge()})


def blend_of(members: Sequence[Candidate], weights: Sequence[float], temperatures: Sequence[float]) -> Candidate:
    """Return the candidate that averages others of `BLENDED`, by positive weights; each has one head."""
    blended = tuple(
        BlendMember(estimator=member.config.heads[0].estimator, weight=weight, temperature=temperature)  # type: ignore[union-attr]
        for member, weight, temperature in zip(members, weights, temperatures, strict=True)
    )
    config = members[0].config
    head = config.heads[0].model_copy(update={"estimator": ResolvedBlend(members=blended)})
    changes = {"heads": (head,), "unlabelled": None}
    return Candidate("blend", config.model_copy(update=changes), pretrained=False)
