"""From the request of a network to its resolved configs: preprocessing, backbone, method and augmentations.

Also, which of them do not go together.
"""

from collections.abc import Callable
from typing import Literal, TypeVar

import torch
from torch import nn

from app.ml.configs.learning import Augmentations
from app.ml.errors import ConfigError, Location
from app.ml.interfaces import (
    BackboneConfig,
    BackboneRequest,
    Config,
    Decision,
    Decisions,
    MethodConfig,
    MethodRequest,
    PreprocessingConfig,
    PreprocessingRequest,
    ResolutionContext,
)
from app.ml.interfaces.abilities import Ability
from app.ml.interfaces.resolvable import Resolvable
from app.ml.kinds.backbones import AnyBackbone
from app.ml.kinds.backbones.convnet import ConvNet
from app.ml.kinds.backbones.kmeans_patches import KMeansPatches
from app.ml.kinds.backbones.mlp import Mlp
from app.ml.kinds.backbones.raw import Raw
from app.ml.kinds.backbones.tcn import Tcn
from app.ml.kinds.backbones.tfidf import Tfidf
from app.ml.kinds.backbones.transformer import Transformer
from app.ml.kinds.backbones.vit import Vit
from app.ml.kinds.methods import AnyMethod
from app.ml.kinds.methods.denoising_autoencoder import DenoisingAutoencoder
from app.ml.kinds.methods.kmeans import KMeans
from app.ml.kinds.methods.masked_autoencoder import MaskedAutoencoder
from app.ml.kinds.methods.masked_steps import MaskedSteps
from app.ml.kinds.methods.next_token import NextToken
from app.ml.kinds.methods.simclr import SimClr
from app.ml.kinds.preprocessing import AnyPreprocessing
from app.ml.kinds.preprocessing.image import ImagePreprocessing
from app.ml.kinds.preprocessing.series import SeriesPreprocessing
from app.ml.kinds.preprocessing.table import TablePreprocessing
from app.ml.kinds.preprocessing.text import TextPreprocessing
from app.ml.models.assembly import MAX_PARAMETERS, count_parameters
from app.ml.spec import ModalityKind

Resolved = TypeVar("Resolved", bound=Config)
Auto = Literal["auto"]

PREPROCESSING: dict[ModalityKind, AnyPreprocessing] = {
    "image": ImagePreprocessing(),
    "table": TablePreprocessing(),
    "series": SeriesPreprocessing(),
    "text": TextPreprocessing(),
}
# In order of preference: the first that has the abilities which the method or the heads need is taken.
BACKBONES: dict[ModalityKind, tuple[AnyBackbone, ...]] = {
    "image": (ConvNet(), Mlp(), KMeansPatches(), Vit()),
    "table": (Mlp(),),
    "series": (ConvNet(), Mlp(), Tcn()),
    "text": (Transformer(),),
}
# The rows as they are, without any network: what others must be better than.
PLAIN_BACKBONES: dict[ModalityKind, AnyBackbone] = {"image": Raw(), "table": Raw(), "series": Raw(), "text": Tfidf()}
_VIEWS = "probes mostly learn more from recognising a row in two views than from rebuilding it"
# In order of preference, each with the reason for its place. A given backbone takes the first that it has the abilities
# for, and what needs an ability of it before what needs none.
METHODS: dict[ModalityKind, tuple[tuple[AnyMethod, str], ...]] = {
    "image": (
        (KMeans(), "for small images patches are cheaper, and probes learn more from them, than from networks"),
        (SimClr(), _VIEWS),
        (MaskedAutoencoder(), "the usual one for backbones that see patches"),
    ),
    "table": (
        (DenoisingAutoencoder(), "swapped values teach which columns go together; a plain autoencoder copies"),
        (SimClr(), "it asks nothing of the backbone"),
    ),
    "series": (
        (MaskedSteps(), "probes learn far more from guessing hidden steps than from rebuilding all"),
        (SimClr(), _VIEWS),
    ),
    "text": ((NextToken(), "the usual one for texts"),),
}


def resolve_kind(
    request: Resolvable[Resolved], context: ResolutionContext, *loc: str | int
) -> tuple[Resolved, Decisions]:
    """Resolve a kind's own fields; errors and decisions name them from the request's root, at `loc`."""
    try:
        config, decisions = request.resolve(context)
    except ConfigError as error:
        raise error.under(*loc) from error
    prefix = ".".join(str(part) for part in loc)
    return config, tuple(decision.model_copy(update={"field": f"{prefix}.{decision.field}"}) for decision in decisions)


def resolve_preprocessing(
    choice: AnyPreprocessing | Auto, context: ResolutionContext, backbone: AnyBackbone | Auto = "auto"
) -> tuple[PreprocessingConfig, Decisions]:
    """Resolve the preprocessing; auto is the backbone's, where it has its own, or else the modality's.

    Raises `ConfigError`.
    """
    request: PreprocessingRequest = choice if choice != "auto" else PREPROCESSING[context.modality]
    reason = f"the dataset is of modality {context.modality}"
    if choice == "auto" and backbone != "auto" and context.modality in backbone.accepts:
        usual = backbone.usual_preprocessing(context)
        if usual is not None:
            request, reason = usual, f"what {backbone.kind} reads best"
    if request.kind != context.modality:
        msg = f"the dataset is of modality {context.modality}: use its kind, or auto"
        raise ConfigError(("preprocessing", "kind"), msg)
    config, decisions = resolve_kind(request, context, "preprocessing")
    if choice != "auto":
        return config, decisions
    return config, (decision_of("preprocessing", config, reason), *decisions)


