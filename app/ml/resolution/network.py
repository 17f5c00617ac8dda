"""What an `"auto"` preprocessing, backbone, method or list of augmentations becomes, and which do not go together."""

from typing import TypeVar

from app.ml.data.spec import ModalityKind
from app.ml.errors import ConfigError, Location
from app.ml.interfaces import Config, Decision, ResolutionContext
from app.ml.interfaces.abilities import Ability
from app.ml.kinds.augmentations import AnyAugmentation
from app.ml.kinds.backbones import AnyBackbone
from app.ml.kinds.backbones.convnet import ConvNet
from app.ml.kinds.backbones.kmeans_patches import KMeansPatches
from app.ml.kinds.backbones.mlp import Mlp
from app.ml.kinds.backbones.tcn import Tcn
from app.ml.kinds.backbones.transformer import Transformer
from app.ml.kinds.backbones.vit import Vit
from app.ml.kinds.methods import AnyMethod
from app.ml.kinds.methods.autoencoder import Autoencoder
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

AnyKind = TypeVar("AnyKind", bound=Config)
Decisions = tuple[Decision, ...]

PREPROCESSING: dict[ModalityKind, AnyPreprocessing] = {
    "image": ImagePreprocessing(),
    "table": TablePreprocessing(),
    "series": SeriesPreprocessing(),
    "text": TextPreprocessing(),
}
# In order of preference: the first that is able to do what the method or head needs.
BACKBONES: dict[ModalityKind, tuple[AnyBackbone, ...]] = {
    "image": (ConvNet(), Mlp(), KMeansPatches(), Vit()),
    "table": (Mlp(),),
    "series": (ConvNet(), Mlp(), Tcn()),
    "text": (Transformer(),),
}
# The same: the first that the backbone, where one is given, is able to serve; each with why it comes where it does.
METHODS: dict[ModalityKind, tuple[tuple[AnyMethod, str], ...]] = {
    "image": (
        (KMeans(), "for small images patches are cheaper, and probes learn more from them, than from autoencoders"),
        (Autoencoder(), "the usual one for images"),
        (MaskedAutoencoder(), "the usual one for backbones that see patches"),
        (SimClr(), "it asks nothing of the backbone"),
    ),
    "table": (
        (DenoisingAutoencoder(), "swapped values teach which columns go together; a plain autoencoder copies"),
        (SimClr(), "it asks nothing of the backbone"),
    ),
    "series": (
        (MaskedSteps(), "probes learn far more from guessing hidden steps than from rebuilding all"),
        (Autoencoder(), "the usual one for series that are seen as a whole"),
        (SimClr(), "it asks nothing of the backbone"),
    ),
    "text": ((NextToken(), "the usual one for texts"),),
}


def resolve_kind(config: AnyKind, context: ResolutionContext, *loc: str | int) -> tuple[AnyKind, Decisions]:
    """Let a kind resolve itself, and put its place in the request before what it says."""
    try:
        resolved, decisions = config.resolve(context)
    except ConfigError as error:
        raise error.under(*loc) from error
    prefix = ".".join(str(part) for part in loc)
    return resolved, tuple(one.model_copy(update={"field": f"{prefix}.{one.field}"}) for one in decisions)


def resolve_preprocessing(
    choice: AnyPreprocessing | str, context: ResolutionContext
) -> tuple[AnyPreprocessing, Decisions]:
    """Choose the modality's own, unless it is given. Raises `ConfigError`."""
    decided: Decisions = ()
    if isinstance(choice, str):
        choice = PREPROCESSING[context.modality]
        decided = (_whole("preprocessing", choice, f"the dataset is of modality {context.modality}"),)
    if choice.kind != context.modality:
        msg = f"the dataset is of modality {context.modality}: use its kind, or auto"
        raise ConfigError(("preprocessing", "kind"), msg)
    resolved, more = resolve_kind(choice, context, "preprocessing")
    return resolved, _merged(decided, resolved, more)


def resolve_method(
    choice: AnyMethod | str, backbone: AnyBackbone | str, context: ResolutionContext
) -> tuple[AnyMethod, Decisions]:
    """Choose one that suits the data and the backbone, unless it is given. Raises `ConfigError`."""
    decided: Decisions = ()
    if isinstance(choice, str):
        choice, reason = _default_method(backbone, context)
        decided = (_whole("method", choice, reason),)
    if context.modality not in choice.accepts:
        msg = f"{choice.kind} learns from {' or '.join(choice.accepts)} data, and this dataset is a {context.modality}"
        raise ConfigError(("method", "kind"), msg)
    resolved, more = resolve_kind(choice, context, "method")
    return resolved, _merged(decided, resolved, more)


