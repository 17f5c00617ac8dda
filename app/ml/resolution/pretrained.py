"""What a fine-tuning takes from its pretrained model: preprocessing, backbone and weights."""

from typing import Literal

import torch

from app.ml.configs.learning import FineTuningConfig
from app.ml.configs.resolved import ResolvedFineTuning
from app.ml.errors import ConfigError
from app.ml.interfaces import BackboneConfig, Config, Decision, Decisions, Encoding, PreprocessingConfig
from app.ml.models import partial_loading
from app.ml.models.bundle import Manifest
from app.ml.resolution.network import decision_of
from app.ml.spec import DataSpec

_REASON = "the pretrained model's"
_MAX_SHOWN = 5


def inherits_preprocessing(config: FineTuningConfig | ResolvedFineTuning, spec: DataSpec, parent: Manifest) -> bool:
    """Return whether rows are encoded as for the pretrained model.

    They always are, but for partial loading with other preprocessing, or with data that does not fit.
    """
    if config.loading == "strict":
        return True
    return (
        not _differs(config.preprocessing, parent.preprocessing)
        and parent.modality.kind == spec.modality
        and not parent.modality.differences(spec)
    )


def inherit_preprocessing(config: FineTuningConfig, parent: Manifest) -> tuple[PreprocessingConfig, Decisions]:
    """Return the pretrained model's preprocessing. Raises `ConfigError` where another is given."""
    if _differs(config.preprocessing, parent.preprocessing):
        msg = "the model brings its own preprocessing: leave this out, or set model to null"
        raise ConfigError(("preprocessing",), msg)
    return parent.preprocessing, (decision_of("preprocessing", parent.preprocessing, _REASON),)


def inherit_backbone(config: FineTuningConfig, spec: DataSpec, parent: Manifest) -> tuple[BackboneConfig, Decisions]:
    """Return the pretrained model's backbone. Raises `ConfigError` where another is given, or the data do not fit."""
    differences = parent.modality.differences(spec)
    if differences and config.loading == "strict":
        msg = f"the model does not fit this dataset: {'; '.join(differences[:_MAX_SHOWN])}"
        raise ConfigError(("model",), msg)
    if spec.modality not in parent.backbone.accepts:
        msg = f"{parent.backbone.kind} takes no {spec.modality} data: choose another backbone, or set model to null"
        raise ConfigError(("backbone",), msg)
    if _differs(config.backbone, parent.backbone):
        raise ConfigError(("backbone",), "the model brings its own backbone: leave this out, or set model to null")
    return parent.backbone, (decision_of("backbone", parent.backbone, _REASON),)


def resolve_loading(
    config: FineTuningConfig, backbone: BackboneConfig, encoding: Encoding, parent: Manifest | None
) -> Decisions:
    """Return what partial loading takes over, as far as shapes tell. Raises `ConfigError` where nothing fits."""
    if config.loading == "strict":
        return ()
    if parent is None:
        raise ConfigError(("loading",), "partial loading needs a pretrained model: name one, or leave this out")
    with torch.device("meta"):  # shapes alone
        pretrained = partial_loading.shapes_of(parent.backbone.build(parent.encoding).state_dict())
        own = partial_loading.shapes_of(backbone.build(encoding).state_dict())
    transfer = partial_loading.plan(pretrained, parent.encoding, own, encoding)
    return (Decision(field="loading", value="partial", reason=transfer.words),)


def _differs(choice: Config | Literal["auto"], inherited: Config) -> bool:
    """Whether a request asks for something else than the pretrained model has."""
    return choice != "auto" and choice.model_dump() != inherited.model_dump()