def resolve_method(
    choice: AnyMethod | Auto, backbone: AnyBackbone | Auto, context: ResolutionContext
) -> tuple[MethodConfig, Decisions]:
    """Resolve the method; auto is one that suits the data and the backbone. Raises `ConfigError`."""
    request: MethodRequest
    request, reason = _default_method(backbone, context) if choice == "auto" else (choice, "")
    if context.modality not in request.accepts:
        accepted = " or ".join(request.accepts)
        msg = f"{request.kind} learns from {accepted} data, and this dataset is a {context.modality}"
        raise ConfigError(("method", "kind"), msg)
    config, decisions = resolve_kind(request, context, "method")
    return config, decisions if choice != "auto" else (decision_of("method", config, reason), *decisions)


def resolve_backbone(
    choice: AnyBackbone | Auto, context: ResolutionContext, needs: frozenset[Ability], who: str
) -> tuple[BackboneConfig, Decisions]:
    """Resolve the backbone; auto is one with the abilities that `who` needs. Raises `ConfigError`."""
    request: BackboneRequest = _default_backbone(context, needs, who) if choice == "auto" else choice
    if context.modality not in request.accepts:
        accepted, able = " or ".join(request.accepts), " or ".join(usual.kind for usual in BACKBONES[context.modality])
        msg = f"{request.kind} takes {accepted} data, this dataset is a {context.modality}: choose {able}"
        raise ConfigError(("backbone", "kind"), msg)
    if _is_too_small(request, context):
        side = request.min_side
        msg = f"{request.kind} needs images of at least {side} x {side} pixels: choose mlp"
        raise ConfigError(("backbone", "kind"), msg)
    check_abilities(request, needs, who)
    config, decisions = resolve_kind(request, context, "backbone")
    if choice != "auto":
        return config, decisions
    reason = f"suits {context.modality} data of shape {context.shape}"
    return config, (decision_of("backbone", config, reason), *decisions)


def resolve_augmentations(
    choice: Augmentations | Auto, method: MethodConfig, context: ResolutionContext
) -> tuple[Augmentations, Decisions]:
    """Resolve a pretraining's augmentations; auto is what the method cannot do without. Raises `ConfigError`."""
    place: Location = ("augmentations",)
    if choice == "auto":
        usual: Augmentations = method.default_views(context)  # type: ignore[assignment]
        reason = f"the usual views of {method.kind}" if usual else f"{method.kind} needs none"
        value = [augmentation.model_dump(mode="json") for augmentation in usual]
        return usual, (Decision(field="augmentations", value=value, reason=reason),)
    if not choice and method.compares_views:
        raise ConfigError(place, f"{method.kind} compares views of a row: give some, or leave this out")
    check_augmentations(choice, context, place)
    return choice, ()


def check_augmentations(choice: Augmentations, context: ResolutionContext, place: Location) -> None:
    """Raise `ConfigError` for an augmentation of another modality, or a second one that mixes rows."""
    for index, augmentation in enumerate(choice):
        if context.modality not in augmentation.accepts:
            accepted = " or ".join(augmentation.accepts)
            msg = f"{augmentation.kind} changes {accepted} data, and this dataset is a {context.modality}"
            raise ConfigError((*place, index, "kind"), msg)
        if augmentation.mixes_labels and any(before.mixes_labels for before in choice[:index]):
            raise ConfigError((*place, index, "kind"), "rows are mixed by one augmentation before: choose one of them")


def check_abilities(backbone: BackboneRequest, needs: frozenset[Ability], who: str) -> None:
    """Raise `ConfigError` where the backbone lacks an ability that `who` needs."""
    lacking = sorted(needs - backbone.provides)
    if lacking:
        msg = f"{who} needs a backbone with the ability {lacking[0]!r}, and {backbone.kind} lacks it: choose another"
        raise ConfigError(("backbone", "kind"), msg)


def check_size(build: Callable[[], nn.Module]) -> None:
    """Raise `ConfigError` for a network with too many parameters; it is built on the meta device, without memory."""
    with torch.device("meta"):
        parameters = count_parameters(build())
    if parameters > MAX_PARAMETERS:
        msg = f"the network would have {parameters:,} parameters, at most {MAX_PARAMETERS:,}: choose smaller layers"
        raise ConfigError(("backbone",), msg)


def decision_of(field: str, config: Config, reason: str) -> Decision:
    """Return the decision for a whole kind."""
    return Decision(field=field, value=config.model_dump(mode="json"), reason=reason)


def _default_method(backbone: AnyBackbone | Auto, context: ResolutionContext) -> tuple[AnyMethod, str]:
    candidates = [(method, reason) for method, reason in METHODS[context.modality] if method.suits(context)]
    if backbone == "auto":
        return candidates[0]
    able = [(method, reason) for method, reason in candidates if method.needs <= backbone.provides]
    able.sort(key=lambda pair: not pair[0].needs)
    return able[0] if able else candidates[0]  # which resolve_backbone then refuses in words


def _default_backbone(context: ResolutionContext, needs: frozenset[Ability], who: str) -> AnyBackbone:
    for candidate in BACKBONES[context.modality]:
        if needs <= candidate.provides and not _is_too_small(candidate, context):
            return candidate
    msg = f"{who} needs a backbone with the abilities {sorted(needs)}, and none fits {context.modality} data"
    raise ConfigError(("backbone",), msg)


def _is_too_small(backbone: BackboneRequest, context: ResolutionContext) -> bool:
    """Whether images are smaller than the backbone takes; series may be as short as they like."""
    return context.modality == "image" and min(context.shape[:2]) < backbone.min_side