def resolve_backbone(
    choice: AnyBackbone | str, context: ResolutionContext, needs: frozenset[Ability], who: str
) -> tuple[AnyBackbone, Decisions]:
    """Choose one that is able to do what `who` needs, unless it is given. Raises `ConfigError`."""
    decided: Decisions = ()
    if isinstance(choice, str):
        choice = _default_backbone(context, needs, who)
        decided = (_whole("backbone", choice, f"suits {context.modality} data of shape {context.shape}"),)
    if context.modality not in choice.accepts:
        able = " or ".join(one.kind for one in BACKBONES[context.modality])
        accepted = " or ".join(choice.accepts)
        msg = f"{choice.kind} takes {accepted} data, this dataset is a {context.modality}: choose {able}"
        raise ConfigError(("backbone", "kind"), msg)
    if _is_too_small(choice, context):
        side = choice.min_side
        msg = f"{choice.kind} needs images of at least {side} x {side} pixels: choose mlp"
        raise ConfigError(("backbone", "kind"), msg)
    check_abilities(choice, needs, who)
    resolved, more = resolve_kind(choice, context, "backbone")
    return resolved, _merged(decided, resolved, more)


def check_abilities(backbone: AnyBackbone, needs: frozenset[Ability], who: str) -> None:
    """Raises `ConfigError` where the backbone cannot do what `who` needs."""
    lacking = sorted(needs - backbone.provides)
    if lacking:
        msg = f"{who} needs a backbone with the ability {lacking[0]!r}, and {backbone.kind} lacks it: choose another"
        raise ConfigError(("backbone", "kind"), msg)


def resolve_views(
    choice: tuple[AnyAugmentation, ...] | str, method: AnyMethod, context: ResolutionContext
) -> tuple[tuple[AnyAugmentation, ...], Decisions]:
    """Choose what the method cannot do without, or none. Raises `ConfigError`."""
    place: Location = ("augmentations",)
    if not isinstance(choice, str):
        if not choice and method.compares_views:
            raise ConfigError(place, f"{method.kind} compares views of a row: give some, or leave this out")
        check_augmentations(choice, context, place)
        return choice, ()
    usual: tuple[AnyAugmentation, ...] = method.default_views(context)  # type: ignore[assignment]
    reason = f"the usual views of {method.kind}" if usual else f"{method.kind} needs none"
    value = [one.model_dump(mode="json") for one in usual]
    return usual, (Decision(field="augmentations", value=value, reason=reason),)


def check_augmentations(choice: tuple[AnyAugmentation, ...], context: ResolutionContext, place: Location) -> None:
    """Raises `ConfigError` for one of another modality."""
    for index, one in enumerate(choice):
        if context.modality not in one.accepts:
            msg = f"{one.kind} changes {' or '.join(one.accepts)} data, and this dataset is a {context.modality}"
            raise ConfigError((*place, index, "kind"), msg)
        if one.mixes_labels and any(before.mixes_labels for before in choice[:index]):
            raise ConfigError((*place, index, "kind"), "rows are mixed by one augmentation before: choose one of them")


def _default_method(backbone: AnyBackbone | str, context: ResolutionContext) -> tuple[AnyMethod, str]:
    candidates = [one for one in METHODS[context.modality] if one[0].suits(context)]
    if isinstance(backbone, str):
        return candidates[0]
    able = [one for one in candidates if one[0].needs <= backbone.provides]
    return able[0] if able else candidates[0]  # which is then refused in words


def _default_backbone(context: ResolutionContext, needs: frozenset[Ability], who: str) -> AnyBackbone:
    for candidate in BACKBONES[context.modality]:
        if needs <= candidate.provides and not _is_too_small(candidate, context):
            return candidate
    msg = f"{who} needs a backbone with the abilities {sorted(needs)}, and none fits {context.modality} data"
    raise ConfigError(("backbone",), msg)


def _is_too_small(backbone: AnyBackbone, context: ResolutionContext) -> bool:
    """Whether the images are; series may be as short as they like."""
    return context.modality == "image" and min(context.shape[:2]) < backbone.min_side


def _whole(field: str, choice: Config, reason: str) -> Decision:
    return Decision(field=field, value=choice.model_dump(mode="json"), reason=reason)


def _merged(decided: Decisions, resolved: Config, more: Decisions) -> Decisions:
    """A decision for a whole kind tells the kind as it resolved itself."""
    value = resolved.model_dump(mode="json")
    return (*(one.model_copy(update={"value": value}) for one in decided), *more)
